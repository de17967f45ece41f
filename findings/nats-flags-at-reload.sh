#!/usr/bin/env bash
# Guess:   what is given to nats-server by a flag beside its configuration file counts before the file, at the start and at
#          each reload. So it does for most flags (the port, the address).
# Truth:   not for TLS. At the start `--tls --tlscert --tlskey` are taken; at SIGHUP the file is read alone, seen to have no
#          TLS, and refused whole: no new certificate is served, and nothing else in the file is taken either, until the
#          process is started anew. The signal has been delivered, so whoever sent it sees a success.
# Version: nats-server 2.9.10 (Debian 12); 2.15.1 (sid) alike; seen 2026-11-28.
# Why:     a unit or a container that adds the three flags to a packaged file works until the first renewal, and its reload
#          only writes a line to the log. Put cert_file and key_file into the file; or look at what is served.
# Needs:   Debian 12 on amd64, python3, openssl.
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

debs bookworm nats-server=2.9.10-1+b3

pair() { # the name in the certificate
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj "/CN=$1" \
        -keyout "$dir/key.pem" -out "$dir/chain.pem" 2>/dev/null
}
cat >"$dir/ask.py" <<'END'
"""The largest payload that the server announces in plain text, and the name in its certificate."""
import json, socket, ssl, subprocess, sys

tcp = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
payload = json.loads(tcp.recv(65536).split(b" ", 1)[1])["max_payload"]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
leaf = context.wrap_socket(tcp).getpeercert(True)
subject = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-subject"], input=leaf, capture_output=True)
print(payload, subject.stdout.decode().strip().rsplit(" ", 1)[1])
END
ask() { python3 "$dir/ask.py" "$port"; }
answers() { grep -cE 'Reloaded server configuration|Failed to reload' "$dir/log"; }
has_answered() { [ "$(answers)" -ge "$1" ]; }
try() { # a line of the configuration, then the flags
    local line=$1
    shift
    port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    printf 'max_payload: 1000\n%s\n' "$line" >"$dir/conf"
    pair first
    : >"$dir/log"
    "$dir/root/usr/sbin/nats-server" -c "$dir/conf" -a 127.0.0.1 -p "$port" "$@" >>"$dir/log" 2>&1 &
    pids=$!
    until_ready ask
    expect "  started" "$(ask)" "1000 first"
    pair second
    sed -i 's/1000/2000/' "$dir/conf"
    kill -HUP "$pids"
    until_ready has_answered 1
    expect "  after SIGHUP" "$(ask)" "$after"
    kill "$pids"
    wait
    pids=''
}

"$dir/root/usr/sbin/nats-server" --version
echo "TLS in the file, address and port by flags"
after="2000 second"
try "tls { cert_file: \"$dir/chain.pem\", key_file: \"$dir/key.pem\" }"
echo "TLS by flags too"
after="1000 first"
try "" --tls --tlscert "$dir/chain.pem" --tlskey "$dir/key.pem"
grep -o 'Failed to reload.*' "$dir/log"
test "$changed" = 0
