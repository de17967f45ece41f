#!/bin/sh
# certd's receiver: certificates for this node come in here over SSH. Whoever has the key of its account can run this
# program and nothing else, and it takes what the parameters beside it have, to the letter, whatever the other side says.
# Installed and updated by `certd node setup`, taken away by `certd node remove`. Root's, as its parameters are.

# --- before anything is read: nothing of the caller's, and bounds for what may come ---

set +a +e +x +v -f
umask 077
LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin
export LC_ALL PATH
unset ENV BASH_ENV CDPATH IFS
# A line without an end, or any number of lines, must not cost more memory than this (KiB) …
# shellcheck disable=SC3045 # every sh that there is has it; one that has not loses the bound
permit_room=$(ulimit -S -v)
# shellcheck disable=SC3045
ulimit -S -v 262144 2>/dev/null
# … nor more time than the controller itself would wait for an answer.
permit_age() {
  IFS= read -r permit_stat 2>/dev/null <"/proc/$1/stat"
  # shellcheck disable=SC2086 # fields
  set -- ${permit_stat##*) }
  echo "${20-}"
}
permit_born=$(permit_age $$)
(
  permit_naps=0
  while [ $((permit_naps += 1)) -le 20 ] && [ "$(permit_age $$)" = "$permit_born" ]; do sleep 5; done
  # Its number may be somebody else's by now.
  [ "$(permit_age $$)" != "$permit_born" ] || kill -9 $$
) </dev/null >/dev/null 2>&1 &
permit_guard=$!

# The other side sends its own program first, for nodes that have none. It is read and thrown away.
permit_size=0
while IFS= read -r permit_line || exit 9; do
  [ "$permit_line" != END ] || break
  [ $((permit_size += ${#permit_line} + 1)) -le 65536 ] || {
    echo "certd: more than 64 kB came where a program should end" >&2
    exit 9
  }
done

# --- what is permitted ---

permit_folder=@PARAMETERS@
permit_asked='' permit_names=' ' permit_said='' permit_wanted='' permit_had='' permit_older='' permit_look='' permit_sums=0

forbid() { refuse "permit $1"; }
# text, most digits
is_hex() {
  case $1 in '' | *[!0-9a-f]*) return 1 ;; esac
  [ ${#1} -le "$2" ]
}
# SHA-256, hex
is_digest() { [ ${#1} = 64 ] && is_hex "$1" 64; }
# Each kind of line once for a certificate, in the order in which they come.
permit_once() {
  [ "$permit_asked" ] || forbid "a line of a certificate came before its name"
  case " $permit_had" in *" $1 "*) forbid "$permit_asked: a line came twice: $1" ;; esac
  permit_had="$permit_had$1 "
}
# What this node's own file says of the certificate that was asked for.
permit_read() {
  permit_said='' permit_had='' permit_wanted='' permit_older='' permit_sums=0
  [ -f "$permit_folder/$permit_asked.conf" ] || forbid "this node has no parameters for the certificate $permit_asked"
  while IFS= read -r permit_line; do
    case $permit_line in
    '' | '#'*) ;;
    'allow older') permit_older=1 ;;
    # Who only looks has nothing to reload.
    'reload '*) [ "$permit_look" ] || permit_wanted=$permit_wanted$permit_line$nl ;;
    *) permit_wanted=$permit_wanted$permit_line$nl ;;
    esac
  done <"$permit_folder/$permit_asked.conf"
}
permit_finish() {
  [ "$permit_asked" ] || return 0
  [ "$permit_said" = "$permit_wanted" ] || forbid "$permit_asked: not all of the node's parameters for it were sent"
  case $permit_look$permit_had in
  1 | 'generation chain-pem key-pem ' | 'generation older chain-pem key-pem ') ;;
  *) forbid "$permit_asked: generation, chain and key are to be sent, in this order" ;;
  esac
}
# Every line, before it is understood: $l, and $v without its first word.
permit() {
  case $l in
  'nonce '*) [ "$nonce" = 0 ] && is_hex "$v" 64 || forbid "the nonce is none" ;;
  'certd '*)
    case $v in '' | *[!0-9]* | ?????*) v=0 ;; esac
    [ "$v" = "$certd" ] || refuse "version $certd $v"
    ;;
  'look yes') [ -z "$permit_asked$permit_look" ] && permit_look=1 || forbid "look comes before all names, once" ;;
  'name '*)
    permit_finish
    case $v in '' | [.-]* | *[!a-z0-9._-]*) forbid "this is the name of no certificate" ;; esac
    [ ${#v} -le 100 ] || forbid "this is the name of no certificate"
    case $permit_names in *" $v "*) forbid "$v is named twice" ;; esac
    permit_names="$permit_names$v " permit_asked=$v
    permit_read
    ;;
  'generation '*)
    permit_once generation
    case ${v%%-*} in [1-9]*) ;; *) forbid "$permit_asked: the generation is none" ;; esac
    case $v in *[!0-9a-f-]* | *-*-* | *-) forbid "$permit_asked: the generation is none" ;; *-*) ;; *) forbid "$permit_asked: the generation is none" ;; esac
    # A UTC second: YYYYMMDDhhmmss.
    case ${v%%-*} in *[!0-9]* | ???????????????*) v=none ;; ??????????????) ;; *) v=none ;; esac
    [ "$v" != none ] || forbid "$permit_asked: the number of the generation is none"
    is_hex "${v#*-}" 40 || forbid "$permit_asked: the generation is none"
    ;;
  'older yes')
    permit_once older
    [ "$permit_older" ] || forbid "$permit_asked: this node takes no older generation than it has"
    ;;
  'chain-pem '* | 'key-pem '*)
    permit_once "${l%% *}"
    is_digest "$v" || forbid "$permit_asked: a digest is none"
    ;;
  'sum '*)
    [ "$permit_asked" ] && is_digest "$v" && [ $((permit_sums += 1)) -le 4 ] || forbid "$permit_asked: a digest is none"
    ;;
  end)
    permit_finish
    [ "$permit_asked" ] || forbid "no certificate was named"
    # From here on the bounds are those of the program.
    { kill -9 "$permit_guard"; wait "$permit_guard"; } 2>/dev/null
    # shellcheck disable=SC3045
    ulimit -S -v "$permit_room" 2>/dev/null
    ;;
  *)
    [ "$permit_asked" ] || forbid "a line came before the name of a certificate"
    permit_said=$permit_said$l$nl
    case $permit_wanted in
    "$permit_said"*) ;;
    *) forbid "$permit_asked: this node's parameters do not have the line \"$(printf %.200s "$l")\" there" ;;
    esac
    ;;
  esac
}
