#!/usr/bin/env bash
# Guess:   where `mv` knows -T ("DEST always treated as file", says its help), `mv -T next current` puts the link `next`
#          into the place of the link `current` by one rename(), as with GNU and BusyBox.
# Truth:   toybox refuses if the old link leads to a folder: "'current' is a directory", status 1, with -f too. To a link
#          that leads to a file, or nowhere, it does what one expects.
# Version: toybox 0.8.9 (Debian 12), BusyBox 1.35.0 for comparison; seen 2026-11-27.
# Why:     it is the usual way to switch a folder with certificate and key in one step. Where the tools are those of
#          toybox the first delivery, when there is no link yet, works, and the first renewal does not. Nothing is lost:
#          the old link stays.
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

debs bookworm toybox=0.8.9+dfsg-1 busybox=1:1.35.0-4+deb12u1+b1

try() { # where the old link leads ("none": there is none), then the command: where `current` leads afterwards, and the status
    local old=$1 status=0
    shift
    rm -rf "$dir/place"
    mkdir -p "$dir/place/former" "$dir/place/renewed"
    cd "$dir/place"
    : >file
    [ "$old" = none ] || ln -s "$old" current
    ln -s renewed next
    "$@" next current >"$dir/said" 2>&1 || status=$?
    printf '%s, %s\n' "$(readlink current)" "$status"
}
toybox=$dir/root/bin/toybox busybox=$dir/root/bin/busybox

"$toybox" --version
expect "  no link yet" "$(try none "$toybox" mv -T)" "renewed, 0"
expect "  over a link to a folder" "$(try former "$toybox" mv -T)" "former, 1"
sed 's/^/    /' "$dir/said"
expect "  over a link to a folder, with -f" "$(try former "$toybox" mv -fT)" "former, 1"
expect "  over a link to a file" "$(try file "$toybox" mv -T)" "renewed, 0"
expect "  over a link that leads nowhere" "$(try gone "$toybox" mv -T)" "renewed, 0"
"$busybox" | head -n 1 | cut -d ' ' -f 1,2
expect "  over a link to a folder" "$(try former "$busybox" mv -T)" "renewed, 0"
test "$changed" = 0
