PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin LC_ALL=C
export PATH LC_ALL
umask 022
set -f
nl=$(printf '\n.') nl=${nl%.}

say() { printf 'certd-setup: %s\n' "$*"; }
# what is wrong, what to do next
fail() { say "failed: $1"; say "next: $2"; exit 1; }
try() { e=$("$@" 2>&1) || fail "$*: $e" "put that right, and run this again"; }

# account database, name -> the line
entry() {
  if command -v getent >/dev/null; then getent "$1" "$2"; else grep "^$2:" "/etc/$1"; fi
}
field() { entry "$1" "$account" | cut -d: -f"$2"; }
# What this session came through: $server, the configuration of an sshd that was not the usual, and the addresses of both
# ends as it sees them. Without a session, what is installed.
find_server() {
  p=$$ server='' connection=''
  while [ "${p:-0}" -gt 1 ]; do
    c=
    IFS= read -r c 2>/dev/null <"/proc/$p/comm"
    # The nearest: a container's is not the one of its host.
    case $server$c in
    dropbear*) server=${server:-dropbear} ;;
    tinysshd*) server=${server:-tinysshd} ;;
    sshd*) server=sshd ;;
    esac
    c=$(tr '\0' ' ' 2>/dev/null <"/proc/$p/cmdline")
    case $server:$c in
    sshd:*sshd*" -f "*) sshd_config=${c#* -f } sshd_config=${sshd_config%% *} ;;
    esac
    c=$(tr '\0' '\n' 2>/dev/null <"/proc/$p/environ" | sed -n 's/^SSH_CONNECTION=\([0-9A-Fa-f.: ]*\)$/\1/p')
    connection=${connection:-$c}
    p=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$p/status" 2>/dev/null)
  done
  for c in sshd dropbear tinysshd; do
    [ "$server" ] || ! command -v $c >/dev/null || server=$c
  done
}
# What that sshd would say to the account; nothing where it cannot be asked. `Match Address` asks where the controller comes
# from: that is where this session comes from, unless an address of it is given.
sshd_says() {
  [ "$server" = sshd ] && command -v sshd >/dev/null || return
  # shellcheck disable=SC2086 # fields: its address and port, ours
  set -- $connection
  a=${1:-192.0.2.1} l=${3:-192.0.2.2} p=${4:-22}
  case ${from:-any} in any) ;; *) set -- "${from%%,*}"; case $1 in */*) ;; *) a=$1 ;; esac ;; esac
  set -- -T -C "user=$account,host=$a,addr=$a,laddr=$l,lport=$p"
  [ -z "$sshd_config" ] || set -- "$@" -f "$sshd_config"
  sshd "$@" 2>/dev/null
}
# OpenSSH 10.4 and later write their words in mixed case.
sshd_word() { printf '%s\n' "$sshd_all" | grep -i "^$1 " | sed 's/^[^ ]* //'; }
# A place of AuthorizedKeysFile, sshd_config(5), as the account's
keys_at() {
  k=$(printf %s "$1" | sed "s|%h|$home|g; s|%u|$account|g; s|%U|$(field passwd 3)|g; s|%%|%|g")
  case $k in /*) ;; *) k=$home/$k ;; esac
  printf %s "$k"
}
# Where sshd looks for the account's keys first.
keys_file() {
  k=$(sshd_word authorizedkeysfile) k=${k%% *}
  keys_at "${k:-.ssh/authorized_keys}"
}
server='' connection='' sshd_config='' sshd_all=''
