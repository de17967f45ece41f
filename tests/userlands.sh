#!/bin/sh
# userlands.sh NAME: brings the utilities of other systems, so that the node program's tests can be run with them. Makes
# lab/userlands/NAME, a folder to be the whole PATH of a node, with its shell as `sh`, and prints its name.
#
#   busybox-1.37, busybox-1.38   all of busybox and nothing else
#   toybox                       all of toybox, and this machine's dash
#   uutils                       Rust's coreutils, and else this machine's programs
#
# The tests with one of them:
#
#   CERTD_USERLAND=$(tests/userlands.sh busybox-1.38) cargo test --test lab node_program::
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
name=$1
folder=$root/lab/userlands/$name
packages=$root/lab/packages/$name
work=$folder.work

# packages, unpacked
bring() { "$root/tests/packages.sh" "packages/$name" "$@"; }
# program, names: as which it is called
link() {
    program=$1
    shift
    for applet; do [ -e "$work/$applet" ] || ln -s "$program" "$work/$applet"; done
}

[ ! -d "$folder" ] || { echo "$folder"; exit 0; }
rm -rf "$work" # what an interrupted run has left
mkdir -p "$work"
# shellcheck disable=SC2046 # names, without spaces
case $name in
busybox-1.37 | busybox-1.38)
    case $name in *37) bring trixie busybox-static ;; *) bring sid busybox-static ;; esac
    "$packages/usr/bin/busybox" | grep -q "^BusyBox v${name#*-}" || { echo "$name: Debian has another version now" >&2; exit 1; }
    link "$packages/usr/bin/busybox" $("$packages/usr/bin/busybox" --list)
    ;;
toybox)
    bring trixie toybox
    link "$packages/usr/bin/toybox" $("$packages/usr/bin/toybox")
    link /bin/dash sh
    ;;
uutils)
    bring sid rust-coreutils libc6 libgcc-s1 libselinux1 libpcre2-8-0 libssl3t64 libsystemd0 libzstd1 zlib1g libcap2
    # They are linked against a younger C library than this machine's: each is called by its own loader.
    lib=$packages/usr/lib/$(uname -m)-linux-gnu
    set -- "$lib"/ld-linux-*.so.?
    loader=$1
    for program in "$packages"/usr/lib/cargo/bin/coreutils/*; do
        # shellcheck disable=SC2016 # for the wrapper
        printf '#!/bin/sh\nexec %s --argv0 "$0" --library-path %s %s "$@"\n' "$loader" "$lib" "$program" >"$work/${program##*/}"
        chmod 755 "$work/${program##*/}"
    done
    link /bin/dash sh
    for program in /usr/sbin/* /usr/bin/* /sbin/* /bin/*; do link "$program" "${program##*/}"; done
    ;;
*) echo "userlands.sh: no userland is called $name" >&2; exit 1 ;;
esac
mv "$work" "$folder" # last, in one move: what is there is whole
echo "$folder"
