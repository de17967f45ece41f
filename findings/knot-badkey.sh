#!/usr/bin/env bash
# Guess:   the TSIG error BADKEY says that the server does not know the key, or knows it under another algorithm (RFC
#          8945, 5.2.1).
# Truth:   Knot DNS answers BADKEY to a known key with the right secret whenever no ACL rule permits the update, for
#          example at a name outside `update-owner-name`. There a wrong secret gets BADKEY too, and BADSIG only where the
#          update is permitted.
# Version: Knot DNS 3.2.6 (Debian 12), BIND 9.18.49 for comparison; seen 2026-11-27.
# Why:     an ACL that lets the key write _acme-challenge.www only is good practice. For a certificate with one more name
#          the client then reports an unknown key, and keys are compared and made anew, while the ACL lacks a line.
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

debs bookworm knot=3.2.6-1 libknot13=3.2.6-1 libdnssec9=3.2.6-1 libzscanner4=3.2.6-1 liburcu8=0.13.2-1 libxdp1=1.3.1-1 \
    libbpf1=1:1.1.2-0+deb12u1 bind9=1:9.18.49-1~deb12u1 bind9-libs=1:9.18.49-1~deb12u1 libfstrm0=0.6.1-1 \
    libjemalloc2=5.3.0-1 libjson-c5=0.16-2 liblmdb0=0.9.24-1 libmaxminddb0=1.7.1-1 libprotobuf-c1=1.4.1-1+b1 \
    libuv1=1.44.2-1+deb12u1
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
try() { # right secret and wrong secret at the forbidden name
    until_ready ask k "$secret" _acme-challenge.www
    expect "  right secret, permitted name" "$(ask k "$secret" _acme-challenge.www)" "NOERROR signed"
    expect "  wrong secret, permitted name" "$(ask k "$wrong" _acme-challenge.www)" "NOTAUTH BADSIG"
    expect "  unknown key, permitted name" "$(ask unknown "$secret" _acme-challenge.www)" "NOTAUTH BADKEY"
    expect "  right secret, forbidden name" "$(ask k "$secret" _acme-challenge.mail)" "$1"
    expect "  wrong secret, forbidden name" "$(ask k "$wrong" _acme-challenge.mail)" "$2"
    kill "$pids"
    wait
    pids=''
}

"$dir/root/usr/sbin/knotd" -V
cat >"$dir/knot.conf" <<END
server:
    rundir: $dir
    listen: 127.0.0.1@$port
database:
    storage: $dir
key:
  - id: k
    algorithm: hmac-sha256
    secret: $secret
acl:
  - id: challenges
    key: k
    action: update
    update-owner: name
    update-owner-match: equal
    update-owner-name: [ _acme-challenge.www ]
zone:
  - domain: example.test
    storage: $dir
    zonefile-sync: -1
    journal-content: changes
    acl: challenges
END
"$dir/root/usr/sbin/knotd" -c "$dir/knot.conf" >"$dir/knot.log" 2>&1 &
pids=$!
try "NOTAUTH BADKEY" "NOTAUTH BADKEY"

"$dir/root/usr/sbin/named" -v
cat >"$dir/named.conf" <<END
options {
    directory "$dir"; listen-on port $port { 127.0.0.1; }; listen-on-v6 { none; }; recursion no;
    pid-file none; session-keyfile none; managed-keys-directory "$dir";
};
controls {};
key k { algorithm hmac-sha256; secret "$secret"; };
zone "example.test" {
    type primary; file "example.test.zone"; update-policy { grant k name _acme-challenge.www.example.test. TXT; };
};
END
"$dir/root/usr/sbin/named" -c "$dir/named.conf" -g >"$dir/named.log" 2>&1 &
pids=$!
try "REFUSED signed" "NOTAUTH BADSIG"
test "$changed" = 0
