#!/usr/bin/env bash
# Guess:   a subshell's EXIT trap runs when the subshell ends, wherever the subshell was started.
# Truth:   not in BusyBox's ash where it was started by an EXIT trap that is running: the inner trap is dropped without a word.
#          dash, from which ash comes, and bash run it. Outside of a trap ash runs it too.
# Version: BusyBox 1.35.0 (Debian 12), dash 0.5.12 and bash 5.2.15 for comparison; seen 2026-11-28.
# Why:     a program that tidies up in its EXIT trap, and does that under a lock which a subshell's trap gives back, leaves
#          the lock behind on such systems alone, and the next run waits for it.
# Needs:   Debian on amd64.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
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

debs bookworm busybox=1:1.35.0-4+deb12u1+b1 dash=0.5.12-2 bash=5.2.15-2+b13

# shellcheck disable=SC2016 # for the shells that are tried
plain='( trap "echo inner" EXIT; true ); echo outer'
# shellcheck disable=SC2016
in_trap='trap "( trap \"echo inner\" EXIT; true ); echo outer" EXIT; exit 0'
try() { "$@" | tr '\n' ' '; }
root=$dir/root
expect "  ash, a subshell" "$(try "$root/bin/busybox" ash -c "$plain")" "inner outer "
expect "  ash, a subshell of an EXIT trap" "$(try "$root/bin/busybox" ash -c "$in_trap")" "outer "
expect "  dash, the same" "$(try "$root/bin/dash" -c "$in_trap")" "inner outer "
expect "  bash, the same" "$(try "$root/bin/bash" -c "$in_trap")" "inner outer "
test "$changed" = 0
