#!/usr/bin/env bash
# Guess:   a dynamic update that is signed with a wrong secret is answered NOTAUTH with the TSIG error BADSIG, one with an
#          unknown key with BADKEY (RFC 8945, 5.2), and REFUSED means that the key is good but not permitted.
# Truth:   PowerDNS answers each of the three with REFUSED. Only the signature tells them apart: the answer to a good key
#          that lacks the permission is signed, the other two are not.
# Version: PowerDNS Authoritative Server 4.7.3 (Debian 12), BIND 9.18.49 for comparison; seen 2026-11-27.
# Why:     a client that reports "REFUSED: allow this key to update the zone" sends its user to the server's permissions,
#          while the secret was mistyped; and a library that insists on signed answers reports a malformed message
#          instead.
# Needs:   Debian 12 on amd64, python3 with venv.
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

debs bookworm pdns-server=4.7.3-2 pdns-backend-sqlite3=4.7.3-2 libluajit-5.1-2=2.1.0~beta3+git20220320+dfsg-4.1+deb12u1 \
    bind9=1:9.18.49-1~deb12u1 bind9-libs=1:9.18.49-1~deb12u1 libfstrm0=0.6.1-1 libjemalloc2=5.3.0-1 libjson-c5=0.16-2 \
    liblmdb0=0.9.24-1 libmaxminddb0=1.7.1-1 libprotobuf-c1=1.4.1-1+b1 libuv1=1.44.2-1+deb12u1
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check dnspython==2.9.2
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu
secret=$(head -c 32 /dev/urandom | base64)
wrong=$(head -c 32 /dev/urandom | base64)
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$dir/example.test.zone" <<'END'
$TTL 60
@ SOA ns.example.test. hostmaster.example.test. 1 60 60 60 60
@ NS ns.example.test.
ns A 127.0.0.1
END

cat >"$dir/ask.py" <<'END'
"""ask.py PORT KEY SECRET NAME: how an update that adds a TXT record is answered, and whether the answer is signed."""
import socket, sys
import dns.exception, dns.message, dns.rcode, dns.tsig, dns.tsigkeyring, dns.update
port, key, secret, name = sys.argv[1:]
update = dns.update.Update("example.test", keyring=dns.tsigkeyring.from_text({key: secret}), keyalgorithm="hmac-sha256")
update.add(name, 60, "TXT", "token")
wire = update.to_wire()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.settimeout(5)
    server.sendto(wire, ("127.0.0.1", int(port)))
    answer = server.recv(65535)
code = dns.rcode.to_text(dns.rcode.Rcode(answer[3] & 15))
try:
    dns.message.from_wire(answer, keyring=update.keyring, request_mac=update.mac)
    print(code, "signed")
except dns.tsig.PeerError as error:
    print(code, {dns.tsig.PeerBadKey: "BADKEY", dns.tsig.PeerBadSignature: "BADSIG"}[type(error)])
except dns.exception.FormError:
    print(code, "unsigned")
END
ask() { "$dir/venv/bin/python" "$dir/ask.py" "$port" "$@"; }
stop() {
    kill "$pids"
    wait
    pids=''
}

"$dir/root/usr/sbin/pdns_server" --version 2>&1 | sed -n 's/.*\(PowerDNS Authoritative Server [0-9.]*\).*/\1/p'
mkdir "$dir/pdns"
cat >"$dir/pdns/pdns.conf" <<END
module-dir=$dir/root/usr/lib/x86_64-linux-gnu/pdns
launch=gsqlite3
gsqlite3-database=$dir/pdns/db
local-address=127.0.0.1
local-port=$port
socket-dir=$dir/pdns
dnsupdate=yes
allow-dnsupdate-from=127.0.0.0/8
END
python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(open(sys.argv[2]).read())' \
    "$dir/pdns/db" "$dir/root/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"
util() { "$dir/root/usr/bin/pdnsutil" --config-dir="$dir/pdns" "$@" >>"$dir/pdns/log" 2>&1; }
util load-zone example.test "$dir/example.test.zone"
util import-tsig-key permitted hmac-sha256 "$secret"
util import-tsig-key other hmac-sha256 "$secret"
util set-meta example.test TSIG-ALLOW-DNSUPDATE permitted
"$dir/root/usr/sbin/pdns_server" --config-dir="$dir/pdns" >>"$dir/pdns/log" 2>&1 &
pids=$!
until_ready ask permitted "$secret" ready
expect "  right secret, permitted key" "$(ask permitted "$secret" _acme-challenge)" "NOERROR signed"
expect "  right secret, key without the permission" "$(ask other "$secret" _acme-challenge)" "REFUSED signed"
expect "  wrong secret" "$(ask permitted "$wrong" _acme-challenge)" "REFUSED unsigned"
expect "  unknown key" "$(ask unknown "$secret" _acme-challenge)" "REFUSED unsigned"
stop

"$dir/root/usr/sbin/named" -v
cat >"$dir/named.conf" <<END
options {
    directory "$dir"; listen-on port $port { 127.0.0.1; }; listen-on-v6 { none; }; recursion no;
    pid-file none; session-keyfile none; managed-keys-directory "$dir";
};
controls {};
key permitted { algorithm hmac-sha256; secret "$secret"; };
key other { algorithm hmac-sha256; secret "$secret"; };
zone "example.test" { type primary; file "example.test.zone"; allow-update { key permitted; }; };
END
"$dir/root/usr/sbin/named" -c "$dir/named.conf" -g >"$dir/named.log" 2>&1 &
pids=$!
until_ready ask permitted "$secret" ready
expect "  right secret, permitted key" "$(ask permitted "$secret" _acme-challenge)" "NOERROR signed"
expect "  right secret, key without the permission" "$(ask other "$secret" _acme-challenge)" "REFUSED signed"
expect "  wrong secret" "$(ask permitted "$wrong" _acme-challenge)" "NOTAUTH BADSIG"
expect "  unknown key" "$(ask unknown "$secret" _acme-challenge)" "NOTAUTH BADKEY"
stop
test "$changed" = 0
