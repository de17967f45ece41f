#!/usr/bin/env bash
# Guess:   Exim watches its certificate files (by inotify) and serves new ones without a reload; so it does when
#          `current`, a link in their path, is led to the folder with the renewed pair.
# Truth:   what it watches is the folder in which the files lay when it read them, links followed. There a rename is
#          noticed within a moment. A link above is not watched: the switch changes nothing, and the old pair is served
#          on. Curiously, a change in the folder that nothing leads to any more makes Exim read the new pair.
# Version: Exim 4.96 (Debian 12); seen 2026-11-27.
# Why:     "Exim needs no reload" holds for files that are written over, not for folders that are switched, the usual way
#          to change certificate and key in one step. Send SIGHUP or restart after the switch.
# Needs:   Debian 12 on amd64, root, openssl, python3.
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

[ "$(id -u)" = 0 ] || { echo "needs root: Exim gives up its privileges by itself" >&2; exit 2; }
debs bookworm exim4-daemon-light=4.96-15+deb12u10 libidn12=1.41-1 libnss-wrapper=1.1.12-1 libevent-2.1-7=2.1.12-stable-8 \
    libgnutls-dane0=3.7.9-2+deb12u7
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu
exim=$dir/root/usr/sbin/exim4

# The program insists on the account that its package makes: it gets one of its own.
{ cat /etc/passwd; echo "Debian-exim:x:65533:65533::/nonexistent:/bin/false"; } >"$dir/passwd"
{ cat /etc/group; echo "Debian-exim:x:65533:"; } >"$dir/group"
export NSS_WRAPPER_PASSWD=$dir/passwd NSS_WRAPPER_GROUP=$dir/group

pair() { # the folder, the name in the certificate; each file comes by a rename
    mkdir -p "$dir/$1" "$dir/made"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj "/CN=$2" \
        -keyout "$dir/made/key.pem" -out "$dir/made/chain.pem" 2>/dev/null
    chmod 644 "$dir/made/key.pem"
    mv "$dir/made/key.pem" "$dir/made/chain.pem" "$dir/$1/"
}
lead() { # the folder that `current` is to lead to
    ln -s "$1" "$dir/next"
    mv -T "$dir/next" "$dir/current"
}
served() { openssl s_client -connect "127.0.0.1:$port" </dev/null 2>/dev/null | sed -n 's/^subject=CN = //p'; }
serves() { [ "$(served)" = "$1" ]; }
later() { # what is served when another certificate comes, or after ten seconds
    for _ in $(seq 100); do
        if ! serves "$1"; then break; fi
        sleep 0.1
    done
    served
}
start() {
    LD_PRELOAD=libnss_wrapper.so "$exim" -C "$dir/conf" -bdf >>"$dir/out" 2>&1 &
    pids=$!
    until_ready serves "$1"
}

chmod 755 "$dir"
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$dir/spool" "$dir/log"
chown 65533:65533 "$dir/spool" "$dir/log"
cat >"$dir/conf" <<END
primary_hostname = localhost
keep_environment =
spool_directory = $dir/spool
log_file_path = $dir/log/%slog
daemon_smtp_ports = $port
tls_on_connect_ports = $port
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = $dir/current/chain.pem
tls_privatekey = $dir/current/key.pem
END
LD_PRELOAD=libnss_wrapper.so "$exim" -C "$dir/conf" -bV | head -n 1
pair a first
pair b second
lead a
start first
pair a third
expect "  renamed over, no reload" "$(later first)" third
lead b
expect "  link led to another folder, no reload" "$(later third)" third
pair a fourth
expect "  a change in the folder that is left" "$(later third)" second
lead a
expect "  link led back, no reload" "$(later second)" second
kill "$pids"
wait
start fourth
expect "  started anew" "$(served)" fourth
test "$changed" = 0
