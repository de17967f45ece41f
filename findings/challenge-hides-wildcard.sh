#!/usr/bin/env bash
# Guess:   the TXT record of a challenge, at _acme-challenge.www, is a name of its own and changes nothing for visitors of www.
# Truth:   where www has its address from a wildcard (*.example.test) alone, it has none while the TXT record exists. The
#          record makes www an empty non-terminal, a name that exists without records, and a wildcard answers only for
#          names that do not exist (RFC 4592, 2.2.2). Servers say NOERROR with no answer, which resolvers keep for the SOA's
#          minimum, longer than the record itself is there. An address record at www itself is not touched.
# Version: BIND 9.18.49, Knot DNS 3.2.6; seen 2026-11-28.
# Why:     every renewal takes the site out of DNS for some seconds, and for visitors whose resolver asked just then for the
#          minutes of the negative TTL; nobody connects it with the certificate, which is renewed well. Give each name of a
#          certificate address records of its own, or delegate _acme-challenge for good and look what the wildcard then
#          answers.
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

debs bookworm bind9=1:9.18.49-1~deb12u1 bind9-libs=1:9.18.49-1~deb12u1 libfstrm0=0.6.1-1 libjemalloc2=5.3.0-1 \
    libjson-c5=0.16-2 liblmdb0=0.9.24-1 libmaxminddb0=1.7.1-1 libprotobuf-c1=1.4.1-1+b1 libuv1=1.44.2-1+deb12u1 \
    knot=3.2.6-1 libknot13=3.2.6-1 libdnssec9=3.2.6-1 libzscanner4=3.2.6-1 liburcu8=0.13.2-1 libxdp1=1.3.1-1 \
    libbpf1=1:1.1.2-0+deb12u1
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check dnspython==2.9.2
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu

secret=$(head -c 32 /dev/urandom | base64)
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')

cat >"$dir/ask.py" <<'END'
"""ask.py PORT SECRET add NAME | delete NAME | show NAME TYPE | serial"""
import sys
import dns.message, dns.query, dns.rcode, dns.tsigkeyring, dns.update
port, secret, what, *rest = sys.argv[1:]
ask = lambda message: dns.query.tcp(message, "127.0.0.1", port=int(port), timeout=5)
if what in ("add", "delete"):
    update = dns.update.Update("example.test", keyring=dns.tsigkeyring.from_text({"k": secret}), keyalgorithm="hmac-sha256")
    if what == "add":
        update.add(rest[0], 60, "TXT", "token")
    else:
        update.delete(rest[0], "TXT")
    print(dns.rcode.to_text(ask(update).rcode()))
elif what == "show":
    message = ask(dns.message.make_query(rest[0] + ".example.test", rest[1]))
    records = " ".join(str(record) for rrset in message.answer for record in rrset)
    print(dns.rcode.to_text(message.rcode()), records or "nothing")
else:
    print(ask(dns.message.make_query("example.test", "SOA")).answer[0][0].serial)
END
ask() { "$dir/venv/bin/python" "$dir/ask.py" "$port" "$secret" "$@"; }
zone() {
    cat >"$1" <<'END'
$TTL 60
@ SOA ns.example.test. hostmaster.example.test. 1 60 60 60 60
@ NS ns.example.test.
ns A 127.0.0.1
* A 192.0.2.1
own A 192.0.2.1
END
}
try() {
    until_ready ask serial
    expect '  www, which the wildcard answers for' "$(ask show www A)" 'NOERROR 192.0.2.1'
    expect '  TXT at _acme-challenge.www' "$(ask add _acme-challenge.www)" NOERROR
    expect '  www, while it exists' "$(ask show www A)" 'NOERROR nothing'
    expect '  other, another name of the wildcard' "$(ask show other A)" 'NOERROR 192.0.2.1'
    expect '  the TXT record is removed' "$(ask delete _acme-challenge.www)" NOERROR
    expect '  www, after it' "$(ask show www A)" 'NOERROR 192.0.2.1'
    expect '  TXT at _acme-challenge.own' "$(ask add _acme-challenge.own)" NOERROR
    expect '  own, with a record of its own' "$(ask show own A)" 'NOERROR 192.0.2.1'
    kill "$pids"
    wait
    pids=''
}

"$dir/root/usr/sbin/named" -v
mkdir "$dir/bind" "$dir/knot"
zone "$dir/bind/zone"
cat >"$dir/bind/conf" <<END
options {
    directory "$dir/bind"; listen-on port $port { 127.0.0.1; }; listen-on-v6 { none; }; recursion no;
    pid-file none; session-keyfile none; managed-keys-directory "$dir/bind";
};
controls {};
key k { algorithm hmac-sha256; secret "$secret"; };
zone "example.test" { type primary; file "zone"; allow-update { key k; }; };
END
"$dir/root/usr/sbin/named" -c "$dir/bind/conf" -g >"$dir/bind/log" 2>&1 &
pids=$!
try

"$dir/root/usr/sbin/knotd" -V
zone "$dir/knot/example.test.zone"
cat >"$dir/knot/conf" <<END
server:
    rundir: $dir/knot
    listen: 127.0.0.1@$port
database:
    storage: $dir/knot
key:
  - id: k
    algorithm: hmac-sha256
    secret: $secret
acl:
  - id: updates
    key: k
    action: update
zone:
  - domain: example.test
    storage: $dir/knot
    acl: updates
END
"$dir/root/usr/sbin/knotd" -c "$dir/knot/conf" >"$dir/knot/log" 2>&1 &
pids=$!
try
test "$changed" = 0
