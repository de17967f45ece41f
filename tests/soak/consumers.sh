#!/bin/sh
# Brings the servers of docs/consumers.md: a Debian of its own below lab/consumers/, with their packages unpacked and set
# up, and nothing started. Can be run any number of times. Without debootstrap it is brought in the same way.
set -eu

lab=$(cd "$(dirname "$0")/../.." && pwd)/lab/consumers
suite=bookworm
packages='nginx-light apache2 haproxy lighttpd lighttpd-mod-openssl hitch stunnel4 postfix dovecot-imapd postgresql redis-server mosquitto
squid-openssl prosody coturn ocserv vsftpd caddy h2o mariadb-server ejabberd slapd ldap-utils bind9 unbound dnsdist rabbitmq-server
nats-server nsd knot-resolver openssl procps socat'
# They exclude others of those: brought here, and installed in the copy of their test.
apart='exim4-daemon-light proftpd-core proftpd-mod-crypto'
root=$lab/$suite
[ ! -e "$root/.whole" ] || [ "$(cat "$root/.whole")" != "$packages $apart" ] || exit 0
mkdir -p "$lab/apt/lists/partial" "$lab/apt/archives/partial"
# The mirror that this system's apt uses.
# shellcheck disable=SC2016 # apt-get replaces these
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | sort -u |
    while read -r uri release; do case $release in *-*) ;; *) echo "$uri"; break ;; esac; done)
[ "$mirror" ] || { echo "consumers: apt-get indextargets names no Debian mirror" >&2; exit 1; }
if ! command -v debootstrap >/dev/null; then
    (cd "$lab/apt/archives" && apt-get -q download debootstrap && dpkg -x debootstrap_*.deb "$lab/tools")
    DEBOOTSTRAP_DIR=$lab/tools/usr/share/debootstrap
    export DEBOOTSTRAP_DIR
    PATH=$PATH:$lab/tools/usr/sbin
fi
if [ ! -e "$root/.base" ]; then
    rm -rf "$root"
    debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$lab/log" 2>&1 || { tail -n 20 "$lab/log" >&2; exit 1; }
    # No service is started while packages are set up.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    : >"$root/.base"
fi
apt() {
    DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get -q -y --no-install-recommends "$@" >>"$lab/log" 2>&1 ||
        { tail -n 20 "$lab/log" >&2; exit 1; }
}
apt update
# shellcheck disable=SC2086 # a word each
apt install $packages
# shellcheck disable=SC2086 # a word each
apt install --download-only $apart
printf %s "$packages $apart" >"$root/.whole"
