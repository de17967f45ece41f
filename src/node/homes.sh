# Prints the files of acme.sh's homes, a mark before each line, and changes nothing. `home` is set before: the home to
# read; empty: those that root and the login have, and those that their cron lines name.
LC_ALL=C
export LC_ALL
count=0
seen=

nl='
'

# A name with a line's end would be a line of its own.
say() {
  case $* in *"$nl"*) set -- "skip name ?" ;; esac
  printf 'certd-read: %s\n' "$*"
}

# put FILE NAME: the file, under its name within the home.
put() {
  case $2 in *[!A-Za-z0-9/._*@:-]*)
    say "skip name $2"
    return 0
    ;;
  esac
  [ -e "$1" ] || [ -h "$1" ] || return 0
  count=$((count + 1))
  if [ "$count" -gt 2500 ]; then
    [ "$count" -gt 2501 ] || say "skip many $2"
  elif [ -h "$1" ]; then
    say "skip link $2"
  elif [ ! -f "$1" ]; then
    say "skip special $2"
  elif [ "$(($(wc -c <"$1")))" -gt 65536 ]; then
    say "skip long $2"
  else
    say "file $2"
    head -c 65536 "$1" | sed 's/^/certd-read:=/'
    echo
    say end
  fi
}

# real FOLDER NAME: whether no link leads there. Root reads what is in the home alone.
real() {
  where=$(cd "$1" 2>/dev/null && pwd -P)
  [ "$where" = "$1" ] || {
    say "skip link $2"
    return 1
  }
}

# owner FOLDER: sets owner, a number.
owner() {
  # shellcheck disable=SC2012 # numbers alone are looked at
  owner=$(ls -ldn "$1" | { read -r _ _ owner _ && printf '%s' "$owner"; })
}

# certificates FOLDER [PREFIX]
certificates() {
  for folder in "$1"/*/; do
    folder=${folder%/}
    name=${folder##*/}
    stem=${name%_ecc}
    [ -f "$folder/$stem.conf" ] || continue
    case $name in *[!A-Za-z0-9._*@-]*)
      say "skip name $name"
      continue
      ;;
    esac
    real "$folder" "$2$name" || continue
    for file in "$stem.conf" "$stem.key" fullchain.cer; do put "$folder/$file" "$2$name/$file"; done
  done
}

read_home() {
  if [ ! -f "$1/account.conf" ] && [ ! -d "$1/ca" ]; then return 0; fi
  # The same folder by two names is one home.
  real=$(cd "$1" && pwd -P) || return 0
  case $real in *"$nl"*) return 0 ;; esac
  case "$seen" in *":$real:"*) return 0 ;; esac
  seen="$seen:$real:"
  say "home $real"
  owner "$real"
  of_home=$owner
  # Whoever may become root by sudo is trusted as root is.
  case $owner in 0 | "${SUDO_UID:-$(id -u)}") say "owner trusted" ;; esac
  put "$real/account.conf" account.conf
  for file in "$real"/ca/*/account.key "$real"/ca/*/*/account.key "$real"/ca/*/*/*/account.key \
    "$real"/ca/*/*/*/*/account.key; do
    [ -f "$file" ] || continue
    folder=${file%/account.key}
    real "$folder" "${folder#"$real"/}" || continue
    for part in account.key ca.conf account.json; do put "$folder/$part" "${folder#"$real"/}/$part"; done
  done
  certificates "$real"
  other=
  [ ! -f "$real/account.conf" ] || other=$(sed -n "s/^CERT_HOME='\(\/[^']*\)'.*/\1/p" "$real/account.conf" | tail -n 1)
  [ -z "$other" ] || other=$(cd "$other" 2>/dev/null && pwd -P)
  if [ "$other" ] && [ "$other" != "$real" ]; then
    owner "$other"
    if [ "$owner" = "$of_home" ]; then
      certificates "$other" "@$other/"
    else
      say "skip owner @$other"
    fi
  fi
}

# of_cron [-u USER]
of_cron() {
  crontab "$@" -l 2>/dev/null | sed -n "/acme\.sh/s/.*--\(config-\)\{0,1\}home[ =]*[\"']\{0,1\}\([^\"' ]*\).*/\2/p"
}

if [ "$home" ]; then
  read_home "$home"
else
  own=
  if [ "$SUDO_USER" ]; then
    while IFS=: read -r user _ _ _ _ folder _; do
      [ "$user" != "$SUDO_USER" ] || own=$folder
    done </etc/passwd
  fi
  for folder in "$HOME" /root "$own"; do
    [ -z "$folder" ] || read_home "$folder/.acme.sh"
  done
  of_root=$(of_cron)
  of_login=
  [ -z "$SUDO_USER" ] || of_login=$(of_cron -u "$SUDO_USER")
  for folder in $of_root $of_login; do read_home "$folder"; done
fi
say "done"
