#!/usr/bin/env bash
# Guess:   a graceful reload lets new connections meet the new certificate at once, while old connections are finished
#          beside them, as with nginx, Apache or HAProxy.
# Truth:   lighttpd is one process, and finishes first: from the signal on nobody is answered (the kernel takes the
#          connections, their handshake gets no reply) until the last open request has ended or eight seconds are over,
#          when it is cut off. Then all that waited are served, with the new certificate. Without an open request it takes
#          a moment.
# Version: lighttpd 1.4.69 (Debian 12), SIGUSR1, which is the unit's ExecReload; seen 2026-11-27.
# Why:     one slow download makes the site silent for eight seconds at each renewal, and a check of the deployment that
#          waits for five takes a good reload for a dead server. Check for longer than eight seconds, or set
#          `server.graceful-shutdown-timeout` in `server.feature-flags`.
# Needs:   Debian 12 on amd64, python3, openssl, curl.
set -eu

dir=$(mktemp -d)
pids=''
finish() {
    # shellcheck disable=SC2086 # a list of numbers
    [ -z "$pids" ] || kill $pids 2>/dev/null || :
    wait
    rm -rf "$dir"
}
trap finish EXIT
changed=0
expect() { # what, seen, expected
    printf '%-58s %s\n' "$1:" "$2"
    [ "$2" = "$3" ] || { printf 'CHANGED, it was: %s\n' "$3"; changed=1; }
}
debs() { # suite, then package=version each: unpacked into $dir/root, from the mirrors that this system's apt uses
    local suite=$1 options
    shift
    mkdir -p "$dir/apt/lists/partial" "$dir/apt/archives/partial"
    printf '#clear APT::Update::%s;\n' Post-Invoke Post-Invoke-Success >"$dir/apt/conf"
    # shellcheck disable=SC2016 # apt-get replaces these
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | sort -u |
        while read -r uri release; do
            case $release in *-*) continue ;; esac
            printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$uri" "$suite"
        done >"$dir/apt/sources"
    options=(-qq -c "$dir/apt/conf" -o Dir::State::Lists="$dir/apt/lists" -o Dir::Cache="$dir/apt"
        -o Dir::Etc::SourceList="$dir/apt/sources" -o Dir::Etc::SourceParts=/dev/null -o APT::Sandbox::User=root
        -o Acquire::Languages=none)
    apt-get "${options[@]}" update
    (cd "$dir/apt" && apt-get "${options[@]}" download "$@" && for deb in *.deb; do dpkg -x "$deb" "$dir/root"; done)
}
until_ready() { # a command, tried for a minute at most
    for _ in $(seq 600); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    printf 'not ready: %s\n' "$*" >&2
    exit 1
}

debs bookworm lighttpd=1.4.69-1 lighttpd-mod-openssl=1.4.69-1 libxxhash0=0.8.1-1 libpcre2-8-0=10.42-1 libnettle8=3.8.1-2
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
pair() { # the name in the certificate
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj "/CN=$1" \
        -keyout "$dir/key.pem" -out "$dir/chain.pem" 2>/dev/null
}
served() { # what a new connection gets within so many seconds
    timeout "$1" openssl s_client -connect "127.0.0.1:$port" </dev/null 2>/dev/null | sed -n 's/^subject=CN = //p'
}
answers() { [ -n "$(served 5)" ]; }
reload() { # the name in the renewed certificate; then the first answer and after how long it came
    local began name
    pair "$1"
    notes=$(grep -c 'graceful shutdown started' "$dir/log" || :)
    kill -USR1 "$pids"
    began=$(date +%s%N)
    until_ready more_notes
    name=$(served 30)
    seconds=$((($(date +%s%N) - began) / 1000000000))
    printf '  first answer after %s s\n' "$seconds"
    expect "  that answer's certificate" "$name" "$1"
}
more_notes() { [ "$(grep -c 'graceful shutdown started' "$dir/log")" -gt "$notes" ]; }

"$dir/root/usr/sbin/lighttpd" -v | head -n 1
mkdir "$dir/site"
head -c 100000000 /dev/zero >"$dir/site/large"
cat >"$dir/conf" <<END
server.modules = ( "mod_openssl" )
server.document-root = "$dir/site"
server.bind = "127.0.0.1"
server.port = $port
server.errorlog = "$dir/log"
ssl.engine = "enable"
ssl.pemfile = "$dir/chain.pem"
ssl.privkey = "$dir/key.pem"
END
pair first
"$dir/root/usr/sbin/lighttpd" -D -m "$dir/root/usr/lib/lighttpd" -f "$dir/conf" &
pids=$!
until_ready answers
expect "  at the start" "$(served 5)" first
reload second
expect "  nothing open: answered within 6 s" "$([ "$seconds" -lt 6 ] && echo yes || echo no)" yes
curl -sk --limit-rate 100k "https://127.0.0.1:$port/large" -o "$dir/got" 2>"$dir/curl" &
download=$!
until_ready test -s "$dir/got"
reload third
expect "  one download open: answered within 6 s" "$([ "$seconds" -lt 6 ] && echo yes || echo no)" no
expect "  one download open: answered within 20 s" "$([ "$seconds" -lt 20 ] && echo yes || echo no)" yes
wait "$download" && status=0 || status=$?
expect "  the download was cut off" "$([ "$status" != 0 ] && echo yes || echo no)" yes
test "$changed" = 0
