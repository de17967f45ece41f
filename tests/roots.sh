#!/bin/sh
# roots.sh SUITE: brings a Debian of another release as a folder, lab/roots/SUITE, for tests that set nodes up on it, and
# prints its name. It takes root, debootstrap, a few minutes and 600 MB. Nothing is started in it, and nothing of it is
# mounted: the tests lay an overlay over it.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
suite=$1
folder=$root/lab/roots/$suite
work=$folder.work

say() { printf 'roots: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

[ ! -d "$folder" ] || { echo "$folder"; exit 0; }
[ "$(id -u)" = 0 ] || fail "only root can make $folder"
command -v debootstrap >/dev/null || fail "install debootstrap, and run this again"
grep -q " $work/" /proc/mounts && fail "something is mounted below $work, which an interrupted run has left: umount it"
rm -rf "$work"
mkdir -p "$root/lab/roots"
# shellcheck disable=SC2016 # apt-get replaces these
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
    while read -r uri release; do
        case $release in *-security | *-updates | *-backports) ;; *) printf '%s\n' "$uri" ;; esac
    done | head -n 1)
[ "$mirror" ] || fail "apt-get indextargets names no Debian mirror; apt's sources need one"
packages=openssh-server,dropbear-bin,tinysshd,ucspi-tcp-ipv6,sudo,sudo-rs,rust-coreutils,busybox,procps,openssl,ca-certificates,nginx-light
say "debootstrap $suite"
debootstrap --variant=minbase --include="$packages" "$suite" "$work" "$mirror" >"$folder.log" 2>&1 || {
    tail -n 5 "$folder.log" >&2
    fail "see $folder.log"
}
rm -rf "$work"/var/cache/apt/archives/*.deb "$work"/var/lib/apt/lists/*
mv "$work" "$folder" # last, in one move: what is there is whole
echo "$folder"
