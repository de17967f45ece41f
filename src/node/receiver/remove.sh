main() {
  [ "$(id -u)" = 0 ] || fail "this is to be run by root" "log in as root, or as somebody who may use sudo without a password: --login USER@HOST"
  found=
  for p in "$rule" "$program" "$params"; do [ ! -e "$p" ] || found=1; done
  [ "$found" ] || { say "nothing is there of the account $account"; say "done"; exit; }

  # The key first: from here on nobody comes in.
  if [ -f "$params/keys" ] && IFS= read -r k <"$params/keys"; then
    try rm -f "$k"
    say "key: removed, $k"
  fi
  try rm -f "$rule"
  say "sudo: the rule is removed"
  try rm -f "$program"
  rmdir "$(dirname "$program")" 2>/dev/null
  if [ -f "$params/made" ] && entry passwd "$account" >/dev/null; then
    if command -v userdel >/dev/null; then
      # A session that is still open keeps nothing: what it could start is gone.
      e=$(userdel "$account" 2>&1) || e=$(userdel -f "$account" 2>&1) || fail "userdel $account: $e" "end its processes, and run this again"
    else
      try deluser "$account"
      delgroup "$account" 2>/dev/null
    fi
    case $home in /var/lib/*-receiver) try rm -rf "$home" ;; esac
    say "account $account: removed"
  else
    say "account $account: left, since certd node setup did not make it"
  fi
  case $params in /etc/*-receiver) try rm -rf "$params" ;; esac
  say "program and parameters: removed"
  say "certificates: left where they are, and served"
  say "done"
}
main </dev/null
