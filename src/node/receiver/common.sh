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
# The configuration of the sshd that this session came through, or of the one that the system starts.
find_sshd() {
  command -v sshd >/dev/null || return
  p=$$
  while [ "${p:-0}" -gt 1 ]; do
    c=$(tr '\0' ' ' 2>/dev/null <"/proc/$p/cmdline")
    case $c in
    *sshd*" -f "*) sshd_config=${c#* -f } sshd_config=${sshd_config%% *} ;;
    esac
    p=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$p/status" 2>/dev/null)
  done
}
# What that sshd would say to the account; nothing where it cannot be asked.
sshd_says() {
  command -v sshd >/dev/null || return
  set -- -T -C "user=$account,host=controller.invalid,addr=192.0.2.1,laddr=192.0.2.2,lport=22"
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
sshd_config='' sshd_all=''
