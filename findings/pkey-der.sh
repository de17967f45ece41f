#!/usr/bin/env bash
# Guess:   `openssl pkey -outform DER` writes what the PEM of the same command has inside, PKCS#8, as its manual says
#          without a word of exceptions.
# Truth:   up to OpenSSL 3.5 only where the algorithm has no older form. An EC key comes out as SEC1's ECPrivateKey (RFC
#          5915) and an RSA key as PKCS#1's RSAPrivateKey, `openssl genpkey -outform DER` likewise; Ed25519 is PKCS#8.
#          OpenSSL 3.6 writes PKCS#8 for all (3.6.5 of Debian sid, seen by hand). Readers that take PKCS#8 alone (Java's
#          PKCS8EncodedKeySpec, WebCrypto) refuse the former. `openssl pkcs8 -topk8 -nocrypt -outform DER` is PKCS#8 in
#          every version.
# Version: OpenSSL 3.0.20 (Debian 12), 3.5.9 (Debian 13); Deno 2.9.8; seen 2026-11-28.
# Why:     a hook that makes the .der file of a Java server works in its trial with Ed25519, or on the laptop with 3.6, and
#          on the server it writes another structure under the same name and with status 0.
# Needs:   Debian 12 on amd64, python3 with venv.
set -eu

dir=$(mktemp -d)
finish() { rm -rf "$dir"; }
trap finish EXIT
changed=0
expect() { # what, seen, expected
    printf '%-58s %s\n' "$1:" "$2"
    [ "$2" = "$3" ] || { printf 'CHANGED, it was: %s\n' "$3"; changed=1; }
}
debs() { # suite, then package=version each: unpacked into $dir/SUITE, from the mirrors that this system's apt uses
    local suite=$1 options apt=$dir/apt/$1
    shift
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    printf '#clear APT::Update::%s;\n' Post-Invoke Post-Invoke-Success >"$apt/conf"
    # shellcheck disable=SC2016 # apt-get replaces these
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | sort -u |
        while read -r uri release; do
            case $release in *-*) continue ;; esac
            printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$uri" "$suite"
        done >"$apt/sources"
    options=(-qq -c "$apt/conf" -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt"
        -o Dir::Etc::SourceList="$apt/sources" -o Dir::Etc::SourceParts=/dev/null -o APT::Sandbox::User=root
        -o Acquire::Languages=none)
    apt-get "${options[@]}" update
    (cd "$apt" && apt-get "${options[@]}" download "$@" && for deb in *.deb; do dpkg -x "$deb" "$dir/$suite"; done)
}
openssl_of() { # suite, arguments: with the C library of that suite
    local root=$dir/$1 libraries
    shift
    libraries=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu
    "$(find "$root" -name ld-linux-x86-64.so.2 -path '*/x86_64-linux-gnu/*')" --library-path "$libraries" "$root/usr/bin/openssl" "$@"
}
form() { # a DER file, by its second element: PKCS#8 has the algorithm's SEQUENCE there
    case $(openssl asn1parse -inform DER -in "$1" | awk '$0 ~ /d=1/ { n++; if (n == 2) print $0 }') in
        *SEQUENCE*) echo PKCS#8 ;;
        *'OCTET STRING'*) echo SEC1 ;;
        *INTEGER*) echo PKCS#1 ;;
        *) echo neither ;;
    esac
}
reads() { # algorithm for WebCrypto, file
    "$dir/venv/bin/deno" eval "const key = await Deno.readFile('$2');
        await crypto.subtle.importKey('pkcs8', key, $1, false, ['sign']).then(() => console.log('read'), () => console.log('refused'))"
}

export DENO_NO_UPDATE_CHECK=1 DENO_DIR="$dir/deno"
debs bookworm openssl=3.0.20-1~deb12u2 libssl3=3.0.20-1~deb12u2 libc6=2.36-9+deb12u14
debs trixie openssl=3.5.9-1~deb13u1 libssl3t64=3.5.9-1~deb13u1 libc6=2.41-12+deb13u5 libzstd1=1.5.7+dfsg-1 \
    zlib1g=1:1.3.dfsg+really1.3.1-1+deb13u1
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check deno==2.9.8
cd "$dir"

for suite in bookworm trixie; do
    openssl_of "$suite" version
    openssl_of "$suite" genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out EC.pem
    openssl_of "$suite" genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out RSA.pem 2>/dev/null
    openssl_of "$suite" genpkey -algorithm ED25519 -out ED25519.pem
    for key in 'EC SEC1 {name:"ECDSA",namedCurve:"P-256"}' \
        'RSA PKCS#1 {name:"RSASSA-PKCS1-v1_5",hash:"SHA-256"}' 'ED25519 PKCS#8 {name:"Ed25519"}'; do
        read -r kind wanted algorithm <<<"$key"
        expect "  $kind, the PEM" "$(head -n 1 "$kind.pem")" '-----BEGIN PRIVATE KEY-----'
        openssl_of "$suite" pkey -in "$kind.pem" -outform DER -out pkey.der
        expect "  $kind, pkey -outform DER" "$(form pkey.der)" "$wanted"
        answer=refused
        [ "$wanted" != PKCS#8 ] || answer='read'
        expect "  $kind, WebCrypto on it, as PKCS#8" "$(reads "$algorithm" pkey.der)" "$answer"
        openssl_of "$suite" pkcs8 -topk8 -nocrypt -in "$kind.pem" -outform DER -out pkcs8.der
        expect "  $kind, pkcs8 -topk8 -nocrypt -outform DER" "$(form pkcs8.der)" PKCS#8
        expect "  $kind, WebCrypto on that" "$(reads "$algorithm" pkcs8.der)" read
    done
done
test "$changed" = 0
