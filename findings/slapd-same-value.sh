#!/usr/bin/env bash
# Guess:   SIGHUP makes slapd read its certificate again, or nothing but a restart does; to replace an attribute by the
#          value that it has already changes nothing.
# Truth:   SIGHUP ends slapd. The same path written over itself, `replace: olcTLSCertificateFile` in cn=config, makes the
#          running process read certificate and key anew; a change of another attribute does not.
# Version: OpenLDAP slapd 2.5.13 with GnuTLS (Debian 12); seen 2026-11-27.
# Why:     its init script has no reload that is not a restart, so that hooks restart the directory that every login asks,
#          or send the signal that reloads other servers and end it. A tool that compares first and writes only
#          differences (most configuration management) never gets the new certificate served.
# Needs:   Debian 12 on amd64, openssl, python3.
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

debs bookworm slapd=2.5.13+dfsg-5 ldap-utils=2.5.13+dfsg-5 libldap-2.5-0=2.5.13+dfsg-5 libltdl7=2.4.7-7~deb12u1 \
    libodbc2=2.3.11-2+deb12u1 libwrap0=7.6.q-32
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu
read -r ldap ldaps <<<"$(python3 -c 'import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*[s.getsockname()[1] for s in sockets])')"

pair() { # the name in the certificate
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj "/CN=$1" \
        -keyout "$dir/key.pem" -out "$dir/chain.pem" 2>/dev/null
}
served() { openssl s_client -connect "127.0.0.1:$ldaps" </dev/null 2>/dev/null | sed -n 's/^subject=CN = //p'; }
answers() { [ -n "$(served)" ]; }
silent() { ! answers; }
replace() { # an attribute of cn=config, its value
    printf 'dn: cn=config\nchangetype: modify\nreplace: %s\n%s: %s\n' "$1" "$1" "$2" |
        "$dir/root/usr/bin/ldapmodify" -x -H "ldap://127.0.0.1:$ldap" -D cn=config -w secret >>"$dir/log" 2>&1
    echo $?
}
start() {
    "$dir/root/usr/sbin/slapd" -d 0 -F "$dir/config" -h "ldap://127.0.0.1:$ldap ldaps://127.0.0.1:$ldaps" >>"$dir/log" 2>&1 &
    pids=$!
    until_ready answers
}

"$dir/root/usr/sbin/slapd" -VV 2>&1 | sed -n 's/.*\(OpenLDAP: slapd [^ ]*\).*/\1/p'
cat >"$dir/config.ldif" <<END
dn: cn=config
objectClass: olcGlobal
cn: config
olcTLSCertificateFile: $dir/chain.pem
olcTLSCertificateKeyFile: $dir/key.pem

dn: olcDatabase={0}config,cn=config
objectClass: olcDatabaseConfig
olcDatabase: {0}config
olcRootDN: cn=config
olcRootPW: secret
END
pair first
mkdir "$dir/config"
(exec -a slapadd "$dir/root/usr/sbin/slapd" -n 0 -F "$dir/config" -l "$dir/config.ldif")
start
expect "  at the start" "$(served)" first
pair second
expect "  files written over" "$(served)" first
expect "  another attribute replaced: status" "$(replace olcLogLevel none)" 0
expect "  what is served" "$(served)" first
expect "  certificate's path replaced by itself: status" "$(replace olcTLSCertificateFile "$dir/chain.pem")" 0
expect "  what is served" "$(served)" second
pair third
kill -HUP "$pids"
until_ready silent
wait "$pids" && status=0 || status=$?
pids=''
expect "  after SIGHUP it has ended, with status" "$status" 0
start
expect "  started anew" "$(served)" third
test "$changed" = 0
