#!/usr/bin/env bash
# Guess:   when the deploy hook fails, so does `certbot renew`: a status other than 0 to alert on, and another try at the
#          next run.
# Truth:   one line on standard error, "all renewals succeeded", status 0. The next run finds a certificate that is not
#          due and does not run the hook again. A renewal that fails at the CA does end with 1.
# Version: Certbot 5.8.0 (with Pebble 2.4.0 as the CA); seen 2026-11-27.
# Why:     the hook is what copies the certificate to its nodes and reloads their servers. If one is unreachable at that
#          moment the timer's unit stays green, the new certificate lies where it was issued, and the old one is served
#          until it expires. Whoever deploys from a hook has to look at what is served, or to keep a mark of their own for
#          "not yet deployed".
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

debs bookworm pebble=2.4.0+ds1-2+b4
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check certbot==5.8.0
read -r api management http tls <<<"$(python3 -c 'import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*[s.getsockname()[1] for s in sockets])')"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null
cat >"$dir/pebble.json" <<END
{"pebble": {"listenAddress": "127.0.0.1:$api", "managementListenAddress": "127.0.0.1:$management",
    "certificate": "$dir/ca.pem", "privateKey": "$dir/ca.key", "httpPort": $http, "tlsPort": $tls}}
END
# The challenge is not what this is about: the CA takes it as met.
PEBBLE_VA_ALWAYS_VALID=1 PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 \
    "$dir/root/usr/bin/pebble" -config "$dir/pebble.json" >"$dir/pebble.log" 2>&1 &
pids=$!
reach() { python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)' "$api"; }
until_ready reach

certbot() { # its status; its output is in $dir/out
    local status=0
    REQUESTS_CA_BUNDLE=$dir/ca.pem "$dir/venv/bin/certbot" "$@" --config-dir "$dir/conf" --work-dir "$dir/work" \
        --logs-dir "$dir/logs" --non-interactive >"$dir/out" 2>&1 || status=$?
    printf '%s\n' "$status"
}
says() { grep -c "$1" "$dir/out" || :; }
runs() { wc -l <"$dir/hooks"; }

"$dir/venv/bin/certbot" --version
cat >"$dir/hook" <<END
#!/bin/sh
echo run >>"$dir/hooks"
exit 3
END
chmod +x "$dir/hook"
: >"$dir/hooks"
expect "  issuance with a hook that ends with 3: status" "$(certbot certonly --server "https://localhost:$api/dir" --standalone \
    --http-01-address 127.0.0.1 --http-01-port "$http" -d www.example.test --agree-tos --register-unsafely-without-email \
    --deploy-hook "$dir/hook")" 0
expect "  runs of the hook so far" "$(runs)" 1
expect "  renewal: status" "$(certbot renew --force-renewal --no-random-sleep-on-renew)" 0
expect "  \"all renewals succeeded\"" "$(says 'all renewals succeeded')" 1
expect "  \"reported error code 3\"" "$(says 'reported error code 3')" 1
expect "  runs of the hook so far" "$(runs)" 2
expect "  next run, nothing due: status" "$(certbot renew --no-random-sleep-on-renew)" 0
expect "  runs of the hook so far" "$(runs)" 2
kill "$pids"
wait
pids=''
expect "  renewal without a CA: status" "$(certbot renew --force-renewal --no-random-sleep-on-renew)" 1
test "$changed" = 0
