# --- nobody but root writes these ---

# folder: made where it is missing; root's alone, as everything is in which a name of its path is looked up, by way of links
# too.
folder() {
  [ -d "$1" ] || { folder "$(dirname "$1")"; try mkdir -m 755 "$1"; }
  u=$1 d=''
  while [ "$u" ]; do
    w=${u%%/*} u=${u#"$w"} u=${u#/}
    case $w in '' | .) continue ;; ..) d=${d%/*}; continue ;; esac
    alone "${d:-/}" above
    w=$d/$w
    [ -L "$w" ] || { d=$w; continue; }
    w=$(readlink "$w") u=$w/$u
    case $w in /*) d= ;; esac
  done
  alone "${d:-/}" ''
}
# Further above the group root is enough, and so is staff, to which Debian's older releases give /usr/local; but not by an
# ACL, which shows in the group's bits.
alone() {
  b=$2
  # shellcheck disable=SC2046 # fields: mode, links, owner, group
  set -- "$1" $(ls -ldn "$1/.")
  [ "$4" = 0 ] || fail "$1 belongs to user $4, who could swap what is in it" "chown root: $1"
  case $2 in
  ????????w*) fail "everybody may write in $1" "chmod o-w $1" ;;
  ?????w*)
    [ "$b" ] && case $2 in *+) false ;; esac && [ -z "$(getfacl -cps "$1" 2>/dev/null)" ] && case $5 in 0 | 50) ;; *) false ;; esac ||
      fail "group $5, or somebody by an ACL, may write in $1, and so become what runs there as root" "chmod g-w $1; or: setfacl -b $1"
    [ "$5" = 0 ] || say "note: group $5 may write in $1, and so become what runs there as root: chmod g-w $1"
    ;;
  esac
}
# file, mode, command: what that says, in one move. Never at the end of a pipe, where `fail` would end nothing but that.
put() {
  f=$1 m=$2
  shift 2
  folder "$(dirname "$f")"
  [ ! -d "$f" ] || fail "$f is a folder" "see what it is for, and move it away"
  { rm -f "$f.certd-new" && "$@" >"$f.certd-new" && chown 0:0 "$f.certd-new" && chmod "$m" "$f.certd-new" &&
    mv -f "$f.certd-new" "$f"; } 2>/dev/null || {
    rm -f "$f.certd-new" 2>/dev/null
    fail "$f cannot be written" "see its folder: room, mount, attributes (lsattr)"
  }
  ! command -v restorecon >/dev/null || restorecon "$f" 2>/dev/null
}

# --- the options: as given now, else as given last time, else the default ---

remember() {
  had_from=any had_sudo=yes had_older=no had_openssl=auto had_judges='' had_ports='' known=''
  if [ -f "$params/options" ]; then
    known=1
    while read -r o v; do
      case $o in from | sudo | older | openssl | judges | ports) eval "had_$o=\$v" ;; esac
    done <"$params/options"
  elif [ -f "$params/keys" ] && IFS= read -r k <"$params/keys" && [ -f "$k" ]; then
    # An earlier version noted none: they are what it installed.
    known=1
    v=$(sed -n 's/^restrict.*,from="\([0-9A-Fa-f.:,/]*\)",command=.*/\1/p' "$k" | head -n 1)
    had_from=${v:-any}
    grep -q 'sudo -n' "$k" || had_sudo=no
    set +f
    ! grep -qs '^allow older$' "$params"/*.conf || had_older=yes
    set -f
  fi
}
# name of an option -> its value, as what is given on the command line
spelled() {
  case $1-$2 in
  from-any | sudo-yes | older-no | openssl-auto) ;;
  from-*) printf ' --from %s' "$2" ;;
  sudo-no) printf ' --no-sudo' ;;
  older-yes) printf ' --allow-older' ;;
  openssl-no) printf ' --no-openssl' ;;
  esac
}
# name, what was, what is
changed() { [ -z "$known" ] || [ "$2" = "$3" ] || say "changed: $1: $3; it was: $2"; }
choose() {
  remember
  options='' stated=''
  for o in from sudo older openssl; do
    eval "now=\${given_$o:-\$had_$o} was=\$had_$o stated=\$stated\$given_$o"
    eval "$o=\$now"
    changed "$o" "$was" "$now"
    options=$options$(spelled "$o" "$now")
  done
  case $from in any) ;; *[!0-9A-Fa-f.:,/]* | '') fail "$params/options has no addresses in its line \"from\"" "give them: --from ADDRESS, or --no-from" ;; esac
  case $known-$stated in
  1-) say "options:${options:- none}, as last time" ;;
  *) say "options:${options:- none}" ;;
  esac
  [ -z "$had_ports" ] || changed ports "$had_ports" "$ports"
}
options_file() {
  printf '# What was chosen at the last certd node setup, and what it found out.\nfrom %s\nsudo %s\nolder %s\nopenssl %s\njudges %s\nports %s\n' \
    "$from" "$sudo" "$older" "$openssl" "$judges" "$ports"
}
# Whether the receiver can see for itself what a certificate is worth.
can_judge() {
  judges=no
  if [ "$openssl" = no ]; then
    why='--no-openssl was given'
  elif ! command -v openssl >/dev/null; then
    why='there is no openssl here: install it, and run this again'
  elif ! openssl x509 -help 2>&1 | grep -q '[-]ext '; then
    why='the openssl here is older than 1.1.1, or another program of that name'
  else
    judges=yes
  fi
  if [ "$judges" = no ]; then
    say "note: certificates are not judged here ($why): a thief of the key can deliver any pair"
  else
    [ "$trust_system" = no ] || has_roots ||
      fail "openssl knows no root certificates here, and would refuse every chain" "install the package ca-certificates; or give --no-openssl, and the receiver judges nothing"
    say "certificates are judged here, by openssl: roots, names, dates and key"
  fi
  [ -z "$had_judges" ] || changed 'certificates are judged' "$had_judges" "$judges"
}
has_roots() {
  d=$(openssl version -d 2>/dev/null) d=${d#*\"} d=${d%\"*}
  [ ! -s "$d/cert.pem" ] || return 0
  set +f
  set -- "$d"/certs/*.0
  set -f
  [ -e "$1" ]
}

# --- sudo, or sudo-rs ---

# Each with the visudo that checks its own rules.
find_sudo() {
  for s in sudo sudo-rs; do
    sudo_path=$(command -v "$s") && visudo_path=$(command -v "vi$s") && return
  done
  return 1
}
# Checked before it is in the place where a mistake would break sudo for everybody. sudo-rs refuses what it does not know; it
# has no log of input, and starts this without a terminal.
check_rule() {
  t=$params/.rule plain=
  put "$t" 440 sudo_rule
  e=$("$visudo_path" -c -f "$t" 2>&1) || {
    case $("$sudo_path" --version 2>&1) in sudo-rs*) plain=1 ;; esac
    put "$t" 440 sudo_rule
    [ "$plain" ] && e=$("$visudo_path" -c -f "$t" 2>&1) || {
      rm -f "$t"
      fail "sudo does not take the rule: $e" "see the version of sudo on this node"
    }
  }
  rm -f "$t"
}

# --- the account ---

# Some systems have the big tools, others busybox's.
make_account() {
  if command -v useradd >/dev/null; then
    try useradd --system --user-group --no-create-home --home-dir "$home" --shell /bin/sh --password '*' "$account"
  elif command -v adduser >/dev/null; then
    try addgroup -S "$account"
    try adduser -S -D -H -h "$home" -s /bin/sh -G "$account" "$account"
  else
    fail "there is neither useradd nor adduser" "make a system account $account by hand"
  fi
}
account_ready() {
  if ! entry passwd "$account" >/dev/null; then
    # Noted first: what is made and not noted would be in nobody's care.
    put "$params/made" 644 printf 'made by certd node setup\n'
    make_account
    say "account $account: made"
  elif [ -f "$params/made" ]; then
    say "account $account: there already"
  else
    fail "an account $account exists already, and certd node setup has not made it" \
      "give another name: --account NAME; or, if nobody needs it, remove it: userdel $account"
  fi
  [ "$(field passwd 3)" != 0 ] || fail "account $account is root's (user 0)" "remove that line from /etc/passwd"
  # A login shell that runs nothing breaks forced commands too.
  if [ "$(field passwd 7)" != /bin/sh ] || [ "$(field passwd 6)" != "$home" ]; then
    if command -v usermod >/dev/null; then try usermod --shell /bin/sh --home "$home" "$account"
    else try sed -i "s|^\($account:[^:]*:[^:]*:[^:]*:[^:]*:\).*|\1$home:/bin/sh|" /etc/passwd; fi
    say "account $account: its home and its shell are put right ($home, /bin/sh)"
  fi
  # "!" locks the account for keys too, where sshd does without PAM; "*" is the password that nobody has.
  if [ "$(field shadow 2)" != '*' ]; then
    if command -v usermod >/dev/null; then try usermod --password '*' "$account"
    else printf '%s:*\n' "$account" | chpasswd -e 2>/dev/null || fail "account $account is locked" "put * as its password into /etc/shadow"; fi
    say "account $account: it was locked or had a password, and has none now"
  fi
  if [ -n "$(field shadow 8)" ]; then
    ! command -v usermod >/dev/null || try usermod --expiredate '' "$account"
  fi
}
# text, patterns as sshd has them (USER or USER@HOST) -> whether one is of the text
among() {
  m=$1; shift
  for p; do
    # shellcheck disable=SC2254 # a pattern
    case $m in ${p%%@*}) return ;; esac
  done
  return 1
}
sshd_lets_in() {
  next="in ${sshd_config:-/etc/ssh/sshd_config}"
  groups=$(id -Gn "$account")
  # shellcheck disable=SC2046 # words
  set -- $(sshd_word allowusers)
  [ $# = 0 ] || among "$account" "$@" || fail "sshd lets in none but its AllowUsers, and $account is not among them" "$next: add $account to AllowUsers"
  # shellcheck disable=SC2046 # words
  ! among "$account" $(sshd_word denyusers) || fail "sshd keeps $account out by DenyUsers" "$next: see DenyUsers"
  # shellcheck disable=SC2046 # words
  set -- $(sshd_word allowgroups)
  if [ $# != 0 ]; then
    in=
    for g in $groups; do ! among "$g" "$@" || in=1; done
    [ "$in" ] || fail "sshd lets in none but its AllowGroups, and no group of $account is among them" "$next: add $account to AllowGroups"
  fi
  for g in $groups; do
    # shellcheck disable=SC2046 # words
    ! among "$g" $(sshd_word denygroups) || fail "sshd keeps the group $g out by DenyGroups" "$next: see DenyGroups"
  done
  case $(sshd_word pubkeyauthentication) in no) fail "sshd takes no public keys from $account" "$next: PubkeyAuthentication yes" ;; esac
  case $(sshd_word authenticationmethods) in
  '' | any | publickey) ;;
  *) fail "sshd wants more than a key: AuthenticationMethods $(sshd_word authenticationmethods)" "$next: Match User $account, AuthenticationMethods publickey" ;;
  esac
  case $(sshd_word forcecommand) in '' | none) ;; *) fail "sshd forces another command on $account (ForceCommand)" "$next: take $account out of that Match" ;; esac
  case $(sshd_word chrootdirectory) in '' | none) ;; *) fail "sshd locks $account into a folder (ChrootDirectory)" "$next: take $account out of that Match" ;; esac
  # A permitted port brings these along, and no line of authorized_keys can say no to them.
  case $(sshd_word allowstreamlocalforwarding) in
  no | remote) ;;
  *) [ "$ports" = none ] || say "note: with the port the key may connect to sockets of this node, too; $next: Match User $account, AllowStreamLocalForwarding no" ;;
  esac
  for p in $(sshd_word acceptenv); do
    case $p in
    LANG | LC_* | COLORTERM | NO_COLOR | TERM | TZ) ;;
    *) say "note: sshd lets a caller set the variable $p (AcceptEnv); the shell that starts the receiver sees it" ;;
    esac
  done
}

# What other servers than OpenSSH's lack. They refuse a whole key for an option that they do not know.
server_suits() {
  other="or install openssh-server"
  case $server in
  dropbear)
    [ "$from" = any ] || fail "dropbear knows no from= and would refuse the key (--from $from)" \
      "give --no-from, and let a firewall admit none but the controller; $other"
    [ "$ports" = none ] || fail "dropbear cannot let a key connect to one port alone, as probe.via = \"ssh\" wants it" \
      "probe the node at its address; $other"
    ;;
  tinysshd) fail "tinysshd knows no options of a key: this one would get a shell" "install openssh-server or dropbear, and log in through that" ;;
  esac
}

# --- the whole ---

main() {
  [ "$(id -u)" = 0 ] || fail "this is to be run by root" "log in as root, or as somebody who may use sudo without a password: --login USER@HOST"
  find_server
  choose
  server_suits
  [ "$sudo" = no ] || find_sudo ||
    fail "there is no sudo, and only root may write there and reload" "install the package sudo; or, where $account may do it itself, give --no-sudo"
  account_ready
  sshd_all=$(sshd_says)
  if [ "$server" = dropbear ]; then say "note: dropbear cannot be asked what it says to $account"
  elif [ -z "$sshd_all" ]; then say "note: sshd could not be asked what it says to $account"; else sshd_lets_in; fi
  keys=$(keys_file)
  case $keys in */none | none) fail "sshd reads no file of keys (AuthorizedKeysFile none)" "in sshd_config: Match User $account, AuthorizedKeysFile .ssh/authorized_keys" ;; esac
  # One file of several accounts' keys lets the administrator in, too.
  [ ! -e "$keys" ] || [ "$(cat "$params/keys" 2>/dev/null)" = "$keys" ] ||
    fail "sshd looks for the keys of $account in $keys, which exists already, and certd node setup has not made it" \
      "in ${sshd_config:-/etc/ssh/sshd_config}: Match User $account, AuthorizedKeysFile .ssh/authorized_keys; or, if nobody needs it, move it away"

  can_judge
  put "$params/options" 644 options_file
  parameters
  put "$program" 755 program
  # A certificate that the configuration has no more is none that may be delivered.
  set +f
  for p in "$params"/*.conf "$params/roots"; do
    set -f
    case " $installed " in
    *" ${p##*/} "*) ;;
    *) [ ! -f "$p" ] || try rm -f "$p" ;;
    esac
  done
  set -f
  say "program and parameters: $program, $params/"

  if [ "$sudo" = yes ]; then
    check_rule
    put "$rule" 440 sudo_rule
    "$sudo_path" -n -l -U "$account" 2>/dev/null | grep -qF "$program" ||
      fail "sudo does not read $rule" "write @includedir /etc/sudoers.d into /etc/sudoers (with visudo)"
    start="$sudo_path -n $program"
    say "sudo: one rule, $rule"
  else
    rm -f "$rule"
    start=$program
    say "sudo: none"
  fi

  # Root's, so that what comes in by the key cannot write itself another line. sshd takes files of root's (StrictModes).
  # Nothing of the caller's; but sudo 1.9.16 and 1.9.17 do not live without a PATH.
  start="exec $(command -v env) -i LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin $start"
  # Noted first, as the account is.
  put "$params/keys" 644 printf '%s\n' "$keys"
  put "$keys" 644 authorized "$start"
  say "key: $keys"

  if [ "$sudo" = no ]; then
    p=$(places) IFS=$nl
    for d in $p; do
      unset IFS
      while [ ! -d "$d" ]; do d=$(dirname "$d"); done
      # shellcheck disable=SC2016 # for the shell that is started
      su -s /bin/sh "$account" -c 'test -w "$1"' sh "$d" 2>/dev/null ||
        say "note: $account may not write in $d; without sudo it has to: chown $account: $d"
    done
  fi
  say "done"
}
main </dev/null
