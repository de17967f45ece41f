#!/usr/bin/env bash
# Guess:   a certificate in date, under a root that has ended, fails everywhere or nowhere; one client that takes it shows
#          that clients do.
# Truth:   both are right by RFC 5280, which leaves open whether a trusted root has dates (section 6.1.1). For OpenSSL (curl,
#          Python) it is a certificate like the others, and the connection fails with "certificate has expired" though the
#          server's own is in date. For rustls (uv, Deno) it is a name and a key, and works as long as it is trusted.
# Version: OpenSSL 3.0.19 with curl 7.88.1, Python 3.11 ssl; uv 0.13.9, Deno 2.9.8; seen 2026-11-28.
# Why:     a private CA's root ends after ten years on a day when nobody renews anything. A monitor built on rustls stays
#          green while every curl, pip and PHP fails, and the error names the server's certificate, which has months
#          left. Look at the dates of the roots that you trust, not just of what is served.
# Needs:   python3 with venv, openssl, curl.
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
"$dir/venv/bin/pip" install -q --disable-pip-version-check uv==0.13.9 deno==2.9.8
cd "$dir"
openssl version
curl --version | head -n 1
"$dir/venv/bin/uv" --version

ca() { # folder, first day, last day: a root, and a leaf for localhost that is in date
    mkdir "$1"
    : >"$1/index"
    printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s/index\nnew_certs_dir=%s\nserial=%s/serial\ndefault_md=sha256\npolicy=p\n' \
        "$1" "$1" "$1" >"$1/conf"
    printf '[p]\ncommonName=supplied\n[root]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n' >>"$1/conf"
    printf 'subjectKeyIdentifier=hash\n[leaf]\nsubjectAltName=DNS:localhost\n' >>"$1/conf"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=Root" -keyout "$1/root.key" \
        -out "$1/root.csr" 2>/dev/null
    openssl ca -batch -notext -config "$1/conf" -create_serial -selfsign -extensions root -keyfile "$1/root.key" \
        -in "$1/root.csr" -startdate "$2" -enddate "$3" -out "$1/root.pem" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" -keyout "$1/leaf.key" \
        -out "$1/leaf.csr" 2>/dev/null
    openssl x509 -req -in "$1/leaf.csr" -CA "$1/root.pem" -CAkey "$1/root.key" -days 30 -extfile "$1/conf" \
        -extensions leaf -out "$1/leaf.pem" 2>/dev/null
}
ca ended 150101000000Z 250101000000Z
ca lasting 150101000000Z 491231000000Z

cat >index.html <<'END'
<a href="sample-1.0-py3-none-any.whl">sample-1.0-py3-none-any.whl</a>
END
mkdir -p www/sample
cp index.html www/sample/
python3 - <<'END'
import zipfile
with zipfile.ZipFile("www/sample/sample-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("sample.py", "")
    about = "sample-1.0.dist-info/"
    wheel.writestr(about + "METADATA", "Metadata-Version: 2.1\nName: sample\nVersion: 1.0\n")
    wheel.writestr(about + "WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(about + "RECORD", "")
END
cat >serve.py <<'END'
import functools, http.server, ssl, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="www")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + "/leaf.pem", sys.argv[1] + "/leaf.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
open(sys.argv[1] + "/port", "w").write(str(server.server_port))
server.serve_forever()
END
asks() { # a command: "taken" or "refused"
    if "$@" >log 2>&1; then echo taken; else echo refused; fi
}
in_python() {
    python3 -c 'import ssl, sys, urllib.request
urllib.request.urlopen(sys.argv[1], context=ssl.create_default_context(cafile=sys.argv[2]))' "$@"
}
for root in ended lasting; do
    python3 serve.py "$root" 2>/dev/null &
    pids="$pids $!"
    until_ready test -s "$root/port"
    url=https://localhost:$(cat "$root/port")
    echo "under a root that is $root:"
    wanted=taken
    [ "$root" = lasting ] || wanted=refused
    expect '  curl' "$(asks curl -sS --cacert "$root/root.pem" "$url/sample/")" "$wanted"
    if [ "$root" = ended ]; then
        expect '  its reason' "$(sed -n 's/.*problem: //p' log)" 'certificate has expired'
    fi
    expect '  Python' "$(asks in_python "$url/sample/" "$root/root.pem")" "$wanted"
    expect '  uv' "$(asks env SSL_CERT_FILE="$root/root.pem" "$dir/venv/bin/uv" pip install --no-cache --no-config \
        --target "$dir/$root/target" --default-index "$url" sample)" taken
    expect '  Deno' "$(asks env DENO_CERT="$root/root.pem" DENO_NO_UPDATE_CHECK=1 DENO_DIR="$dir/deno" "$dir/venv/bin/deno" eval \
        "await fetch('$url/sample/').then(response => response.text())")" taken
done
test "$changed" = 0
