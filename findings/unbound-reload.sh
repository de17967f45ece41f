#!/usr/bin/env bash
# Guess:   `unbound-control reload` brings everything that the configuration names into service, the certificate for DNS
#          over TLS too; it says "ok".
# Truth:   it reads the configuration again, serves what is new in it, and keeps the TLS context of the start. The old
#          certificate is served until the process is started anew; SIGHUP, which Debian's unit sends for ExecReload, does
#          no more than that.
# Version: Unbound 1.17.1 (Debian 12); seen 2026-11-27.
# Why:     a renewal hook with `systemctl reload unbound` reports success for ninety days. Then strict DNS-over-TLS
#          clients lose their resolver all at once. A look at port 853 after the reload tells; the hook has to restart.
# Needs:   Debian 12 on amd64, python3 with venv, openssl.
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

debs bookworm unbound=1.17.1-2+deb12u4 libevent-2.1-7=2.1.12-stable-8 libprotobuf-c1=1.4.1-1+b1
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check dnspython==2.9.2
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu

port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$dir/ask.py" <<'END'
"""What the resolver says over TLS: the address of host.lan."""
import sys
import dns.message, dns.query
query = dns.message.make_query("host.lan", "A")
print(dns.query.tls(query, "127.0.0.1", port=int(sys.argv[1]), verify=False, timeout=5).answer[0][0])
END
ask() { "$dir/venv/bin/python" "$dir/ask.py" "$port"; }
served() { openssl s_client -connect "127.0.0.1:$port" </dev/null 2>/dev/null | sed -n 's/^subject=CN = //p'; }
pair() { # the name in the certificate
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj "/CN=$1" \
        -keyout "$dir/key.pem" -out "$dir/chain.pem" 2>/dev/null
}
configure() { # the address of host.lan
    cat >"$dir/conf" <<END
server:
    directory: "$dir"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    interface: 127.0.0.1@$port
    tls-port: $port
    tls-service-key: "$dir/key.pem"
    tls-service-pem: "$dir/chain.pem"
    module-config: "iterator"
    local-zone: "lan." static
    local-data: "host.lan. A $1"
remote-control:
    control-enable: yes
    control-interface: "$dir/control"
    control-use-cert: no
END
}
start() {
    "$dir/root/usr/sbin/unbound" -c "$dir/conf" >>"$dir/log" 2>&1 &
    pids=$!
    until_ready ask
}

"$dir/root/usr/sbin/unbound" -V | sed -n 's/^Version/Unbound/p'
pair old
configure 192.0.2.1
start
expect "  at the start: certificate, answer" "$(served) $(ask)" "old 192.0.2.1"
pair new
configure 192.0.2.2
expect "  unbound-control reload" "$("$dir/root/usr/sbin/unbound-control" -c "$dir/conf" reload)" ok
until_ready ask
expect "  after the reload: certificate, answer" "$(served) $(ask)" "old 192.0.2.2"
configure 192.0.2.3
kill -HUP "$pids"
for _ in $(seq 600); do # until the new answer is there
    [ "$(ask 2>/dev/null || :)" != 192.0.2.3 ] || break
    sleep 0.1
done
expect "  after SIGHUP: certificate, answer" "$(served) $(ask)" "old 192.0.2.3"
kill "$pids"
wait
start
expect "  started anew: certificate, answer" "$(served) $(ask)" "new 192.0.2.3"
test "$changed" = 0
