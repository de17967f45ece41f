#!/usr/bin/env bash
# Guess:   a server that loads the renewed pair into the TLS context it already has serves the renewed certificate from
#          then on.
# Truth:   OpenSSL keeps one pair for each type of key. If the renewed key is of the same type it takes the old one's
#          place; if the type has changed, both are there, and for a client that takes either ECDSA comes first: going
#          from ECDSA to RSA the old certificate is served until it expires and after, going from RSA to ECDSA it is
#          served to clients that take RSA only. No call fails, and the check of the private key is content.
# Version: OpenSSL 3.4.1 by pyOpenSSL 25.0.0 and cryptography 44.0.3; Python's own ssl module alike. pyOpenSSL 26.4.0
#          refuses to change a context that has been used. Seen 2026-11-27.
# Why:     the hot reload of many Python servers is one more load_cert_chain() on the living context. It works at every
#          renewal until the key's type is changed. Make a new context instead, or restart when the type changes.
# Needs:   python3 with venv, openssl.
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

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check pyOpenSSL==25.0.0 cryptography==44.0.3
cat >"$dir/server.py" <<'END'
"""server.py pyopenssl|ssl: says its version and port; loads chain.pem and key.pem at the start and for each line of input."""
import socket, ssl, sys, threading, warnings
warnings.simplefilter("ignore")
from OpenSSL import SSL

def accept_pyopenssl(plain):
    tls = SSL.Connection(context, plain)
    tls.set_accept_state()
    tls.do_handshake()
    tls.shutdown()

def load_pyopenssl():
    context.use_certificate_chain_file("chain.pem")
    context.use_privatekey_file("key.pem")
    context.check_privatekey()

def accept_ssl(plain):
    context.wrap_socket(plain, server_side=True).close()

def load_ssl():
    context.load_cert_chain("chain.pem", "key.pem")

if sys.argv[1] == "ssl":
    version, context, accept, load = ssl.OPENSSL_VERSION, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), accept_ssl, load_ssl
else:
    version = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()
    context, accept, load = SSL.Context(SSL.TLS_SERVER_METHOD), accept_pyopenssl, load_pyopenssl
load()
listener = socket.create_server(("127.0.0.1", 0))

def serve():
    while True:
        plain, _ = listener.accept()
        try:
            accept(plain)
        except (SSL.Error, OSError):
            pass # the client has closed first

threading.Thread(target=serve, daemon=True).start()
print(f"{version}\n{listener.getsockname()[1]}", flush=True)
for _ in sys.stdin:
    load()
    print("loaded", flush=True)
END

pair() { # the name in the certificate, the key's type
    case $2 in rsa) set -- "$1" rsa:2048 ;; *) set -- "$1" ec -pkeyopt ec_paramgen_curve:P-256 ;; esac
    openssl req -x509 -newkey "${@:2}" -nodes -days 9 -subj "/CN=$1" -keyout "$dir/key.pem" -out "$dir/chain.pem" 2>/dev/null
}
served() { # what a new connection gets
    openssl s_client -connect "127.0.0.1:$port" "$@" </dev/null 2>/dev/null | sed -n 's/^subject=CN = //p'
}
try() { # old type, new type, expected by a client that takes both, by one that takes RSA only
    pair old "$1"
    coproc server { cd "$dir" && exec venv/bin/python server.py "$library"; }
    # shellcheck disable=SC2154 # set by coproc
    pids=$server_PID
    read -r version <&"${server[0]}"
    read -r port <&"${server[0]}"
    [ "$1 $2" = "rsa rsa" ] && printf '%s: %s\n' "$library" "$version"
    first=$(served)
    pair new "$2"
    echo reload >&"${server[1]}"
    read -r said <&"${server[0]}"
    expect "  from $1 to $2: at the start, reload" "$first, $said" "old, loaded"
    expect "    client that takes ECDSA and RSA" "$(served)" "$3"
    [ "$1 $2" = "ec rsa" ] || expect "    client that takes RSA only" "$(served -sigalgs RSA-PSS+SHA256)" "$4"
    kill "$pids"
    wait "$pids" || :
    pids=''
}
for library in pyopenssl ssl; do
    try rsa rsa new new
    try ec rsa old ''
    try rsa ec new old
done
test "$changed" = 0
