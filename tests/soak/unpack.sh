#!/bin/sh
# unpack.sh SUITE FOLDER PACKAGE…: another Debian's packages, with all that they depend on, unpacked below FOLDER and not
# installed. It takes the mirror that this system's apt uses. What was unpacked before is left as it is.
set -eu

suite=$1 folder=$2
shift 2
# Two tests may want it at once.
mkdir -p "$folder"
exec 9>"$folder.lock"
flock 9
[ ! -e "$folder/unpacked" ] || [ "$(cat "$folder/unpacked")" != "$*" ] || exit 0
rm -rf "$folder"
mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial"
cd "$folder"
folder=$PWD
: >apt/status
printf '#clear APT::Update::%s;\n' Post-Invoke Post-Invoke-Success >apt/conf
# shellcheck disable=SC2016 # apt-get replaces these
apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | sort -u |
    while read -r uri release; do
        case $release in *-*) continue ;; esac
        printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$uri" "$suite"
    done >apt/sources
own() {
    apt-get -qq -c "$folder/apt/conf" -o Dir::State::Lists="$folder/apt/lists" -o Dir::Cache="$folder/apt" \
        -o Dir::State::status="$folder/apt/status" -o Dir::Etc::SourceList="$folder/apt/sources" \
        -o Dir::Etc::SourceParts=/dev/null -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}
own update
own install --simulate --no-install-recommends "$@" | awk '$1 == "Inst" { print $2 }' >apt/packages
mkdir apt/debs
# shellcheck disable=SC2046 # a name each
(cd apt/debs && own download $(cat ../packages))
for deb in apt/debs/*.deb; do dpkg -x "$deb" root; done
rm -rf apt
printf '%s' "$*" >unpacked
