#!/bin/sh
# Runs a command, and all that it starts, with the wall clock moved by so many days: tests/moved_clock.sh 400 cargo test
#
# Tests that hold a fixed date fail one day, for everybody and on an old commit too; here they fail today. Nothing outside
# sees the moved clock: it is a library in /etc/ld.so.preload, and that file is in a mount namespace alone. Time namespaces
# (time_namespaces(7)) do not have this clock, and libfaketime does not move Go programs (Pebble, the test CA).
# Not moved: times of files, which are the kernel's, and programs without the C library.
set -eu

fail() { printf 'moved_clock: %s\n' "$*" >&2; exit 1; }

[ $# -ge 2 ] || fail "usage: tests/moved_clock.sh DAYS COMMAND [ARGUMENT…]; DAYS may be negative"
days=$1
shift
case ${days#-} in '' | *[!0-9]*) fail "$days is not a number of days" ;; esac
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}
as_root true || fail "a mount namespace needs root, or a sudo that does not ask: run \`sudo -v\` first"

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'as_root rm -rf "$work"' EXIT # holds a copy of what in /etc is root's alone
trap 'exit 130' INT TERM HUP
chmod 755 "$work" # every user's programs load it
gcc -Wall -Wextra -Werror -O1 -shared -fPIC "-DMOVED_BY=($days * 86400L)" -o "$work/moved_clock.so" "$here/support/moved_clock.c"
# Something may vanish from it meanwhile: accounts of tests that run beside this, a package's update.
copied=
for _ in 1 2 3 4 5; do
    if as_root cp -a /etc "$work/etc"; then copied=yes && break; fi
    as_root rm -rf "$work/etc"
done
[ "$copied" ] || fail "/etc cannot be copied"
printf '%s\n' "$work/moved_clock.so" | as_root tee "$work/etc/ld.so.preload" >/dev/null

# The command runs as the user who started this, with the path that sudo has replaced.
before=$(date +%s)
# shellcheck disable=SC2016 # for the inner shell
as_root unshare --mount --propagation private sh -euc '
    mount --bind "$1/etc" /etc
    off=$(($(env -i /bin/date +%s) - $2 - $3 * 86400))
    if [ "$off" -lt 0 ] || [ "$off" -ge 60 ]; then
        echo "moved_clock: the clock is off by $off s from where it should be" >&2
        exit 1
    fi
    date "+moved_clock: it is %F" >&2
    user=$4 group=$5 path=$6 home=$7
    shift 7
    if [ "$user" = "$(id -u)" ]; then exec "$@"; fi
    exec setpriv --reuid "$user" --regid "$group" --init-groups env PATH="$path" HOME="$home" "$@"
' moved_clock "$work" "$before" "$days" "$(id -u)" "$(id -g)" "$PATH" "$HOME" "$@"
