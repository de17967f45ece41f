#!/bin/sh
# certd's receiver: takes certificates for this node over SSH. The key of its account can run this program and nothing
# else, and the program accepts only what the parameters beside it permit, to the letter.
# Installed and updated by `certd node setup`, removed by `certd node remove`. Owned by root, like its parameters.

# --- before anything is read: a clean environment, and bounds on the input ---

set +a +e +x +v -f
umask 077
LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin
export LC_ALL PATH
unset ENV BASH_ENV CDPATH IFS OPENSSL_CONF OPENSSL_MODULES OPENSSL_ENGINES SSL_CERT_FILE SSL_CERT_DIR permit_key ahead
# Memory (KiB) for an endless line or for endless lines …
# shellcheck disable=SC3045 # every sh that there is has it; one that has not loses the bound
permit_room=$(ulimit -S -v)
# shellcheck disable=SC3045
ulimit -S -v 262144 2>/dev/null
# … and time: no longer than the controller waits for an answer.
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
  # The number may belong to another process by now.
  [ "$(permit_age $$)" != "$permit_born" ] || kill -9 $$
) </dev/null >/dev/null 2>&1 &
permit_guard=$!

# The controller sends its own program first, for nodes without a receiver. It is read and discarded.
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
permit_asked='' permit_names=' ' permit_said='' permit_wanted='' permit_had='' permit_look='' permit_sums=0
permit_older='' permit_judges='' permit_rehearsal='' permit_now='' permit_dns='' permit_trust=''
# What the administrator chose when this was set up.
while IFS= read -r permit_line; do
  case $permit_line in
  'older yes') permit_older=1 ;;
  'judges '*) permit_judges=${permit_line#judges } ;;
  esac
done 2>/dev/null <"$permit_folder/options"

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
# The node's own parameters of this certificate.
permit_read() {
  [ "$permit_judges" ] || forbid "$permit_folder/options is missing: this node is to be set up again"
  permit_said='' permit_had='' permit_wanted='' permit_sums=0 permit_dns='' permit_trust=''
  [ -f "$permit_folder/$permit_asked.conf" ] || forbid "this node has no parameters for the certificate $permit_asked"
  while IFS= read -r permit_line; do
    case $permit_line in
    '' | '#'*) ;;
    'names '*) permit_dns=${permit_line#names } ;;
    'trust '*) permit_trust="$permit_trust${permit_line#trust } " ;;
    # A look reloads nothing.
    'reload '*) [ "$permit_look" ] || permit_wanted=$permit_wanted$permit_line$nl ;;
    *) permit_wanted=$permit_wanted$permit_line$nl ;;
    esac
  done <"$permit_folder/$permit_asked.conf"
}
permit_finish() {
  [ "$permit_asked" ] || return 0
  [ "$permit_said" = "$permit_wanted" ] || forbid "$permit_asked: not all of the node's parameters for it were sent"
  case $permit_look$permit_had in
  1) ;;
  'generation chain-pem key-pem ' | 'generation older chain-pem key-pem ') [ "$permit_judges" = no ] || permit_pair ;;
  *) forbid "$permit_asked: generation, chain and key are to be sent, in this order" ;;
  esac
}

# --- the node's own judgement: by its clock, its roots, and the names in its parameters ---

# The number of a generation is the UTC second in which it was issued. One in the future would block all later ones.
permit_clock() {
  [ "$permit_now" ] || permit_now=$(date -u +%Y%m%d%H%M%S)
  # A clock that was reset would refuse everything, or accept anything.
  [ ${#permit_now} = 14 ] && [ "${permit_now%??????????}" -ge 2026 ] 2>/dev/null ||
    forbid "$permit_asked: this node's clock says $permit_now (UTC), which cannot be; by it nothing can be judged"
  [ ${#1} = 14 ] || return 0
  permit_days "$permit_now"
  permit_today=$permit_days
  permit_days "$1"
  # A digit before the time of day, whose zeros would make it octal.
  [ $((permit_days - permit_today)) -le 1 ] &&
    { [ $((permit_days - permit_today)) -le 0 ] || [ "1${1#????????}" -le "1${permit_now#????????}" ]; } ||
    forbid "$permit_asked: the generation $1 lies more than a day ahead of this node's clock ($permit_now, UTC)"
  # Day or month 00 would count as the one before, and compare greater than its real dates.
  case ${1#????} in 00* | ??00*) forbid "$permit_asked: the generation $1 is no day of the calendar" ;; esac
}
# YYYYMMDD… -> days since a day long ago, in $permit_days; the year begins in March, so that leap days are its last
permit_days() {
  permit_year=${1%??????????} permit_month=${1#????} permit_day=${1#??????}
  permit_month=$((1${permit_month%????????} - 100)) permit_day=$((1${permit_day%??????} - 100))
  [ "$permit_month" -gt 2 ] || permit_year=$((permit_year - 1)) permit_month=$((permit_month + 12))
  permit_days=$((365 * permit_year + permit_year / 4 - permit_year / 100 + permit_year / 400 + (153 * permit_month - 457) / 5 + permit_day))
}
# Judges chain and key before anything is written. Both go through pipes: the key is in no argument, environment or file.
permit_pair() {
  command -v openssl >/dev/null || forbid "$permit_asked: openssl is gone from this node, and without it no certificate can be judged"
  permit_chain='' permit_key=''
  eval "permit_chain=\$chain$index permit_key=\$key$index"
  permit_blocks
  case $permit_key in *-----BEGIN*-----BEGIN*) forbid "$permit_asked: more than a key came as the key" ;; esac
  # A rehearsal comes with a certificate that the controller signed for itself, and ends before anything is changed.
  [ "$permit_rehearsal" ] || permit_trusted
  permit_out=$(printf %s "$permit_chain" | openssl x509 -noout -pubkey -ext subjectAltName 2>/dev/null)
  permit_line=${permit_out#*-----END PUBLIC KEY-----"$nl"}
  permit_out=${permit_out%%-----END PUBLIC KEY-----*}
  permit_named
  # The public half that stands in a key may be anybody's: only the check of it proves that the private half is there. Numbers
  # made to be slow end after seconds.
  # shellcheck disable=SC3045
  [ "Key is valid$nl$permit_out-----END PUBLIC KEY-----" = "$(
    ulimit -t 10 2>/dev/null
    printf %s "$permit_key" | openssl pkey -passin pass: -check -pubout 2>/dev/null
  )" ] || forbid "$permit_asked: the key is not that of the certificate"
  unset permit_chain permit_key
}
# Certificates alone: a server must find the same ones in the chain as openssl does here.
permit_blocks() {
  permit_in=0 IFS=$nl
  # shellcheck disable=SC2086 # lines
  set -- $permit_chain
  unset IFS
  for permit_line; do
    case $permit_in$permit_line in
    [02]'-----BEGIN CERTIFICATE-----') permit_in=1 ;;
    '1-----END CERTIFICATE-----') permit_in=2 ;;
    1*[!0-9A-Za-z+/=]* | [02]*) permit_in=3; break ;;
    esac
  done
  [ "$permit_in" = 2 ] || forbid "$permit_asked: the chain is not made of certificates alone"
}
permit_trusted() {
  permit_out='nothing is trusted here'
  for permit_line in $permit_trust; do
    case $permit_line in
    system) permit_verify && return ;;
    # Only the configured roots, which are trusted even where they are intermediates.
    own) permit_verify -partial_chain -CAfile "$permit_folder/roots" && return ;;
    esac
  done
  case $permit_out in
  *'error 9 at '*) forbid "$permit_asked: the certificate is not valid yet by this node's clock ($permit_now, UTC)" ;;
  *'error 10 at '*) forbid "$permit_asked: the certificate has expired by this node's clock ($permit_now, UTC)" ;;
  esac
  permit_out=${permit_out#*lookup:}
  permit_out=${permit_out%%"$nl"*}
  forbid "$permit_asked: the chain leads to no root that this node trusts (${permit_out# })"
}
# roots, else the system's -> whether the chain holds now, from the leaf to a root; else openssl's words are in $permit_out
permit_verify() {
  permit_out=$(printf %s "$permit_chain" | {
    [ $# = 0 ] || { SSL_CERT_DIR=/nonexistent; export SSL_CERT_DIR; }
    printf %s "$permit_chain" | openssl verify -purpose sslserver "$@" -untrusted /proc/self/fd/8
  } 8<&0 2>&1) && [ "${permit_out##*"$nl"}" = 'stdin: OK' ]
}
# The leaf must hold exactly the names in the parameters.
permit_named() {
  case $permit_line in
  'X509v3 Subject Alternative Name:'*"$nl"*) permit_line=${permit_line#*"$nl"} ;;
  *) forbid "$permit_asked: the certificate cannot be read, or has no names" ;;
  esac
  permit_of=' ' IFS=", $nl"
  # shellcheck disable=SC2086 # words
  set -- $permit_line
  unset IFS
  for permit_word; do
    case $permit_word in
    DNS:*[A-Z]*) permit_word=$(printf %s "${permit_word#DNS:}" | tr '[:upper:]' '[:lower:]') ;;
    DNS:*) permit_word=${permit_word#DNS:} ;;
    *) forbid "$permit_asked: the certificate is for something else than DNS names ($permit_word)" ;;
    esac
    case " $permit_dns " in *" $permit_word "*) ;; *) forbid "$permit_asked: the certificate is for $permit_word, which this node's parameters do not name" ;; esac
    permit_of="$permit_of$permit_word "
  done
  for permit_word in $permit_dns; do
    case $permit_of in *" $permit_word "*) ;; *) forbid "$permit_asked: the certificate is not for $permit_word" ;; esac
  done
}
# For a look: digests of program and parameters, and whether certificates are judged.
permit_tell() {
  set +f
  permit_out=$(sum <@PROGRAM@)
  permit_line=$(cat "$permit_folder"/*.conf "$permit_folder/roots" 2>/dev/null | sum)
  set -f
  body="${body}receiver ${permit_out%% *} ${permit_line%% *} $permit_judges$nl"
}

# --- the lines ---

# Checks every line before it is parsed: $line, and $value without its first word.
permit() {
  case $line in
  'nonce '*) [ "$nonce" = 0 ] && is_hex "$value" 64 || forbid "the nonce is none" ;;
  'certd '*)
    case $value in '' | *[!0-9]* | ?????*) value=0 ;; esac
    [ "$value" = "$certd" ] || refuse "version $certd $value"
    ;;
  'look yes' | 'rehearsal yes')
    [ -z "$permit_asked$permit_look$permit_rehearsal" ] || forbid "${line% yes} comes before all names, once"
    case $line in look*) permit_look=1 ;; *) permit_rehearsal=1 ;; esac
    ;;
  'name '*)
    permit_finish
    case $value in '' | [.-]* | *[!a-z0-9._-]*) forbid "this is the name of no certificate" ;; esac
    [ ${#value} -le 100 ] || forbid "this is the name of no certificate"
    case $permit_names in *" $value "*) forbid "$value is named twice" ;; esac
    permit_names="$permit_names$value " permit_asked=$value
    permit_read
    ;;
  'generation '*)
    permit_once generation
    case ${value%%-*} in [1-9]*) ;; *) forbid "$permit_asked: the generation is none" ;; esac
    case $value in *[!0-9a-f-]* | *-*-* | *-) forbid "$permit_asked: the generation is none" ;; *-*) ;; *) forbid "$permit_asked: the generation is none" ;; esac
    # A UTC second: YYYYMMDDhhmmss.
    case ${value%%-*} in *[!0-9]* | ???????????????*) value=none ;; ??????????????) ;; *) value=none ;; esac
    [ "$value" != none ] || forbid "$permit_asked: the number of the generation is none"
    is_hex "${value#*-}" 40 || forbid "$permit_asked: the generation is none"
    permit_clock "${value%%-*}"
    ;;
  'older yes')
    permit_once older
    [ "$permit_older" ] || forbid "$permit_asked: this node takes no older generation than it has"
    ;;
  'chain-pem '* | 'key-pem '*)
    permit_once "${line%% *}"
    is_digest "$value" || forbid "$permit_asked: a digest is none"
    ;;
  'sum '*)
    [ "$permit_asked" ] && is_digest "$value" && [ $((permit_sums += 1)) -le 7 ] || forbid "$permit_asked: a digest is none"
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
    permit_said=$permit_said$line$nl
    case $permit_wanted in
    "$permit_said"*) ;;
    *) forbid "$permit_asked: this node's parameters do not have the line \"$(printf %.200s "$line")\" there" ;;
    esac
    ;;
  esac
}
