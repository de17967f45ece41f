#!/usr/bin/env bash
# Guess:   a reload serves the files that are there, be they newer or older than the former ones.
# Truth:   Hitch loads a certificate file on SIGHUP only if its modification time is later than that of the one it has. A
#          link that is led back to the former file, whose time is earlier, changes nothing: no error, the log says
#          "Config reloaded", and the workers are new. After `touch` the next reload takes it.
# Version: Hitch 1.7.2 (Debian 12); seen 2026-11-27.
# Why:     renewals always work, since the new file is the newer one. The one time that one must go back (a chain that old
#          clients refuse, a certificate from the wrong CA) the reload does nothing. The same holds for files that are put
#          in place with the times of their origin (cp -p, rsync -t, tar).
# Needs:   Debian 12 on amd64, python3, openssl; root (then it runs as nobody) or not.
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

debs bookworm hitch=1.7.2-1+b1 libev4=1:4.33-1
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu
read -r port behind <<<"$(python3 -c 'import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*[s.getsockname()[1] for s in sockets])')"

file() { # the name in the certificate and of the file, its time
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj "/CN=$1" \
        -keyout "$dir/key" -out "$dir/chain" 2>/dev/null
    cat "$dir/key" "$dir/chain" >"$dir/$1.pem"
    touch -d "$2" "$dir/$1.pem"
}
served() { openssl s_client -connect "127.0.0.1:$port" </dev/null 2>/dev/null | sed -n 's/^subject=CN = //p'; }
reload() { # the file that the link is to lead to
    ln -s "$1.pem" "$dir/next"
    mv -T "$dir/next" "$dir/live.pem"
    kill -HUP "$pids"
    turn=$((turn + 1))
    until_ready turned
}
turned() { # the workers of the former turn are gone
    [ "$(grep -c 'Config reloaded' "$dir/log")" = "$turn" ] && [ "$(grep -c 'exited with status 0' "$dir/log")" = "$turn" ]
}
answers() { [ -n "$(served)" ]; }

"$dir/root/usr/sbin/hitch" -V
file former '2026-01-01 12:00'
file renewed '2026-03-01 12:00'
ln -s former.pem "$dir/live.pem"
cat >"$dir/conf" <<END
frontend = "[127.0.0.1]:$port"
backend = "[127.0.0.1]:$behind"
pem-file = "$dir/live.pem"
workers = 1
END
[ "$(id -u)" != 0 ] || printf 'user = "nobody"\ngroup = "nogroup"\n' >>"$dir/conf"
"$dir/root/usr/sbin/hitch" --config="$dir/conf" >"$dir/log" 2>&1 &
pids=$!
turn=0
until_ready answers
expect "  at the start" "$(served)" former
reload renewed
expect "  link to the renewed file, reload" "$(served)" renewed
reload former
expect "  link back to the former file, reload" "$(served)" renewed
expect "  errors in the log" "$(grep -c ERROR "$dir/log" || :)" 0
touch "$dir/former.pem"
reload former
expect "  former file touched, reload" "$(served)" former
test "$changed" = 0
