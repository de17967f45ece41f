# Each thing that is switched off has a folder $record/NUMBER, which is there, whole and synced, before anything changes:
#   what   rename or edit; its path; where a rename leads
#   was    of an edit: the file as it was, with owner, mode and time
#   is     of an edit: the file as it is from then on
# What is done shows in the files themselves, so the script may die anywhere and be run again.
# Nothing is opened or renamed that anybody but root could swap at that moment: another user's home may be hostile.
record=$os/var/lib/certd-node/takeover mark='#certd took this over: '
# OpenWrt's /var is in memory: what is recorded there would be gone with the next restart.
in_memory() { [ -z "$os" ] && case $(stat -f -c %T "$1" 2>/dev/null) in tmpfs | ramfs) ;; *) return 1 ;; esac; }
[ -d "$record" ] || ! in_memory "$os/var/lib" || record=$os/etc/certd-node/takeover

# --- whose it is ---

# words, the names that are ours -> whether each word is one
all_among() {
  for w in $1; do
    case " $2 " in *" $(printf %s "$w" | tr '[:upper:]' '[:lower:]') "*) ;; *) why="it has $w too by now"; return 1 ;; esac
  done
  [ "${1#"${1%%[! ]*}"}" ] || { why='it has no names by now'; return 1; }
}
# client, file, our names: what the file says by now
still_ours() {
  case $1 in
  acme.sh) w=$(sed -nE 's/^Le_(Domain|Alt)=//p' "$2" | tr "'\",\n" '    ' | sed 's/ no *$/ /') ;;
  *)
    command -v openssl >/dev/null || { why='there is no openssl here, and nothing else says which names it has'; return 1; }
    w=$(openssl x509 -noout -text -in "$os$(sed -nE 's/^cert *= *//p' "$2")" 2>/dev/null |
      sed -n '/Subject Alternative Name/{n;s/, / /g;s/DNS://g;p;}')
    ;;
  esac
  all_among "$w" "$3"
}

# --- the record ---

# Folders of root's, which nobody else reads: crontabs may hold secrets.
begin() {
  d=${record%/*/*}
  ! in_memory "$d" || fail "$d is in memory, as /var/lib is: a restart would lose the record of what is switched off" "mount a disk there, or switch it off by hand"
  of_root "$d" || fail "$why" "give that folder to root alone: the record of what is switched off goes there"
  for d in "$d/certd-node" "$record"; do
    [ -d "$d" ] || mkdir -m 700 "$d" 2>/dev/null || [ -d "$d" ] || try mkdir -m 700 "$d"
    [ ! -L "$d" ] && of_root "$d" || fail "$d: ${why:-it is a link}" "see what it is, and move it away"
  done
  alone
  rm -rf "$record/.new" "$record/.old"
}
# One at a time, whichever controller sent it. The link's text names the process, which may have died or been followed by
# another of its number.
alone() {
  own="process $$ $(started $$)" tries=0
  while ! ln -s "$own" "$record/.lock" 2>/dev/null; do
    w=$(readlink "$record/.lock") p=${w#process } p=${p%% *}
    [ "$w" != "$own" ] || return 0
    [ $((tries += 1)) -le 20 ] || fail "another takeover is at work here (${w:-$record/.lock})" "run this again when it has ended"
    if [ "$w" ] && { ! kill -0 "$p" || [ "process $p $(started "$p")" != "$w" ]; } 2>/dev/null; then rm -f "$record/.lock"; else sleep 1; fi
  done
}
# process -> when it was started
started() {
  IFS= read -r l <"/proc/$1/stat" || return 0
  # shellcheck disable=SC2086 # fields: the 22nd, and the second may have blanks
  set -- ${l##*) }
  shift 19 && echo "$1"
} 2>/dev/null
release() { [ "$(readlink "$record/.lock" 2>/dev/null)" != "process $$ $(started $$)" ] || rm -f "$record/.lock"; }
# kind, path, where to: a record that is being written, to be ended by `enter`
draft() {
  rm -rf "$record/.new"
  try mkdir -m 700 "$record/.new"
  (umask 077; printf '%s\n%s\n%s\n' "$1" "$2" "$3" >"$record/.new/what") || fail "$record cannot be written" "free some space there"
}
enter() {
  n=1
  while [ -e "$record/$n" ]; do n=$((n + 1)); done
  flush "$record/.new"/what "$record/.new"
  try mv "$record/.new" "$record/$n"
  flush "$record"
  entry=$record/$n
}
# shellcheck disable=SC2010 # a number each
numbers() { ls "$record" 2>/dev/null | grep -x '[0-9][0-9]*' | sort -n "$@"; }
# number -> $entry, $kind, $path, $to
load() {
  entry=$record/$1
  { IFS= read -r kind && IFS= read -r path && IFS= read -r to; } <"$entry/what" 2>/dev/null
}
# kind, path -> $entry of a record whose change has not come
pending() {
  for n in $(numbers); do
    load "$n" && [ "$kind" = "$1" ] && [ "$path" = "$2" ] || continue
    case $kind in
    rename) [ ! -e "$to" ] || continue ;;
    edit) cmp -s "$entry/was" "$path" && cmp -s "$entry/is" "$record/.new/is" || continue ;;
    esac
    return 0
  done
  return 1
}
# Its change is taken back.
strike() { try mv "$entry" "$record/.old"; rm -rf "$record/.old"; }

# --- switching off ---

# line -> whether to do it: the dry run says it, and what is done then is what a person has read
agreed() {
  [ -z "$dry" ] || { say "would: $1"; return 1; }
  [ -z "$asked" ] && return
  case $nl$agreed$nl in *"$nl$1$nl"*) ;; *) left "$shown" "this was not in what was confirmed: run it again"; return 1 ;; esac
}
# client, $real -> whether it serves nothing else: hooks may copy its files, and servers may read them where they are
serves_us() {
  case $1 in
  acme.sh) hook=$(sed -nE "s/^(Le_(Deploy|Renew|Post)Hook)=['\"]?[^'\" ].*/\1/p" "$real" | head -n 1) ;;
  *)
    hook=$(sed -nE 's/^ *((deploy|renew|post)[-_]hook) *= *([^ N].*|N[^o].*)$/\1/p' "$real" | head -n 1)
    [ ! -f "$os/etc/letsencrypt/cli.ini" ] || [ "$hook" ] ||
      hook=$(sed -nE 's/^ *((deploy|renew|post)[-_]hook) *=.*/\1 in cli.ini/p' "$os/etc/letsencrypt/cli.ini" | head -n 1)
    set +f
    for p in "$os"/etc/letsencrypt/renewal-hooks/deploy/* "$os"/etc/letsencrypt/renewal-hooks/post/*; do
      set -f
      [ ! -x "$p" ] || hook=$p
    done
    set -f
    ;;
  esac
  [ -z "$hook" ] || { why="it has a hook that may serve others ($hook): read it, and end that renewal by hand"; return 1; }
  p=${real%/*}
  case $1 in
  acme.sh) apart=${p%/*} d=${p%/*} patterns=$p/$nl${d##*/}/${p##*/}/${nl}${shown%/*}/ ;;
  *) n=${real##*/} n=${n%.conf} apart=$os/etc/letsencrypt patterns=letsencrypt/live/$n/${nl}letsencrypt/archive/$n/ ;;
  esac
  unread "$apart" || { why="its files are still read: $why"; return 1; }
}

# client, file, our names
off() {
  shown=$2
  trusted "$os$2" || { left "$2" "$why"; return; }
  case $1 in
  lego) edit "$2" lego_of "$3"; return ;;
  acme.sh) suffix=.removed ;;
  *) suffix=.off ;;
  esac
  still_ours "$1" "$real" "$3" && serves_us "$1" || { left "$2" "$why"; return; }
  w=
  [ "$1" != acme.sh ] || ! grep -q "^Le_ReloadCmd=['\"]*[^'\"]" "$real" || w=', and its reload command ends with it'
  agreed "$1: $2 gets another name$w" || { away="$away$real "; return; }
  if ! pending rename "$real"; then
    to=$real$suffix
    # Of an earlier certificate.
    [ ! -e "$to" ] && [ ! -L "$to" ] || to=$real$suffix-by-certd
    [ ! -e "$to" ] && [ ! -L "$to" ] || { left "$2" "$to is there already"; return; }
    draft rename "$real" "$to"
    enter
  fi
  try mv "$real" "$to"
  flush "${to%/*}"
  say "off: $1: $2 is called ${to##*/} now"
}
# path, the function that knows a line, its argument: the lines that it knows become comments. One move, so that cron never
# reads half a file; beside the file in a folder that nobody else can have made, since not only root may write there.
edit() {
  # Alpine's folder in /var/spool is a link to that in /etc.
  case $edited in *"$nl$2 $real$nl"*) return ;; esac
  edited=$edited$2\ $real$nl
  shown=$1 of=$3 who=
  case $1 in */spool/* | */etc/crontabs/*) ;; *) who='[A-Za-z_][^[:space:]]*[[:space:]]+' ;; esac
  case $1 in */cron.d/* | */crontab | */crontabs/* | */spool/cron/*) ;; *) left "$shown" 'it is no table of cron'; return ;; esac
  # A shell loses some bytes.
  which=false
  # shellcheck disable=SC2094 # both read
  commented <"$real" | cmp -s - "$real" || { left "$shown" 'it is not only text, or its last line has no end'; return; }
  which=$2
  w=$(known <"$real")
  [ "$w" ] || [ -z "$dry" ] || { [ "$which" = acme_of ] || left "$shown" 'no line of it does nothing but start lego for our names'; return; }
  [ -z "$w" ] || agreed "$shown: what starts ${which%_of} becomes a comment, line$w" || return
  draft edit "$real" ''
  try cp -p "$real" "$record/.new/was"
  (umask 077; commented <"$real" >"$record/.new/is") || fail "$record cannot be written" "free some space there"
  cmp -s "$record/.new/is" "$record/.new/was" && {
    unstage "$real"
    [ "$which" = acme_of ] || left "$shown" 'no line of it does nothing but start lego for our names'
    return
  }
  if pending edit "$real"; then rm -rf "$record/.new"; else
    flush "$record/.new/was" "$record/.new/is"
    enter
  fi
  replace "$real" "$entry/is" "$entry/was"
  case $which in acme_of) w=acme.sh ;; *) w=lego ;; esac
  say "off: $w: a line of $shown is a comment now"
}
known() {
  n=0
  while IFS= read -r l || [ "$l" ]; do
    n=$((n + 1))
    ! $which "$l" || printf ' %s' "$n"
  done
}
commented() {
  while IFS= read -r l || [ "$l" ]; do
    ! $which "$l" || l=$mark$l
    printf '%s\n' "$l"
  done
}
# file, content, whose owner and mode it gets (and its time, where that is the content)
replace() {
  unstage "$1"
  try mkdir -m 700 "$stage"
  try cp -p "$3" "$stage/new"
  [ "$2" = "$3" ] || cat "$2" >"$stage/new" || fail "$1 cannot be written" "free some space there"
  flush "$stage/new"
  try mv -f "$stage/new" "$1"
  rmdir "$stage"
  ! command -v restorecon >/dev/null || restorecon "$1" 2>/dev/null
  flush "${1%/*}"
}
# What a run that died has left there.
unstage() {
  stage=${1%/*}/.certd-takeover
  [ -L "$stage" ] || [ ! -d "$stage" ] || ! of_root "$stage" || rm -rf "$stage"
}
# line, program -> whether it starts that, as its first word after the time, the user and variables, and does nothing else
starts() {
  # shellcheck disable=SC2016 # a pattern
  printf '%s\n' "$1" | tr '\t' ' ' | grep -qE "^(@[a-z]+|[0-9*][^ ]*( +[^ ]+){4}) +$(printf %s "$who" | sed 's/\[:space:\]/ /g')([A-Za-z_]+=[^ ;&|\`\$#]* +)*$2[^;&|\`\$#>]*(>[^;&|\`\$#]*( 2>&1)?)? *\$"
}
# A line that starts lego for our names alone.
lego_of() {
  starts "$1" '(/[^ ;&|`$#]*/)?lego ' || return
  all_among "$(printf '%s\n' "$1" | grep -oE -- '(-d|--domains)[ =]+[^ ]+' | sed -E "s/^(-d|--domains)[ =]+//; s/[\"',]/ /g" | tr '\n' ' ')" "$of"
}
# A line that starts acme.sh and nothing else, where something was taken out of acme.sh and nothing is left to renew.
acme_of() {
  starts "$1" '["'"'"'A-Za-z0-9/._~-]*/?acme\.sh["'"'"']? +--cron' || return
  # Where its certificates are cannot be told then.
  case $1 in *--cert-home* | *CERT_HOME=* | *LE_*=*) return 1 ;; esac
  homes=$(printf '%s\n' "$1" | sed -nE -e "s#.*--home[ =]+[\"']?([^\"' ]+).*#\1#p" -e t -e "s#.*[\"' ](/[^\"' ]*)[\"']?/acme\.sh.*#\1#p")
  homes="${homes:-$of} $(printf '%s\n' "$1" | sed -nE "s#.*--config-home[ =]+[\"']?([^\"' ]+).*#\1#p")"
  places=' '
  for h in $homes; do
    w=
    trusted "$os$h/account.conf" || { [ "$why" = 'it is no plain file' ] && [ ! -e "$os$h/account.conf" ] && roots_folder "$(cd -P "$os$h" && pwd -P)"; } || return
    [ ! -f "$os$h/account.conf" ] || w=$(sed -nE "s/^CERT_HOME=['\"]?([^'\"]+).*/\1/p" "$os$h/account.conf")
    for w in "$h" "$w"; do
      [ "$w" ] && w=$(cd -P "$os$w" 2>/dev/null && pwd -P) && places="$places$w "
    done
  done
  for h in $taken; do
    case $places in *" $h "*) ;; *) continue ;; esac
    # Another user could put a pipe where a file was.
    for w in $places; do roots_folder "$w" && ! renews "$w" || return 1; done
    return 0
  done
  return 1
}
# Whether acme.sh has something to renew there. Plain files alone: a pipe would be waited for.
renews() {
  set +f
  for p in "$1"/*/*.conf; do
    set -f
    case $away in *" $p "*) continue ;; esac
    [ -f "$p" ] && grep -qs '^Le_Domain=' "$p" && return
  done
  set -f
  return 1
}
# Where acme.sh has certificates, and something was taken out; each between blanks.
taken_places() {
  taken=' '
  for p in $away; do h=${p%/*} taken="$taken${h%/*} "; done
  for n in $(numbers); do
    load "$n" && [ "$kind" = rename ] && [ ! -e "$path" ] || continue
    case $to in *.removed*) h=${path%/*} taken="$taken${h%/*} " ;; esac
  done
}
switch_off() {
  away=' ' edited=$nl
  if [ "$dry" ]; then [ ! -e "$record" ] || begin; else begin; fi
  items
  taken_places
  set +f
  set -- "$os/etc/crontab" "$os"/etc/cron.d/* "$os/etc/crontabs/root"
  for f in crontabs/ tabs/ ''; do set -- "$@" "$os/var/spool/cron/${f}root"; done
  set -f
  for f; do
    f=${f#"$os"}
    [ -f "$os$f" ] && trusted "$os$f" && grep -qs '^[^#]*acme\.sh' "$real" || continue
    if grep -qE '^ *(CERT_HOME|LE_[A-Z_]+) *=' "$real"; then
      [ "$taken" = ' ' ] || left "$f" 'it sets where acme.sh has its certificates, so whether it still has some cannot be told'
      continue
    fi
    edit "$f" acme_of /root/.acme.sh
  done
  [ "$dry" ] || rm -rf "$record/.new"
}

# --- putting back ---

# The last first: one file may have been edited twice.
put_back() {
  [ -d "$record" ] || { say 'note: nothing is recorded here that was switched off'; return; }
  begin
  for n in $(numbers -r); do
    load "$n" || { left "$record/$n" 'its record cannot be read'; continue; }
    case $kind in rename) back_renamed ;; edit) back_edited ;; *) left "$record/$n" 'its record is of a later version' ;; esac
  done
  release
  rmdir "$record" "${record%/*}" 2>/dev/null
}
again="put it right by hand, and remove the record"
back_renamed() {
  if [ ! -e "$to" ] && [ ! -L "$to" ]; then
    # The rename never came, or somebody took it back.
    [ -e "$path" ] || { left "$path" "neither it nor $to is there any more: $again $entry"; return; }
  elif [ -e "$path" ] || [ -L "$path" ]; then left "$path" "it is there again, beside $to: $again $entry"; return
  elif ! trusted "$to"; then left "$to" "$why"; return
  else
    try mv "$to" "$path"
    flush "${path%/*}"
    say "back: $path"
  fi
  strike
}
back_edited() {
  unstage "$path"
  if ! cmp -s "$entry/was" "$path"; then
    trusted "$path" || { left "$path" "$why"; return; }
    cmp -s "$entry/is" "$path" || {
      left "$path" "it has changed since: take \"$mark\" off its line there, and remove the record $entry"
      return
    }
    replace "$path" "$entry/was" "$entry/was"
    say "back: $path"
  fi
  strike
}
list() {
  for n in $(numbers); do
    load "$n" || continue
    case $kind in rename) say "recorded: $to was called ${path##*/}" ;; edit) say "recorded: a line of $path is a comment" ;; esac
  done
}

main() {
  [ "$(id -u)" = 0 ] || fail "this is to be run by root" "log in as root, or as somebody who may use sudo without a password: --login USER@HOST"
  "$task"
  release
  say "done"
}
main </dev/null
