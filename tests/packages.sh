#!/bin/sh
# packages.sh FOLDER SUITE PACKAGE...: unpacks Debian packages of another suite below lab/FOLDER, without installing them.
#
# What `make soak` brings on demand: programs of other versions than this system's. It can be run any number of times: a
# folder that is there is whole and stays. The mirrors are those of this system's own apt, so that a proxy or a local mirror
# goes on being used; what they give is checked by Debian's signatures.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
folder=$root/lab/$1 suite=$2
shift 2

say() { printf 'packages: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

if [ -d "$folder" ]; then exit 0; fi
say "fetching $* of $suite"
work=$folder.work
rm -rf "$work" # what an interrupted run has left
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/unpacked"
printf '#clear APT::Update::%s;\n' Post-Invoke Post-Invoke-Success >"$work/apt.conf"
# shellcheck disable=SC2016 # apt-get replaces these
apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
    while read -r uri release; do
        case $release in
        *-security | *-updates | *-backports) ;;
        *) printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$uri" "$suite" ;;
        esac
    done | sort -u >"$work/sources.list"
[ -s "$work/sources.list" ] || fail "apt-get indextargets names no Debian mirror; apt's sources need one"
cd "$work"
apt() {
    apt-get -q -c "$work/apt.conf" -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" \
        -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root "$@" >&2
}
apt update || say "not every mirror answered for $suite"
apt download "$@" || fail "no mirror of apt's sources gave $* of $suite"
for deb in *.deb; do dpkg -x "$deb" unpacked; done
mv unpacked "$folder" # last, in one move: what is there is whole
rm -rf "$work"
