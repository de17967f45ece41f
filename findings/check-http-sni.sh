#!/usr/bin/env bash
# Guess:   `check_http -S -H NAME -C DAYS` looks at the certificate that visitors of NAME get: the name is given, and
#          every TLS client has sent it (SNI) for many years.
# Truth:   the name goes into the HTTP request only. Without `--sni` the server answers with the certificate of its
#          default site, and that one's days are counted: OK. The name in it is not compared with NAME either.
# Version: monitoring-plugins 2.3.3 (Debian 12); seen 2026-11-27.
# Why:     on a host with several certificates the monitoring watches one of them many times and the others never. It is
#          green while a certificate runs out, and it proves nothing about a deployment. Its text names the certificate:
#          compare.
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

debs bookworm monitoring-plugins-basic=2.3.3-5+deb12u2
check=$dir/root/usr/lib/nagios/plugins/check_http

pair() { # name, days that it has left
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$2" -subj "/CN=$1" \
        -addext "subjectAltName=DNS:$1" -keyout "$dir/$1.key" -out "$dir/$1.pem" 2>/dev/null
}
pair default.example.test 300
pair www.example.test 3
cat >"$dir/server.py" <<'END'
"""Two sites at one address, told apart by SNI; the first one is for clients that send no name."""
import socket, ssl
sites = {}
for name in ["default.example.test", "www.example.test"]:
    sites[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    sites[name].load_cert_chain(name + ".pem", name + ".key")
default = sites["default.example.test"]

def choose(connection, name, _):
    connection.context = sites.get(name, default)

default.sni_callback = choose
listener = socket.create_server(("127.0.0.1", 0))
with open("port", "w") as file:
    print(listener.getsockname()[1], file=file)
while True:
    plain, _ = listener.accept()
    try:
        with default.wrap_socket(plain, server_side=True) as tls:
            tls.recv(4096)
    except OSError:
        pass # the client has closed first
END
(cd "$dir" && exec python3 server.py) &
pids=$!
until_ready test -s "$dir/port"
port=$(cat "$dir/port")

checked() { # the name in the plugin's answer, and its status
    local answer status=0
    answer=$("$check" -I 127.0.0.1 -p "$port" -S -H www.example.test -C 14 "$@") || status=$?
    printf '%s, %s\n' "$(printf '%s\n' "$answer" | sed -n "s/.*Certificate '\([^']*\)'.*/\1/p")" "$status"
}
"$check" --version || : # it ends with 3
openssl_sees=$(openssl s_client -connect "127.0.0.1:$port" -servername www.example.test </dev/null 2>/dev/null |
    sed -n 's/^subject=CN = //p')
expect "  a visitor of www.example.test gets" "$openssl_sees" www.example.test
expect "  -H www.example.test -C 14" "$(checked)" "default.example.test, 0"
expect "  -H www.example.test -C 14 --sni" "$(checked --sni)" "www.example.test, 1"
test "$changed" = 0
