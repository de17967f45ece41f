#!/bin/sh
# Unpacks servers that go over to TLS after a dialogue in plain text into the folder $1, as a root of their own; for
# `make soak`. Nothing is started, and nothing outside of the folder is changed. Needs root, debootstrap, and apt's sources.
set -eu
into=${1:?the folder}
[ ! -e "$into/complete" ] || exit 0
packages='postfix dovecot-imapd dovecot-pop3d dovecot-managesieved slapd prosody postgresql mariadb-server proftpd-core
  proftpd-mod-crypto inn2 nats-server xrdp'
# shellcheck source=/dev/null
. /etc/os-release
# shellcheck disable=SC2016 # apt-get replaces these
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' | awk -v of="$VERSION_CODENAME" \
  '$2 == of && $3 == "main" { print $1; exit }')
[ "$mirror" ] || { echo "apt's sources have no $VERSION_CODENAME main" >&2; exit 1; }
rm -rf "$into"
debootstrap --variant=minbase "$VERSION_CODENAME" "$into" "$mirror" >&2
# Nothing is started while it is installed.
printf '#!/bin/sh\nexit 101\n' >"$into/usr/sbin/policy-rc.d"
chmod 755 "$into/usr/sbin/policy-rc.d"
# INN wants a name with a domain.
echo '127.0.0.1 mail.example.com localhost' >"$into/etc/hosts"
run() {
  unshare --uts sh -c 'hostname mail.example.com; exec "$@"' sh \
    chroot "$into" env DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@" >&2
}
# shellcheck disable=SC2086 # a list
run apt-get install -yq --no-install-recommends $packages
# Exim and Postfix exclude each other: Exim's program and libraries alone.
run sh -c 'mkdir /exim && cd /exim && apt-get install -yq --no-install-recommends --download-only exim4-daemon-light &&
  for deb in /var/cache/apt/archives/*.deb; do
    case ${deb##*/} in exim4-* | libgnutls-dane* | libunbound* | libidn12* | libevent*) dpkg -x "$deb" /exim ;; esac
  done
  ln -s /exim/usr/sbin/exim4 /usr/sbin/exim4
  find /exim/usr/lib -maxdepth 1 -name "*-linux-gnu" >/etc/ld.so.conf.d/exim.conf
  ldconfig
  useradd -r Debian-exim'
# nnrpd looks for the overview of the articles. /run/news comes with INN's start.
run sh -c 'mkdir -p /run/news && touch /var/spool/news/tradspool.map && chown news: /run/news /var/spool/news/tradspool.map &&
  su news -s /bin/sh -c "/usr/lib/news/bin/makehistory -O -x -F"'
: >"$into/complete"
