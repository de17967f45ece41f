#!/usr/bin/env bash
# Guess:   `acme.sh --install-cronjob` sees to it that this installation renews; `--uninstall-cronjob` takes its line away.
# Truth:   any line of the crontab that holds "acme.sh --cron" counts as the line: that of another home, and one behind a
#          #. Then nothing is added, though the words are the same ("Installing cron job") and the status is 0. The removal
#          takes away every such line, those of other homes too.
# Version: acme.sh 3.1.1 (Debian 13's package), crontab of cron 3.0pl1; seen 2026-11-28.
# Why:     a line was commented out for an evening, or a second home was made for another CA account. The installation
#          says all is well, and its certificates end after 90 days. Look at `crontab -l` afterwards, and write the line of
#          a second home by hand.
# Needs:   Debian 12 on amd64, unshare; root.
set -eu

# A real crontab has its place compiled in: an empty folder is put there, which this script alone sees.
if [ -z "${APART-}" ]; then APART=1 exec unshare --mount --propagation private "$0"; fi
mkdir -p /var/spool/cron
mount -t tmpfs none /var/spool/cron
mkdir /var/spool/cron/crontabs

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
changed=0
expect() { # what, seen, expected
    printf '%-58s %s\n' "$1:" "$2"
    [ "$2" = "$3" ] || { printf 'CHANGED, it was: %s\n' "$3"; changed=1; }
}
debs() { # suite, then package=version each: unpacked into $dir/root, from the mirrors that this system's apt uses
    local suite=$1 options apt=$dir/apt/$1
    shift
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    printf '#clear APT::Update::%s;\n' Post-Invoke Post-Invoke-Success >"$apt/conf"
    # shellcheck disable=SC2016 # apt-get replaces these
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | sort -u |
        while read -r uri release; do
            case $release in *-*) continue ;; esac
            printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$uri" "$suite"
        done >"$apt/sources"
    options=(-qq -c "$apt/conf" -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt"
        -o Dir::Etc::SourceList="$apt/sources" -o Dir::Etc::SourceParts=/dev/null -o APT::Sandbox::User=root
        -o Acquire::Languages=none)
    apt-get "${options[@]}" update
    (cd "$apt" && apt-get "${options[@]}" download "$@" && for deb in *.deb; do dpkg -x "$deb" "$dir/root"; done)
}

debs bookworm cron=3.0pl1-162
debs trixie acme.sh=3.1.1-1
mkdir "$dir/bin"
cp "$dir/root/usr/bin/crontab" "$dir/bin/crontab"
script=$(find "$dir/root" -type f -name acme.sh -perm -u=x | head -n 1)
acme() { # home, arguments: the script lies in its home, as `acme.sh --install` puts it
    local home=$1
    shift
    mkdir -p "$home"
    cp "$script" "$home/acme.sh"
    env PATH="$dir/bin:$PATH" "$home/acme.sh" --home "$home" "$@" 2>&1
}
lines() { # those that run, and those behind a #
    "$dir/bin/crontab" -l 2>/dev/null | awk '/acme.sh --cron/ { if (/^#/) off++; else on++ } END { print on + 0, off + 0 }'
}
say() { # output: the words without their time
    sed -n 's/^\[[^]]*\] //p' | head -n 1
}

acme "$dir/one" --version | tail -n 1
said=$(acme "$dir/one" --install-cronjob | say)
expect 'first home, --install-cronjob' "$said" 'Installing cron job'
expect '  lines that run, lines behind a #' "$(lines)" '1 0'

said=$(acme "$dir/two" --install-cronjob | say)
expect 'second home, --install-cronjob' "$said" 'Installing cron job'
expect '  its status' "$(acme "$dir/two" --install-cronjob >/dev/null && echo 0)" 0
expect '  lines that run, lines behind a #' "$(lines)" '1 0'
expect '  lines of the second home' "$("$dir/bin/crontab" -l | grep -c "$dir/two" || :)" 0

"$dir/bin/crontab" -l | sed 's/^/# /' | "$dir/bin/crontab" -
said=$(acme "$dir/one" --install-cronjob | say)
expect 'first home, its line behind a #, --install-cronjob' "$said" 'Installing cron job'
expect '  lines that run, lines behind a #' "$(lines)" '0 1'

"$dir/bin/crontab" -l | sed "s/^# //; p; s|$dir/one|$dir/two|g" | "$dir/bin/crontab" -
expect 'a line of each home, by hand' "$(lines)" '2 0'
acme "$dir/two" --uninstall-cronjob >/dev/null
expect '  lines after --uninstall-cronjob of the second home' "$(lines)" '0 0'
test "$changed" = 0
