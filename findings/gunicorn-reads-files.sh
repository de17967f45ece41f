#!/usr/bin/env bash
# Guess:   an application server reads certificate and key at its start and at a reload (SIGHUP), and serves from memory
#          between.
# Truth:   Gunicorn reads both files anew for every connection, in the worker process. What lies on the disk is served the
#          moment it lies there, without a reload, by the worker that was there before: the new pair, but no less a
#          certificate whose key has not been written yet, and then every handshake fails.
# Version: Gunicorn 27.0.1; seen 2026-11-27.
# Why:     "put the files there, test them, then reload" gives no protection: to put them there is to deploy them. Both
#          must change in one step (a folder behind one link), and the key must stay readable for the workers' user, not
#          just for the user that starts the server.
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
until_ready() { # a command, tried for a minute at most
    for _ in $(seq 600); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    printf 'not ready: %s\n' "$*" >&2
    exit 1
}

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check gunicorn==27.0.1
"$dir/venv/bin/gunicorn" --version
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$dir/application.py" <<'END'
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]
END
pair() { # the name in the certificate
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj "/CN=$1" \
        -keyout "$dir/key.pem" -out "$dir/chain.pem" 2>/dev/null
}
served() { # what a new connection gets
    local name
    name=$(openssl s_client -connect "127.0.0.1:$port" </dev/null 2>/dev/null | sed -n 's/^subject=CN = //p')
    printf '%s\n' "${name:-no handshake}"
}
for kind in sync gthread; do
    pair old
    "$dir/venv/bin/gunicorn" --chdir "$dir" -k "$kind" --bind "127.0.0.1:$port" --certfile "$dir/chain.pem" \
        --keyfile "$dir/key.pem" application >"$dir/log" 2>&1 &
    pids=$!
    until_ready grep -q 'Booting worker' "$dir/log"
    expect "  $kind worker, at the start" "$(served)" old
    pair new
    expect "  files written over, no reload" "$(served)" new
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$dir/key.pem" 2>/dev/null
    expect "  another key written over, no reload" "$(served)" "no handshake"
    expect "  the worker is still the first one" "$(grep -c 'Booting worker' "$dir/log")" 1
    kill "$pids"
    wait
done
test "$changed" = 0
