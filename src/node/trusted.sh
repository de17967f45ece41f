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
