# Removes folders of certd's whose certificate goes elsewhere or nowhere by now, and the links into them. A folder is first
# moved aside, and comes back where the server's own test misses it. Killed anywhere, it is finished by the next run.
end=.gone

# folder, paths that led into it -> whether it goes; $links into it
judge() {
  folder=$os${1%"$end"} base=$os${1%/.certd/*} name=${folder##*/} links=
  shift
  case $folder in */.certd/*/* | */.certd/ | */.certd/.*) why='it is no folder of a certificate'; return 1 ;; */.certd/*) ;; *) why='it is no folder of a certificate'; return 1 ;; esac
  [ "$base" != "$os" ] || { why='it is no folder of a certificate'; return 1; }
  real=$(cd -P "$base" 2>/dev/null && pwd -P) || { gone=1; return; }
  folder=$real/.certd/$name base=$real
  # The last run died.
  [ -e "$folder" ] || [ ! -d "$folder$end" ] || { roots_folder "$folder$end" && try mv "$folder$end" "$folder"; } || return
  set +f
  set -- "$@" "$base"/* "$base"/.[!.]*
  set -f
  for l; do
    case $l in "$base"/*) ;; *) l=$os$l ;; esac
    [ -L "$l" ] || continue
    case $(readlink "$l") in ".certd/$name/current/"* | *"/.certd/$name/current/"*) ;; *) continue ;; esac
    # Of this folder, and not of another with the same name. (Once it is gone, its links lead nowhere.)
    t=$(readlink "$l") t=${t%/current/*} p=${l%/*}
    case $t in /*) ;; *) t=$p/$t ;; esac
    t=$(cd -P "${t%/.certd/*}" 2>/dev/null && pwd -P) && [ "$t" = "$base" ] || continue
    case $nl$configured$nl in *"$nl${l#"$os"}$nl"*) why="$l leads into it, which the configuration has"; return 1 ;; esac
    case $nl$links in *"$nl$l$nl"*) ;; *) links=$links$l$nl ;; esac
  done
  [ -e "$folder" ] || [ -L "$folder" ] || { gone=1; [ -z "$links" ]; return; }
  [ ! -L "$folder" ] && [ -d "$folder" ] || { why='it is no folder'; return 1; }
  roots_folder "$folder" || return
  set +f
  for f in "$folder"/* "$folder"/.[!.]*; do
    set -f
    [ -e "$f" ] || [ -L "$f" ] || continue
    case ${f##*/} in
    current | previous | left | next | 0-found | [0-9]*-[0-9a-f]* | .new-*) ;;
    intent | found) why='a delivery there has not come to its end'; return 1 ;;
    *) why="it has ${f##*/}, which is not certd's"; return 1 ;;
    esac
  done
  set -f
  named
}
# A configuration that names it, or a link into it: as written, where it really is, or by its last two names.
named() {
  patterns=$folder/$nl.certd/$name/
  IFS=$nl
  for l in $links; do
    p=${l%/*}
    patterns=$patterns$nl$l$nl${p##*/}/${l##*/}
    p=$(cd -P "$p" && pwd -P) && patterns=$patterns$nl$p/${l##*/}$nl${p##*/}/${l##*/}
  done
  unset IFS
  unread "$params" || { why="$why; if no server reads that: rm -r $folder"; return 1; }
}
show_links() {
  IFS=$nl
  for l in $links; do say "  link $l"; done
  unset IFS
}
show() {
  gone=
  judge "$@" || { left "$1" "$why"; return; }
  [ ! -e "$folder" ] && [ -z "$links" ] && { say "gone: $1"; return; }
  say "goes: $1"
  [ ! -d "$folder/0-found" ] || say "  with the files that were there before certd: $folder/0-found"
  show_links
}
passes() { out=$(works </dev/null 2>&1); }
clean() {
  gone=
  judge "$@" || { left "$1" "$why"; return; }
  if [ -e "$folder" ]; then
    [ "$tested" ] || { left "$1" "no server's test is configured there any more, which could miss it; if none reads it: rm -r $folder"; return; }
    passes || { left "$1" "the server's test fails already, and cannot tell whether it misses that: $(printf %s "$out" | tail -n 1)"; return; }
    trap 'mv "$folder$end" "$folder" 2>/dev/null; exit 1' HUP INT TERM
    rm -rf "$folder$end"
    try mv "$folder" "$folder$end"
    passes || {
      try mv "$folder$end" "$folder"
      trap - HUP INT TERM
      left "$1" "the server's test misses it: $(printf %s "$out" | tail -n 1)"
      return
    }
    trap - HUP INT TERM
  fi
  IFS=$nl
  for l in $links; do
    unset IFS
    p=${l%/*}
    if [ "$(cd -P "$p" && pwd -P)" = "$p" ] && roots_folder "$p"; then try rm -f "$l"; else left "$l" "${why:-its folder is a link}: rm $l"; fi
  done
  unset IFS
  rm -rf "$folder$end"
  set +f
  for p in "$base"/.certd/*; do
    set -f
    # Another certificate is there.
    [ ! -e "$p" ] || p=
    break
  done
  set -f
  [ -z "$p" ] || { rm -f "$base/.certd/.lock"; rmdir "$base/.certd" 2>/dev/null; }
  say "removed: $1"
}
# What a receiver may deliver, this controller has delivered, and its configuration has no more.
receiver() {
  set +f
  for p in "$params"/*.conf; do
    set -f
    [ "$params" ] && [ -f "$p" ] || continue
    n=${p##*/} n=${n%.conf}
    case " $delivered " in *" $n "*) ;; *) continue ;; esac
    if [ "$task" = show ]; then say "goes: $p"; continue; fi
    trusted "$p" || { left "$p" "$why"; continue; }
    try rm -f "$real"
    say "removed: $p"
  done
  set -f
}
main() {
  [ "$(id -u)" = 0 ] || fail "this is to be run by root" "log in as root, or as somebody who may use sudo without a password: --login USER@HOST"
  items
  receiver
  say "done"
}
main </dev/null
