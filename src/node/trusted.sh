# Shared by the scripts that an administrator's login runs beside setting up a receiver.

left() { say "left: $1: $2"; }
flush() { sync "$@" 2>/dev/null || sync; }

# --- what root may touch: nothing that anybody else could swap at that moment ---

# path -> $real, its file where links of its folders lead; $why: why it is not to be touched
trusted() {
  why='' real=$(cd -P "${1%/*}/" 2>/dev/null && pwd -P) || { why='its folder is not there'; return 1; }
  real=${real%/}/${1##*/}
  [ ! -L "$real" ] && [ -f "$real" ] || { why='it is no plain file'; return 1; }
  of_root "$real" && roots_folder "${real%/*}"
}
# Of a folder whose path has no links, and of each above it.
roots_folder() {
  d=$1/.
  while d=${d%/*}; of_root "${d:-/}" above; do [ "$d" ] || return 0; done
  return 1
}
# In a folder with a sticky bit, nobody renames what is root's. An ACL that lets others write shows in the group's bits.
of_root() {
  # shellcheck disable=SC2046 # fields: mode, links, owner
  set -- "$1" "${2-}" $(ls -ldn "$1" 2>/dev/null)
  [ "${5-}" = 0 ] || { why="$1 belongs to user ${5-}"; return 1; }
  case $2$3 in
  above?????????[tT]*) ;;
  *?????w???? | *?????w????[.+@] | *????????w? | *????????w?[.+@]) why="others may write in $1"; return 1 ;;
  esac
}

# --- what still reads something ---

# $patterns, a line each; a folder whose files do not count -> whether no configuration names one of them beside what is
# $configured. Comments count: whoever wrote them can tell. A search that did not come to its end is none.
unread() {
  apart=${1:-/.certd}
  set -- -RIlF -e "$patterns"
  # Where links are followed, devices would be read.
  grep -D skip -q x /dev/null 2>/dev/null
  [ $? != 1 ] || set -- -D skip "$@"
  [ -d "$os/etc" ] || { why="there is no /etc to search for what reads it"; return 1; }
  set +f
  for p in "$os"/etc "$os"/usr/local/etc "$os"/usr/local/*/conf "$os"/usr/local/*/etc "$os"/opt/*/conf "$os"/opt/*/etc \
    "$os"/opt/*/*compose*.y*ml "$os"/srv/*/*compose*.y*ml "$os"/srv/*compose*.y*ml "$os"/root/*/*compose*.y*ml "$os"/root/*compose*.y*ml; do
    set -f
    [ ! -d "$p" ] && [ ! -f "$p" ] || set -- "$@" "$p"
  done
  set -f
  found=$(timeout 30 grep "$@" </dev/null 2>&1)
  code=$?
  case $code:$found in 0:?* | 1: | 2:?*) ;; *) why="the search for configurations that name it did not come to its end (grep: $code)"; return 1 ;; esac
  IFS=$nl
  for f in $found; do
    unset IFS
    case $f in
    # What a receiver may write to, which reads nothing.
    */.certd/* | "$apart"/* | "$os"/etc/*-receiver/*.conf) ;;
    /*) ! mentions "$f" || { why="$f names it"; return 1; } ;;
    # A link that leads nowhere, or to a folder above it.
    *': No such file or directory' | *': Too many levels of symbolic links' | *': Symbolic link loop' | *'recursive directory loop') ;;
    *) why="the search for configurations that name it did not come to its end: $f"; return 1 ;;
    esac
  done
  unset IFS
}
# file -> whether it names it beside what is configured
mentions() {
  IFS=$nl
  # shellcheck disable=SC2013 # lines, by IFS
  for l in $(grep -hF -e "$patterns" "$1" </dev/null 2>/dev/null); do
    for p in $configured; do
      while case $l in *"$p"*) ;; *) false ;; esac; do l="${l%%"$p"*} ${l#*"$p"}"; done
    done
    for p in $patterns; do case $l in *"$p"*) unset IFS; return 0 ;; esac; done
  done
  unset IFS
  return 1
}
timeout 5 true 2>/dev/null || timeout() { shift; "$@"; }
