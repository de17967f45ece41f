#!/bin/sh
# Brings what the tests and the demo need: Debian packages, and Pebble (the test CA) in lab/pebble/.
#
# Can be run any number of times; when all is there it takes a moment and no network. Packages are installed as root or
# through sudo, which may ask for a password where there is a terminal; no service is started, now or at the next boot.
# Pebble is unpacked below this repository, not installed.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
pebble=$root/lab/pebble
PATH=$PATH:/usr/sbin:/sbin

# One line each: the program (or file) that must be there, and the Debian package that has it. perl, make and gcc build
# the OpenSSL that certd's SSH library carries.
needs='nginx nginx
sshd openssh-server
ssh openssh-client
named bind9
dig bind9-dnsutils
nsupdate bind9-dnsutils
openssl openssl
caddy caddy
haproxy haproxy
useradd passwd
nsenter util-linux
setpriv util-linux
unshare util-linux
setfacl acl
chattr e2fsprogs
mount mount
ip iproute2
ps procps
time time
busybox busybox
dash dash
bash bash
fish fish
sudo sudo
csh csh
tcsh tcsh
shellcheck shellcheck
systemd-analyze systemd
perl perl
make make
gcc gcc
/usr/include/stdio.h libc6-dev
/etc/ssl/certs/ca-certificates.crt ca-certificates
/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring'

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

missing_packages() {
    printf '%s\n' "$needs" | while read -r thing package; do
        case $thing in
        /*) [ -e "$thing" ] || printf '%s\n' "$package" ;;
        *) command -v "$thing" >/dev/null 2>&1 || printf '%s\n' "$package" ;;
        esac
    done | sort -u | tr '\n' ' '
}

# sudo asks on the terminal, whatever standard input and output are. Without one it must not ask: nobody would answer.
terminal() { (: </dev/tty) 2>/dev/null; }
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif terminal; then sudo "$@"; else sudo -n "$@"; fi
}

# By Debian 12's own cargo (1.65 and older) the first error is a syntax error in Cargo.toml or in some crate.
check_toolchain() {
    needed=$(sed -n 's/^rust-version = "\([0-9]*\.[0-9]*\).*/\1/p' "$root/Cargo.toml")
    advice="install it by https://rustup.rs, or update it: rustup update stable"
    [ ! -x "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin/rustup" ] || advice="rustup update stable; and in a shell that does not find it: . ~/.cargo/env"
    for program in cargo rustc; do
        command -v $program >/dev/null || fail "needs Rust $needed or newer, and there is no $program: $advice"
        found=$($program --version 2>&1) || fail "$(command -v $program) does not run: $found"
        version=$(printf '%s\n' "$found" | sed -n "s/^$program \([0-9]*\.[0-9]*\).*/\1/p")
        [ -n "$version" ] || fail "$(command -v $program) is of a version that is not understood: $found"
        if [ "${version%.*}" -lt "${needed%.*}" ] ||
            { [ "${version%.*}" -eq "${needed%.*}" ] && [ "${version#*.}" -lt "${needed#*.}" ]; }; then
            fail "needs Rust $needed or newer, and $(command -v $program) is $version: $advice"
        fi
    done
}

# Packages of servers start them when they are installed, unless this file says no (Debian policy 9.3.3).
policy=/usr/sbin/policy-rc.d
forbid_services() {
    [ -e "$policy" ] && return
    trap 'as_root rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}

install_packages() {
    missing=$(missing_packages)
    [ -z "$missing" ] && return
    command -v apt-get >/dev/null || fail "needs the programs of these Debian packages, and this is not Debian: $missing"
    by_hand="install these yourself: apt-get install --no-install-recommends $missing"
    if [ "$(id -u)" = 0 ]; then
        say "installing $missing"
    else
        command -v sudo >/dev/null || fail "needs root once, and there is no sudo; $by_hand"
        if terminal; then
            say "installing through sudo, which may ask for your password: $missing"
        else
            say "installing through sudo: $missing"
        fi
        as_root true || fail "needs root once, and sudo refuses; $by_hand"
    fi
    forbid_services
    as_root apt-get -q update >&2
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends $missing >&2
    # What we brought must not start at the next boot either; what was there before is left as it was.
    for package in $missing; do
        case $package in
        nginx) unit=nginx.service ;;
        openssh-server) unit=ssh.service ;;
        bind9) unit=named.service ;;
        caddy) unit=caddy.service ;;
        haproxy) unit=haproxy.service ;;
        *) continue ;;
        esac
        if command -v systemctl >/dev/null; then as_root systemctl disable "$unit" >/dev/null 2>&1 || true; fi
    done
    missing=$(missing_packages)
    [ -z "$missing" ] || fail "still missing after the installation: $missing"
}

# The system's own mirrors, so that a proxy or a local mirror goes on being used.
mirrors() {
    # shellcheck disable=SC2016 # apt-get replaces these
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
        while read -r uri release; do
            case $release in *-security | *-updates | *-backports) ;; *) printf '%s\n' "$uri" ;; esac
        done | sort -u
}

# Pebble 2.10 is in Debian's forky; Debian 12's 2.4 knows neither ARI nor profiles. It is linked to run on Debian 12.
# forky's index says until when it holds, and a mirror that lags, or a clock that is moved, is past that: the signature is
# checked all the same.
fetch_pebble() {
    if [ -x "$pebble/usr/bin/pebble" ]; then return; fi
    say "fetching Pebble"
    rm -rf "$pebble" # what an interrupted run has left
    mkdir -p "$pebble/lists/partial" "$pebble/cache/archives/partial"
    printf '%s\n' '#clear APT::Update::Post-Invoke;' '#clear APT::Update::Post-Invoke-Success;' >"$pebble/apt.conf"
    for uri in $(mirrors); do
        printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s forky main\n' "$uri"
    done >"$pebble/sources.list"
    [ -s "$pebble/sources.list" ] || fail "apt-get indextargets names no Debian mirror; apt's sources need one"
    (
        cd "$pebble"
        apt() {
            apt-get -q -c "$pebble/apt.conf" -o Dir::State::Lists="$pebble/lists" -o Dir::Cache="$pebble/cache" \
                -o Dir::Etc::SourceList="$pebble/sources.list" -o Dir::Etc::SourceParts=/dev/null \
                -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root "$@" >&2
        }
        apt update || say "not every mirror answered for forky"
        apt download pebble || fail "no mirror of apt's sources gave Debian forky's package pebble (2.10 or newer)"
        mkdir -p unpacked
        dpkg -x pebble_*.deb unpacked
        rm -rf lists cache apt.conf sources.list pebble_*.deb usr
        mv unpacked/usr usr # last, in one move: what is there is whole
        rm -rf unpacked
    )
    [ -x "$pebble/usr/bin/pebble" ] || fail "Debian's package pebble holds no usr/bin/pebble any more"
}

check_toolchain
install_packages
fetch_pebble
