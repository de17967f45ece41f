#!/bin/sh
# update_servers.sh SUITE: brings the name servers of a Debian release, with all that they need, into lab/update-servers/SUITE
# (one folder that holds its own libraries). Nothing is installed. Can be run any number of times.
set -eu

suite=$1
folder=$(cd "$(dirname "$0")/.." && pwd)/lab/update-servers
[ ! -e "$folder/$suite/complete" ] || exit 0
mkdir -p "$folder"
work=$(mktemp -d "$folder/.$suite.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/root"
: >"$work/status"
# shellcheck disable=SC2016 # apt-get replaces these
apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | sort -u |
    while read -r uri release; do
        case $release in *-*) continue ;; esac
        printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$uri" "$suite"
    done >"$work/sources"
printf '#clear APT::Update::%s;\n' Post-Invoke Post-Invoke-Success >"$work/conf"
apt() {
    apt-get -qq -c "$work/conf" -o Dir::State::Lists="$work/lists" -o Dir::State::status="$work/status" \
        -o Dir::Cache="$work/cache" -o Dir::Etc::SourceList="$work/sources" -o Dir::Etc::SourceParts=/dev/null \
        -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)" -o APT::Install-Recommends=0 \
        -o Acquire::Languages=none "$@"
}
apt update
apt -y --download-only install bind9 knot nsd pdns-server pdns-backend-sqlite3 sqlite3 >/dev/null
for deb in "$work"/cache/archives/*.deb; do dpkg -x "$deb" "$work/root"; done
for link in bin sbin lib lib64; do [ -e "$work/root/$link" ] || ln -s "usr/$link" "$work/root/$link"; done
touch "$work/root/complete"
rm -rf "${folder:?}/$suite"
mv "$work/root" "$folder/$suite"
