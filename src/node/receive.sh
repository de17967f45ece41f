certd=3
# The node program. It reads certificates from stdin and stages them beside the installed ones; on "commit" it switches,
# tests and reloads, or leaves everything as it was. A look only reads. Any POSIX sh runs it (dash, busybox ash, bash).
# One file, since it travels as one: without comments and indentation, and with every name that has an underscore
# shortened, so each such word must be a variable or a function of this program. The first line is the protocol's version.
#
# Invariants, after every line and through kill -9:
#   - Resolved at one instant, the paths are of one pair: content changes by one rename(2) of $own_dir/current. (Not in
#     place: files that cannot be replaced, such as one mounted into a container, are overwritten one after the other.)
#   - A key is in no argv, no environment, no here-document, and in no file that was ever wider than it should be.
#   - Before "commit" nothing that a server reads has changed; the end of stdin means "abort".
#   - If the first contact fails or dies anywhere, the files that were found come back, with their inodes: a link is laid
#     only after the intent records what it replaces.
#   - A look writes nothing beside the certificates, changes nothing, and waits for no lock.
#
# $own_dir = folder of the full chain + /.certd/NAME:
#   current    -> the folder in use; all files are links through it (in place: copies of its files)
#   previous   -> the folder in use before
#   intent        "from", "to", and what each path held where links are laid: exists only while a switch is unproven
#   found         the same, proven by this program and not yet by the controller; until then the original files are beside
#                 their paths, as .NAME.certd-found
#   left          other folders of certd to which the paths led, and that may still be read
#   0-found       copies of the files from before certd
#   */keystore    of a PKCS#12 file: its digest, and that of what it was made of
#   .new-PID-*    staged by a running program, rubbish when PID is gone
set +a +e +x +v -f
umask 077
# shellcheck disable=SC3045 # every known sh has it; without it nothing is lost
ulimit -c 0
LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin
export LC_ALL PATH
# A variable that the login exports stays exported: under one of these names it would carry a value to every child.
unset ENV BASH_ENV CDPATH IFS QUOTING_STYLE TIME_STYLE line pem_text value field count index command_words exit_status failed_path out nonce
unset made limit length tool_words
nl=$(printf '\n.') nl=${nl%.} two_bytes=$(printf '\303\251')
count=0 index=0 nonce=0 made='' locks='' narrowed='' watchdog_pid='' timeout='' our_uid=''
look='' os='' rehearsal='' in_change='' tested='' dirs='' dir_lines='' file_lines='' all_digests='' made_mode=''
torn_words='what was there before is not put back: a certificate with the key of another'
lock_wait=30 test_time=30 reload_time=30 idle=600 nap=10

# --- answers ---

# verb, body, whose length is in bytes
answer() {
  length=${#2}
  [ ${#two_bytes} = 2 ] || length=$(($(printf %s "$2" | wc -c)))
  printf 'certd-node %s %s %s\n%s' "$nonce" "$1" "$length" "$2"
}
# Status 20: the answer has been given, nothing is left to do.
refuse() { answer refused "$1"; exit 20; }
refuse_path() {
  # In the middle of a change: undo it first. A failure of the undo is the graver one, and is answered instead.
  [ -z "$in_change" ] || { in_change=; undo; each forget; }
  refuse "path $1$nl${2##*: }"
}
# path, command: a failure is answered with the path and the system's own words
try() { failed_path=$1; shift; tool_words=$("$@" 2>&1) || refuse_path "$failed_path" "$tool_words"; }

# --- certificates, numbered from 1: each keeps its variables under its number ---

all='name new_gen older in_place fullchain_path key_path chain_path combined_path want_owner want_group want_mode'
all="$all cert_der_path key_der_path pkcs12_path password_file legacy want_key_mode reader chain_first test_commands reload_commands sums base state from to was all_kinds lays rights"
# shellcheck disable=SC2154 # receive sets them
load() {
  for field in $all; do eval "$field=\${$field$index-}"; done
  paths=$fullchain_path$nl$key_path$nl$chain_path$nl$combined_path$nl$cert_der_path$nl$key_der_path$nl$pkcs12_path
  base_dir=${fullchain_path%/*}
  own_dir=$base_dir/.certd/$name
  stage_dir=$own_dir/.new-$$-$nonce ready_link=$stage_dir.l/.new-$$-$nonce current_link=$own_dir/current intent_file=$own_dir/intent
}
save() { for field; do eval "$field$index=\$$field"; done; }
each() { index=0; while [ "$index" -lt "$count" ]; do index=$((index + 1)); load; "$@" || return; done; }
stays_same() { [ "$base" = unchanged ]; }
# shellcheck disable=SC3013 # dash, ash and bash have it
points_to() {
  [ -L "$current_link" ] || return
  if [ -e "$current_link" ]; then [ "$current_link" -ef "$own_dir/$1" ]; else [ "$(readlink "$current_link")" = "$1" ]; fi
}
# Each file of a certificate: $file_path in $file_dir, $file_role, $file_name (in a generation), and $link_to, the link there.
files() {
  for file_role in fullchain privkey chain combined $form_roles; do
    case $file_role in
    fullchain) file_path=$fullchain_path ;;
    privkey) file_path=$key_path ;;
    chain) file_path=$chain_path ;;
    combined) file_path=$combined_path ;;
    *) form_path ;;
    esac
    [ "$file_path" ] || continue
    named "$file_role"
    file_dir=${file_path%/*}/ link_to=.certd/$name/current/$file_name
    [ "$file_dir" = "$base_dir/" ] || relative_link
    "$@" || return
  done
}
named() { case $1 in *.*) file_name=$1 ;; *) file_name=$1.pem ;; esac; }
# Where a certificate has further forms, src/node/forms.sh replaces these.
form_roles=''
# shellcheck disable=SC2317
form_line() { false; }
# shellcheck disable=SC2317
check_form() { :; }
# shellcheck disable=SC2317
identify() { :; }
# Links are relative, between the real folders of the file and the chain: a tree stays whole when it is moved, copied, or
# mounted into a container under another path.
relative_link() {
  resolve_dir "${file_dir%/}"; common_dir=$real_path way_up=
  resolve_dir "$base_dir"
  until case $real_path/ in "$common_dir"/*) ;; *) false ;; esac; do common_dir=${common_dir%/*} way_up=../$way_up; done
  real_path=${real_path#"$common_dir"} real_path=${real_path#/}
  link_to=$way_up${real_path:+$real_path/}$link_to
}
# folder -> $real_path; of a missing folder, the existing part is resolved
resolve_dir() {
  set -- "$1" ''
  until real_path=$(cd -P "${1:-/}" 2>/dev/null && pwd -P); do set -- "${1%/*}" "/${1##*/}$2"; done
  real_path=${real_path%/}$2
}

# --- reading: builtins only, since they take no byte beyond the line ---

read_line() { IFS= read -r line; }
# What the bootstrap read along with this program comes first.
next_line() {
  if [ "${ahead-}" ]; then line=${ahead%%"$nl"*} ahead=${ahead#*"$nl"}; else read_line || exit 10; fi
}
read_pem() {
  pem_text=
  while next_line; [ "$line" != . ]; do
    pem_text=$pem_text$line$nl
    [ ${#pem_text} -lt 100000 ] || refuse "unfit a chain or a key of more than 100 kB"
  done
}
receive() {
  while next_line; do
    value=${line#* } into=
    # An installed receiver checks each line here, against its own parameters: see src/node/receiver.
    #@permit
    case $line in
    'certd '*) [ "$value" = "$certd" ] || refuse "unfit the node speaks version $certd of the protocol, not $value" ;;
    'nonce '*) nonce=$value ;;
    'look '*) look=$value ;;
    'rehearsal '*) rehearsal=$value ;;
    'name '*)
      count=$((count + 1)) index=$count
      unset "chain$index" "key$index"
      for field in $all; do eval "$field= $field$index="; done
      into=name
      ;;
    'generation '*) into=new_gen ;;
    'older '*) into=older ;;
    'fullchain '*) into=fullchain_path ;;
    'key '*) into=key_path ;;
    'chain '*) into=chain_path ;;
    'combined '*) into=combined_path ;;
    'in-place '*) into=in_place ;;
    'owner '*) into=want_owner ;;
    'group '*) into=want_group ;;
    'mode '*) into=want_mode ;;
    'key-mode '*) into=want_key_mode ;;
    'reader '*) into=reader ;;
    'chain-first '*) into=chain_first ;;
    'test '*) test_commands=$test_commands=$value$nl; save test_commands ;;
    'reload '*) reload_commands=$reload_commands=$value$nl; save reload_commands ;;
    # Digests of the files in their order; alone, without texts, they ask whether the files have them.
    'sum '*) sums="$sums$value "; save sums ;;
    'chain-pem '*) sums="$sums$value "; save sums; read_pem; eval "chain$index=\$pem_text" ;;
    'key-pem '*) sums="$sums$value "; save sums; read_pem; eval "key$index=\$pem_text" ;;
    end) pem_text=; return ;;
    *) form_line || refuse "unfit a line of the dialogue is not understood" ;;
    esac
    [ -z "$into" ] || { eval "$into=\$value"; save $into; }
  done
}

# --- children: empty stdin, default signals, bounded in time, output capped and private ---

child() { trap - HUP INT PIPE TERM; umask 22; exec "$@"; }
# seconds, argument vector (a line each, after "=") -> status; output in $out
run() {
  limit=$1 command_words=$2 IFS=$nl
  # shellcheck disable=SC2086 # one word a line
  set -- $command_words
  unset IFS
  for word; do shift; set -- "$@" "${word#=}"; done
  uptime; began=$up
  # The status comes by a way of its own, in the midst of the words; the nonce in the pipe, that there are no more.
  out=$(exec 9>&-; { { bounded "$@"; printf %s "<$nonce $?>" >&3; printf '\n%s\n' "$nonce"; } </dev/null | first_words; } 3>&1)
  exit_status=${out#*"<$nonce "} exit_status=${exit_status%%>*}
  case $out in *"<$nonce $exit_status>"*) ;; *) exit_status=1 ;; esac
  out=${out%%"<$nonce "*}${out#*"<$nonce $exit_status>"}
  while case $out in *"$nl") ;; *) false ;; esac; do out=${out%"$nl"}; done
  [ "$exit_status" = 0 ] || explain
  return "$exit_status"
}
bounded() {
  if [ "$timeout" ]; then
    # shellcheck disable=SC2086 # two words
    (child $timeout "$limit" "$@") 2>&1 3>&-
  else
    (child "$@") 2>&1 3>&- &
    command_pid=$!
    (sleep "$limit"; kill -9 $command_pid) >/dev/null 2>&1 3>&- &
    killer_pid=$!
    wait $command_pid; exit_status=$?
    kill $killer_pid 2>/dev/null
    return $exit_status
  fi
}
# The first 4000 bytes. What comes after them, or from a daemon that the command starts, is drained: neither dies of SIGPIPE,
# and nobody waits for them.
first_words() {
  exec 4<&0
  space=4000
  while [ $space -gt 0 ] && read_line && [ "$line" != "$nonce" ]; do
    printf "%.${space}s\\n" "$line"
    space=$((space - ${#line} - 1))
  done
  (read_line && exec cat) <&4 >/dev/null 2>&1 3>&- 4<&- &
}
# Adds to $out how the command ended. When its time was up, the status is 124 of GNU's timeout, 143 of busybox's, or 137; when
# it was not, these are the command's own, as is every other signal's.
explain() {
  uptime
  case ${began:+$((up - began >= limit))}:$exit_status in
  1:* | :124 | :137 | :143) ended="(ended after $limit seconds)" ;;
  *:12[89] | *:1[3-9]? | *:2??) ended=$(kill -l "$exit_status" 2>/dev/null) ended=${ended:+(ended by SIG$ended)} ;;
  *) ended= ;;
  esac
  case $ended in *SIG[!A-Z]*) ended= ;; esac
  if [ "$ended" ]; then out=$out${out:+$nl}$ended; else out=${out:-exit status $exit_status}; fi
}
# Seconds since the start of the system, by builtins alone; empty where nothing tells them.
uptime() { IFS='. ' read -r up rest 2>/dev/null </proc/uptime || up=; }
# test_commands or reload_commands, seconds: every distinct command once, to the first that fails; its output is in $out
check() {
  ran=$nl$nl command_index=0
  while [ $command_index -lt "$count" ]; do
    command_index=$((command_index + 1))
    eval "command_words=\$$1$command_index"
    case $ran in *"$nl$nl$command_words$nl"*) continue ;; esac
    ran=$ran$command_words$nl
    run "$2" "$command_words" || return
  done
}

# The configuration test: first of all, can the server's own user read the files? A test that root runs does not ask that.
# In a subshell, since the caller may be in the middle of a certificate.
sound() { out=$(each readable) && check test_commands "$test_time"; }
# Where there is no such user, or no program that becomes it (busybox has su alone), nothing is known. Only root becomes
# another user: su would ask everybody else for a password.
readable() {
  [ "$our_uid" = 0 ] && [ "$reader" ] && reader_group=$(id -g "$reader" 2>/dev/null) || return 0
  for become in setpriv su; do ! as_reader / || { files legible; return; }; done
}
# shellcheck disable=SC2016 # for that shell
as_reader() {
  case $become in
  su) su -s /bin/sh -c 'test -r "$0"' "$reader" "$1" ;;
  *) setpriv "--reuid=$reader" "--regid=$reader_group" --init-groups test -r "$1" ;;
  esac
} </dev/null >/dev/null 2>&1 9>&-
legible() {
  [ ! -e "$file_path" ] || as_reader "$file_path" || { echo "$reader, as whom the server reads it, cannot read $file_path"; return 1; }
}

# --- locks: each held by a subshell, so that one descriptor is enough for any number, and the kernel frees them ---

# Lock files, in the same order in every program: runs $task under all of them. Status 75: not within $patience seconds.
locked() {
  [ $# -gt 0 ] || { "$task"; return; }
  lock=$1; shift
  (hold "$@")
}
hold() {
  mine=
  take || exit 75
  locked "$@"
  held_status=$?
  # By hand, since busybox up to 1.37 forgets the trap of a subshell that begins while the program's own is carried out.
  [ -z "$mine" ] || { trap - EXIT; rm -f "$mine"; }
  return $held_status
}
again() { [ $((patience -= 1)) -ge 0 ] && sleep 1; }
take() {
  if command -v flock >/dev/null; then
    while :; do
      exec 9>>"$lock"
      until flock -n 9; do again || return 1; done
      # The holder before may have removed the file.
      # shellcheck disable=SC3013 # dash, ash and bash have it
      [ -e /proc/self/fd/9 ] && ! [ "$lock" -ef /proc/self/fd/9 ] || return 0
    done
  fi
  # Without flock: a symlink is made together with its text; a folder would have no owner for a moment.
  mine=$lock.held
  until ln -s "$$.$(age $$)" "$mine" 2>/dev/null; do
    held=$(readlink "$mine")
    if [ "$held" ] && [ "$held" != "${held%%.*}.$(age "${held%%.*}")" ]; then
      # A stale lock is renamed and read again: a second breaker gives back the lock that the first has made.
      mv -fT "$mine" "$mine.$$" && [ "$(readlink "$mine.$$")" != "$held" ] && mv -fT "$mine.$$" "$mine"
      rm -f "$mine.$$"
    else again || return 1; fi
  done 2>/dev/null
  trap 'rm -f "$mine"' EXIT
}
# When a process began, and in which boot: process numbers are reused.
age() {
  IFS= read -r boot 2>/dev/null </proc/sys/kernel/random/boot_id || boot=
  IFS= read -r stat_line 2>/dev/null <"/proc/$1/stat" || { echo gone; return; }
  # shellcheck disable=SC2086 # fields
  set -- ${stat_line##*) }
  # A zombie no longer runs.
  [ "$1" = Z ] && echo gone || echo "$boot.${20}"
}

# --- what is there ---

# On failure, the caller answers with $failed_path and $tool_words.
folder() {
  failed_path=$1
  # Another dialogue may make it first.
  [ -d "$failed_path" ] || { tool_words=$(mkdir -m755 "$failed_path" 2>&1) && made=$failed_path$nl$made; } || [ -d "$failed_path" ] || return
  check_dir "$failed_path"
}
# Only root and this user may be able to swap what is in a folder. In a folder further above (second argument) nothing is
# made, so a sticky bit is enough, and so is the group staff (50), to which older Debian releases give /usr/local.
check_dir() {
  find_line "$dir_lines" "$1/." || tool_words=$(ls -ldn "$1/." 2>&1) || return
  # shellcheck disable=SC2086 # fields: mode, links, user, group
  set -- "$1" "${2-}" $tool_words
  [ "$5" = 0 ] || [ "$5" = "$our_uid" ] || refuse_path "$1" "belongs to user $5, who could swap what is in it"
  # An ACL with write permission shows in the group bits, and not on every system as a "+".
  case $2$3:$6 in
  above?????????[tT]*) return 0 ;;
  above????????w* | ????????w* | *+:*) ;;
  above?????w*:0 | above?????w*:50) [ "$(getfacl -cps "$1" 2>/dev/null)" ] || return 0 ;;
  esac
  case $3 in ?????w* | ????????w*) refuse_path "$1" "others may write there ($3)" ;; esac
}
# lines of ls, name -> $tool_words: what stands before that name, which is that of no other file: eight fields.
find_line() {
  tool_words=${1%" $2$nl"*}
  [ "$tool_words" != "$1" ] && tool_words=${tool_words##*"$nl"} && eight_fields "$tool_words"
}
eight_fields() {
  # shellcheck disable=SC2086 # fields
  set -- $1
  [ $# = 8 ]
}
# names, a line each -> $lines
list() {
  IFS=$nl
  # shellcheck disable=SC2086 # a line each
  lines=$nl$(ls -ldn $1 2>/dev/null)$nl
  unset IFS
}
# One look at all folders above the files, for check_dir: whoever could change what it finds is found by it, and refused.
list_dirs() { each above; list "$dirs//.$nl"; dir_lines=$lines; }
above() {
  IFS=$nl
  for dir in "$own_dir/" $paths; do
    while dir=${dir%/*}; [ "$dir" ]; do
      case $nl$dirs in *"$nl$dir/.$nl"*) break ;; esac
      dirs=$dirs$dir/.$nl
    done
  done
  unset IFS
}
# And one at the files of a certificate, for what only compares.
list_files() {
  list "$paths$nl$current_link$nl$current_link/fullchain.pem$nl$current_link/privkey.pem$nl$current_link/chain.pem$nl$current_link/combined.pem"
  file_lines=$lines
}
# link, what it leads to if it has the text that is looked for -> $link_text
read_link() {
  link_text=${file_lines#*" $1 -> "} before=${file_lines%%" $1 -> "*}
  # shellcheck disable=SC3013 # dash, ash and bash have it
  eight_fields "${before##*"$nl"}" && link_text=${link_text%%"$nl"*} && [ "$1" -ef "$2$link_text" ] || link_text=$(readlink "$1")
}
# Every folder in which a name of the path is looked up, through links too: a user who can put another link or folder there
# could redirect the path between two calls.
check_dirs() {
  [ "$file_role" = fullchain ] || [ "$file_dir" != "$base_dir/" ] || return 0
  check_links "${file_dir%/}"
  for dir in "$base_dir/.certd" "$own_dir"; do [ ! -L "$dir" ] || check_links "$dir"; done
}
check_links() {
  rest=$1 walked='' hops=0
  while [ "$rest" ] && [ $hops -le 40 ]; do
    part=${rest%%/*} rest=${rest#"$part"} rest=${rest#/}
    case $part in '' | .) continue ;; ..) walked=${walked%/*}; continue ;; esac
    # A missing folder is made later, by this program.
    check_dir "${walked:-/}" above || return 0
    part=$walked/$part
    [ -L "$part" ] || { walked=$part; continue; }
    # Below a sticky bit any user can make a link.
    # shellcheck disable=SC2046 # fields: mode, links, user
    set -- "$1" $(ls -ldn "$part")
    [ "$4" = 0 ] || [ "$4" = "$our_uid" ] || refuse_path "$part" "is a link of user $4, who could let it lead elsewhere"
    link_text=$(readlink "$part")
    case $link_text in /*) walked= ;; esac
    rest=$link_text/$rest hops=$((hops + 1))
  done
  [ $hops -le 40 ] || refuse_path "$1" "too many links lead there"
}
# path, our link -> $found_kind: link; far (to the same place by another text); stray (into another folder of certd: the path
# or the certificate's name was changed); plain; none
find_kind() {
  found_kind=none
  if [ -L "$1" ]; then
    read_link "$1" "$file_dir"
    if [ "$link_text" = "$2" ]; then found_kind='link'
    elif ! within "$link_text"; then refuse_path "$1" "is a link to $link_text, not made by certd; put a plain file there, or nothing"
    elif [ "${link_text##*/}" = "$file_name" ] && in_own_dir; then found_kind=far
    else
      found_kind=
      trusted "$linked_dir"
      [ "$found_kind" ] || found_kind=stray
    fi
  elif [ -d "$1" ]; then refuse_path "$1" "Is a directory"
  elif [ -f "$1" ]; then
    found_kind=
    check_shape "$1"
    [ "$found_kind" ] || found_kind=plain
  elif [ -e "$1" ]; then refuse_path "$1" "is no regular file"
  fi
}
# a link's text, read in $file_dir -> whether it leads into a certificate's folder of certd: $linked_dir, resolved from $via
within() {
  linked_dir=${1%/current/*}
  case ${1#"$linked_dir/current/"} in
  fullchain.pem | privkey.pem | chain.pem | combined.pem | cert.der | privkey.der | keystore.p12) ;;
  *) return 1 ;;
  esac
  case $linked_dir in /*) ;; *) linked_dir=$file_dir$linked_dir ;; esac
  via=$linked_dir
  resolve_dir "$linked_dir"; linked_dir=$real_path
  case ${linked_dir%/*} in */.certd) ;; *) return 1 ;; esac
}
in_own_dir() { resolve_dir "$base_dir"; [ "$linked_dir" = "$real_path/.certd/$name" ]; }
# Such a folder is accepted, and its generation raises $fence, where no other user can have made it. When the folder is gone,
# only the link counts, and nothing is read through it: any user might make the folder anew.
trusted() {
  [ -d "$1" ] || { found_kind=far; return; }
  check_dir "$1"
  check_dir "${1%/*}"
  check_links "$via"
  # The folder of another certificate of this dialogue is no fence for this one.
  ! asked "$1" || return 0
  its_current=$(readlink "$1/current")
  case $its_current in
  *[!0-9a-f.-]*) ;;
  [1-9]*-*) [ "$fence" ] && ! newer "${its_current%%-*}" "${fence%%-*}" || fence=$its_current ;;
  esac
}
# Whether the folder belongs to a certificate of this dialogue.
asked() {
  asked_index=0
  while [ $asked_index -lt "$count" ]; do
    asked_index=$((asked_index + 1))
    eval "asked_dir=\${fullchain_path$asked_index%/*}/.certd/\$name$asked_index"
    # shellcheck disable=SC3013,SC2154 # dash, ash and bash have it; set by eval
    [ ! "$asked_dir" -ef "$1" ] || return 0
  done
  return 1
}
# A file is taken over only if it is empty, or PEM of the kind that its path is for.
check_shape() {
  [ -s "$1" ] || return 0
  correct_path='; correct the path in the configuration, or move the file away'
  case $file_role in *.*) form_shape "$1"; return ;; esac
  wanted_block=CERTIFICATE wrong_block='PRIVATE KEY'
  case $file_role in privkey) wrong_block=$wanted_block wanted_block='PRIVATE KEY' ;; combined) wanted_block= ;; esac
  if holds "$wanted_block" "$1"; then return
  elif holds "$wrong_block" "$1"; then refuse_path "$1" "holds no $wanted_block, but a $wrong_block; are the paths swapped in the configuration?"
  elif holds '' "$1"; then refuse_path "$1" "holds no $wanted_block$correct_path"
  else refuse_path "$1" "is neither empty nor PEM$correct_path"; fi
}
# kind of block, file
holds() { grep -qE -- "^-----BEGIN [A-Z0-9 ]*$1-----" "$2"; }
digest() {
  file_digest=-
  [ -f "$1" ] || return 0
  file_digest=${all_digests%"  $1$nl"*} file_digest=${file_digest##*"$nl"}
  [ ${#file_digest} = 64 ] || { file_digest=$(sum <"$1"); file_digest=${file_digest%% *}; }
}
# files (a line each), folder: reckons the digests of them, and of the files there, in one go: $all_digests
digest_all() {
  sum_files='' IFS=$nl
  for sum_file in $1; do [ ! -f "$sum_file" ] || sum_files=$sum_files$sum_file$nl; done
  set +f
  for sum_file in "$2"/*.*; do [ ! -f "$sum_file" ] || sum_files=$sum_files$sum_file$nl; done
  set -f
  # shellcheck disable=SC2086 # a line each
  [ -z "$sum_files" ] || all_digests=$nl$(sum $sum_files 2>/dev/null)$nl
  unset IFS
}
digests() { digest "$file_path"; identify "$file_path" "$current_link"; have="$have$file_digest "; }
read_current() {
  current_gen=-
  if [ -L "$current_link" ]; then read_link "$current_link" "$own_dir/"; current_gen=$link_text
  elif [ -e "$current_link" ]; then
    refuse_path "$current_link" "is no link (restored from a backup?); in its folder this helps -> mv current 0-restored && ln -s 0-restored current"
  fi
  case $current_gen in */* | .*) refuse_path "$current_link" "is a link to $current_gen, not made by certd" ;; esac
}
all_kinds() { find_kind "$file_path" "$link_to"; all_kinds="$all_kinds$found_kind "; }
# folder, whose files are digested too
scan() {
  all_kinds='' have='' fence=''
  list_files
  files all_kinds
  read_current
  digest_all "$paths" "${1-}"
  files digests
  seen="$all_kinds$current_gen $have"
}
# By builtins: a missing program would say no, and let an older one in.
newer() {
  # shellcheck disable=SC3012 # every sh has it, and POSIX since 2024
  [ ${#1} -ne ${#2} ] || { [ "x$1" \> "x$2" ]; return; }
  [ ${#1} -gt ${#2} ]
}

# --- who may read: nobody who could not before, and never everybody where there is a key ---

# From the file at $file_path: $file_mode and, where they differ from this user's, $user and $group; $acl, when its named
# users keep reading. $lost: who could read a key there and no longer will. The configuration is not considered here.
find_rights() {
  fields_of
  user='' group='' acl='' lost='' file_mode=600
  case $file_role in privkey* | combined | *.p12) ;; *) file_mode=644 ;; esac
  # shellcheck disable=SC2086 # fields: mode, links, user, group
  set -- $file_fields
  case ${1-} in '') return ;; -r-*) owner_bits=4 ;; *) owner_bits=6 ;; esac
  case $file_mode in
  644)
    case $1 in
    ????r??r*) file_mode=${owner_bits}44 ;;
    ????r*) file_mode=${owner_bits}40 ;;
    ???????r*) file_mode=${owner_bits}04 ;;
    *) file_mode=${owner_bits}00 ;;
    esac
    user=${3#0} group=${4#0}
    ;;
  *)
    # Only a file with a key shows who may read a key; or an empty one that is not open to everybody.
    if [ -s "$file_path" ]; then with_key; else case $1 in ???????---*) ;; *) false ;; esac; fi || return 0
    file_mode=${owner_bits}00 shut_group=
    # An open file in a closed folder is read by that folder's group.
    case $1 in ???????r*) if lets_in - -; then lost='everybody'; else shut_group=$shut; fi ;; esac
    [ "$3" = 0 ] || ! lets_in "$3" - || user=$3
    case $1 in ????r*) ;; *) return 0 ;; esac
    # With an ACL the group bits are its mask, and not the group's.
    case $1:$(getfacl -cps "$file_path" 2>/dev/null) in
    *+:* | *:?*)
      [ "$file_dir" = "$base_dir/" ] && command -v setfacl >/dev/null && file_mode=${owner_bits}40 acl=1 group=$4 ||
        lost='users of its ACL'
      ;;
    *)
      if lets_in - "$4"; then file_mode=${owner_bits}40 group=$4
      elif [ "$shut_group" ] && lets_in - "$shut_group"; then file_mode=${owner_bits}40 group=$shut_group; fi
      ;;
    esac
    ;;
  esac
}
# Of other forms than PEM, nothing else is taken over.
with_key() {
  case $file_role in *.*) return 0 ;; esac
  read_line 2>/dev/null <"$file_path"
  case $line in *'PRIVATE KEY-----') return 0 ;; esac
  grep -qs 'PRIVATE KEY-----' "$file_path"
}
# $file_fields: the fields of the file at $file_path, which may be one that was listed under another name.
fields_of() {
  for file_fields in "$file_path" "$current_link/$file_name"; do
    # shellcheck disable=SC3013 # dash, ash and bash have it
    [ "$file_path" -ef "$file_fields" ] && find_line "$file_lines" "$file_fields" || continue
    file_fields=$tool_words
    case $file_fields in l*) ;; *) return ;; esac
  done
  file_fields=$(ls -lnL "$file_path" 2>/dev/null)
}
# user or "-", group or "-": whether every folder on the way to $file_path, as written and resolved, lets them in. Else
# $shut: the group of a folder that does not.
lets_in() {
  by_user=$1 by_groups=" $2 " shut=
  # shellcheck disable=SC2046 # fields: the name is the third
  [ "$by_user" = - ] || { set -- $(ls -lL "$file_path"); by_groups=" $(id -G "$3" 2>/dev/null) "; }
  set --
  for dir in "${file_dir%/}" "$(cd -P "$file_dir" 2>/dev/null && pwd -P)"; do
    set -- "$@" "$dir/."
    while [ "$dir" ]; do dir=${dir%/*}; set -- "$@" "$dir/."; done
  done
  listing=$(ls -ldn "$@" 2>/dev/null) || return
  IFS=$nl
  for entry in $listing; do
    unset IFS
    # shellcheck disable=SC2086 # fields: mode, links, user, group
    set -- $entry
    # An ACL is not evaluated here. That of the chain's folder holds for the delivered files too.
    case $1:$3:$by_groups in
    *+:*) [ "$file_dir" = "$base_dir/" ] || return 1 ;;
    esac
    case :$3:$by_groups in
    *:"$by_user":*) enter_bits=${1#???} ;;
    *" $4 "*) enter_bits=${1#??????} ;;
    *) enter_bits=${1#?????????} ;;
    esac
    case $enter_bits in [xst]*) ;; *) shut=$4; return 1 ;; esac
  done
}
# For each file as it is now: a line in $rights, and $askew if owner or mode differ from what they should be.
judge() {
  find_rights
  rights="$rights$file_role $file_mode ${user:--} ${group:--} ${acl:--} $lost$nl"
  apply_config
  # shellcheck disable=SC2086 # fields
  set -- $file_fields
  [ "${1-}" ] || return 0
  digits=$file_mode mode_letters=-
  while [ "$digits" ]; do
    case $digits in
    6*) mode_letters=${mode_letters}rw- ;;
    4*) mode_letters=${mode_letters}r-- ;;
    *) mode_letters=$mode_letters--- ;;
    esac
    digits=${digits#?}
  done
  case $1 in "$mode_letters"*) ;; *) askew=1 ;; esac
  owner_names=" $3 " group_names=" $4 "
  # shellcheck disable=SC2046 # fields, with names
  case $want_owner$want_group in
  *[!0-9]*) set -- $(ls -lL "$file_path"); owner_names="$owner_names$3 " group_names="$group_names$4 " ;;
  esac
  case $owner_names in *" ${user:-$our_uid} "*) ;; *) askew=1 ;; esac
  case $group_names in *" ${group:-$4} "*) ;; *) askew=1 ;; esac
}
assess() { rights=$nl askew=; files judge; }
# The line of $file_role in $rights; apply_config puts the configuration over it.
recall_rights() {
  judged=${rights#*"$nl$file_role "}
  # shellcheck disable=SC2086 # words
  set -- ${judged%%"$nl"*}
  file_mode=$1 user=${2#-} group=${3#-} acl=${4#-}
  shift 4
  lost=$*
}
apply_config() {
  user=${want_owner:-$user} group=${want_group:-$group}
  case $file_role in
  privkey* | combined | *.p12)
    [ -z "$want_owner$want_group$want_key_mode" ] || lost=''
    [ -z "$want_key_mode" ] || file_mode=${want_key_mode#0} acl=''
    case $file_mode in ?4?) group=${group:-$(id -g)} ;; esac
    ;;
  *) file_mode=${want_mode:-$file_mode} file_mode=${file_mode#0} ;;
  esac
}
# file [found]: gives a copy of the file for $file_path, in a private folder, the owner and mode that it should have, or that
# were found. Fails like a command, with a message on stderr.
guard() {
  recall_rights
  # A key may lie at the chain's path by mistake.
  if [ -z "${2-}" ]; then apply_config
  else case $file_role in fullchain | chain) ! grep -q 'PRIVATE KEY-----' "$1" || file_mode=600 ;; esac; fi
  if [ "$user$group" ] && ! chown "$user${group:+:$group}" "$1" 2>/dev/null; then
    [ "${2-}" ] || [ -z "$want_owner$want_group" ] ||
      { echo "cannot be given to $user:$group, as [install] says (the node does not know them, or only root may)" >&2; return 1; }
    case $file_role in privkey* | combined | *.p12) file_mode=600 acl='' ;; esac
  fi
  [ "$file_mode" = "$made_mode" ] || chmod "$file_mode" "$1" || return
  [ -z "$acl" ] || { getfacl -cnp "$file_path" | setfacl --set-file=- "$1" && setfacl -n -m m::r,o::- "$1"; } 2>/dev/null ||
    chmod 600 "$1"
  [ ! -d /sys/fs/selinux ] || chcon --reference="$file_path" "$1" 2>/dev/null || :
}
find_keys() {
  set +f
  grep -ls -- 'PRIVATE KEY-----' "$own_dir"/[0-9]*/*.pem
  for key_file in "$own_dir"/[0-9]*/privkey.der "$own_dir"/[0-9]*/*.p12; do [ ! -e "$key_file" ] || echo "$key_file"; done
}
# The name of a file with a key, in a generation -> $file_mode that it should have: that of the current one, or of the key
# where nobody has such a file any more.
key_mode_of() {
  file_role=${1%.pem}
  # There by mistake.
  case $file_role in *chain) file_role=privkey ;; esac
  case $rights in *"$nl$file_role "*) ;; *) file_role=privkey ;; esac
  recall_rights; apply_config
}
# Once a pair is proven, kept files with a key are readable by nobody who cannot read the current ones.
tighten() {
  group_keys='' shut_keys='' IFS=$nl
  for key_file in $(find_keys); do
    unset IFS
    key_mode_of "${key_file##*/}"
    case $file_mode in ?4?) group_keys=$group_keys$key_file$nl ;; *) shut_keys=$shut_keys$key_file$nl ;; esac
  done
  IFS=$nl
  # shellcheck disable=SC2086 # a line each
  [ -z "$group_keys" ] || chmod g-wx,o= $group_keys
  # shellcheck disable=SC2086 # a line each
  [ -z "$shut_keys" ] || chmod go= $shut_keys
  unset IFS
} 2>/dev/null

# --- parameters ---

# These values become parts of paths.
# shellcheck disable=SC2154 # receive sets them
check_parameters() {
  case $name in */* | .* | '') refuse "unfit a name that is no name" ;; esac
  case $nonce${new_gen#*-}/${new_gen%%-*} in *[!0-9a-f]*/* | */*[!0-9]*) refuse "unfit a generation that is none" ;; esac
  # A generation's number is a UTC second, YYYYMMDDhhmmss. A look has none.
  case $look$new_gen in yes | [1-9]?????????????-?*) ;; *) refuse "unfit a generation that is none" ;; esac
  # Relative paths are refused first: the loops over parent folders would not end.
  IFS=$nl
  # shellcheck disable=SC2086 # a line each
  for file_path in "$fullchain_path" "$key_path" $paths; do unset IFS; absolute; done
  unset IFS
  case $fullchain_path/ in / | "$key_path/") refuse "unfit chain and key need a path each" ;; esac
  case $reader in -*) refuse "unfit the owner or the group is none" ;; esac
  case $want_owner$want_group$reader in -* | *[!A-Za-z0-9_.@-]*) refuse "unfit the owner or the group is none" ;; esac
  case $want_mode in '' | 0[46][04][04]) ;; *) refuse "unfit the mode is none" ;; esac
  case $want_key_mode in '' | 0[46][04]0) ;; *) refuse "unfit others could read the key with mode $want_key_mode" ;; esac
}
absolute() { case $file_path in /*) ;; *) refuse "unfit paths must be absolute" ;; esac; }

# --- prepare ---

make_dirs() {
  files check_dirs
  # Another dialogue that is aborted removes the empty folders that it made: try again.
  attempts=0
  until files make_dir && folder "$base_dir/.certd" && folder "$own_dir" && closed; do
    [ $((attempts += 1)) -lt 9 ] || refuse_path "$failed_path" "$tool_words"
  done
  lock_file "$base_dir/.certd/.lock"
  # Two dialogues for one server, in different folders, must not test each other's halves.
  if [ -w /run ] && { [ -d /run/certd ] || mkdir -p /run/certd; }; then
    commands_digest=$(printf %s "$test_commands$reload_commands" | sum)
    lock_file "/run/certd/${commands_digest%% *}.lock"
  fi
}
# Keeps $locks in the order of their bytes, each once.
lock_file() {
  lower_locks='' higher_locks='' IFS=$nl
  for lock in $locks; do
    # shellcheck disable=SC3012 # every sh has it, and POSIX since 2024
    if [ "$lock" \> "$1" ]; then higher_locks=$higher_locks$lock$nl
    elif [ "$lock" != "$1" ]; then lower_locks=$lower_locks$lock$nl; fi
  done
  unset IFS
  locks=$lower_locks$1$nl$higher_locks
}
make_dir() {
  [ "$file_role" = fullchain ] || [ "$file_dir" != "$base_dir/" ] || return 0
  file_dir=${file_dir%/}
  folder "${file_dir:-/}"
}
# The staging folder is private, and so are files made in it: a default ACL above would override the umask, and some file
# systems have no modes. The two files are filled later.
closed() {
  for second_try in '' 1; do
    tool_words=$(mkdir -m700 "$stage_dir" "$stage_dir.l" 2>&1) || { rm -rf "$stage_dir"; return 1; }
    (set -C; umask 0; : >"$stage_dir/fullchain.pem"; umask 77; : >"$stage_dir/privkey.pem") 2>/dev/null
    listing=$(ls -la "$stage_dir")
    case ${listing#*"$nl"} in drwx------[!+]*"$nl-rw-rw-rw-"[!+]*"$nl-rw-------"[!+]*) return ;; esac
    rm -rf "$stage_dir" "$stage_dir.l"
    failed_path=$own_dir tool_words="files there are not as private as they are made (a default ACL?); this may help -> setfacl -bk $base_dir/.certd $own_dir"
    [ "$second_try" ] || setfacl -bk "$base_dir/.certd" "$own_dir" 2>/dev/null || return
  done
  return 1
}
# After a crash in a switch: the new pair stays if it passes the test; otherwise the old one comes back.
settled() { [ ! -e "$intent_file" ]; }
recover() {
  ! settled || return 0
  { read_line && from=$line && read_line && to=$line; } <"$intent_file" || from=- to=
  # In place, who may read is taken from the files before they are overwritten.
  [ -z "$in_place" ] || assess
  if [ "$to" ] && points_to "$to"; then
    # Finish overwriting the files.
    [ -z "$in_place" ] || try "$current_link" files pour
    { ! torn "$own_dir/$to" && sound; } || { [ "$from" = - ] && ! proven; } || ! whole || try "$current_link" back
  elif noted; then try "$current_link" unlay
  elif [ "$in_place" ] && [ -L "$current_link" ]; then try "$current_link" files pour; fi
  forget
  spend
}
# Whether the test passed before the switch, and whether a reload began after it.
proven() { while read_line; do [ "$line" != tested ] || return 0; done <"$intent_file"; false; }
begun() { while read_line; do [ "$line" != reloaded ] || return 0; done <"$intent_file"; false; }
# The folders that a dead program made, to be removed if this dialogue comes to nothing.
inherit() {
  settled || while read_line; do case $line in 'made '*) made=$made${line#* }$nl ;; esac; done <"$intent_file"
}
recovery() { each recover; }
# A killed program stays as a zombie until its parent waits for it; the first process of many containers never does.
runs() { kill -0 "$1" 2>/dev/null && { [ ! -e "/proc/$1/stat" ] || [ "$(age "$1")" != gone ]; }; }
# Runs a command on every folder of no more use: the current, the previous and the first one found stay.
rubbish() {
  set +f
  for dir in "$own_dir"/[0-9]* "$own_dir"/.new-*; do
    set -f
    # Compared by builtins: a program that failed would make the served folder rubbish.
    # shellcheck disable=SC3013 # dash, ash and bash have it
    [ -e "$dir" ] && ! [ "$dir" -ef "$current_link" ] && ! [ "$dir" -ef "$own_dir/previous" ] || continue
    dir_name=${dir##*/}
    case $dir_name in
    0-found) continue ;;
    ".new-$$-"*) continue ;;
    .new-*) dir_name=${dir_name#.new-}; runs "${dir_name%%-*}" && continue ;;
    esac
    "$@" "$dir"
  done
  set -f
}
untidy() { [ -z "$(rubbish echo)" ]; }
tidy() { each rubbish rm -rf; }
# A folder's name that is not taken: a write through the links may have changed the content of one that exists.
free() { free_name=$1 suffix=0; while [ -e "$own_dir/$free_name" ]; do free_name=$1.$((suffix += 1)); done; }
decide() {
  scan
  all_digests=
  free "$new_gen"
  state=$seen base=found from=$current_gen to=$free_name was=$current_gen turned=
  # Links that are to become files are replaced, wherever they lead.
  case ${in_place:+1}$all_kinds in 1*link* | 1*far* | 1*stray*) turned=1 ;; esac
  assess
  # In place, files that equal the current generation are as good as links.
  [ -z "$in_place" ] || ! files copied "$own_dir/$current_gen" || all_kinds='link link'
  case $all_kinds in
  *plain*) free 0-found; from=$free_name ;;
  # Under its own number, so that the fence stays; the new generation may have the same number.
  *stray*) free "${fence:-0-found}.0"; from=$free_name ;;
  esac
  lays=$turned
  case $all_kinds in *plain* | *stray* | *far* | *none*) lays=1 ;; esac
  # shellcheck disable=SC2086 # the first two are the pair
  set -- $all_kinds
  case "$1 $2" in
  *plain* | *none*) ;;
  *)
    case $current_gen in [1-9]*-*) managed_gen=$current_gen ;; *) managed_gen=$fence ;; esac
    [ -z "$managed_gen" ] || base="managed ${managed_gen%%.*}"
    ;;
  esac
  # shellcheck disable=SC2086 # the same two
  set -- $have
  [ "$1" != - ] && [ "$2" != - ] || base=nothing
  # Where files are and links should be, of certd before or never, links are laid, whatever the files hold.
  case $turned$askew$all_kinds in 1* | *stray* | *plain*) ;; *) [ "$have" != "$sums" ] || base=unchanged ;; esac
  save state base from to was all_kinds lays rights
  # Numbers are compared as text: they exceed some shells' arithmetic, and an existing one may have any length.
  for present_gen in "$current_gen" "$fence"; do
    case $present_gen in
    [1-9]*)
      stays_same || [ "$older" ] || ! newer "${present_gen%%-*}" "${new_gen%%-*}" ||
        refuse "newer $name ${present_gen%%-*}"
      ;;
    esac
  done
}
# file, text. The builtin printf keeps a key out of every argv. Not every shell reports why it failed, but cat does.
write() { printf %s "$2" >"$1" 2>/dev/null || printf %s "$2" | cat >"$1"; }
writable() {
  # Before the commit, a file's folder elsewhere is empty, and another dialogue may have removed it.
  # shellcheck disable=SC2174 # its parent is there
  [ -d "$file_dir" ] || mkdir -pm755 "$file_dir"
  [ -L "$file_path" ] || [ -w "$file_dir" ] || refuse_path "$file_path" "its folder cannot be written (permission, or mounted read-only)"
  # An overwritten file keeps its ACL, and a mode for the group would become the mask of all users it names.
  case $in_place$file_role$want_key_mode in
  yesprivkey*40 | yescombined*40 | yes*.p12*40)
    [ -L "$file_path" ] || [ -z "$(getfacl -cps "$file_path" 2>/dev/null)" ] ||
      refuse_path "$file_path" "has an ACL; this helps -> setfacl -b $file_path"
    ;;
  esac
}
# Makes the links that are to be put in place, one of them by replacing a link to a folder.
# shellcheck disable=SC3013 # dash, ash and bash have it
ready_links() {
  ln -s "$to" "$from" "$stage_dir" "$stage_dir.l/" && mv -fT "$stage_dir.l/$to" "$ready_link" &&
    [ ! -L "$stage_dir.l/$to" ] && ! [ "$ready_link" -ef "$stage_dir" ]
}
# uutils replaces such a link only by one that leads to a folder itself, as those do which are made where they are to be.
# shellcheck disable=SC3013 # dash, ash and bash have it
replaces_links() {
  rm -f "$ready_link" "$stage_dir.l/$from"
  ln -s . "$stage_dir.l/a" && ln -s .. "$stage_dir.l/b" && mv -fT "$stage_dir.l/b" "$stage_dir.l/a" && [ "$stage_dir.l/a" -ef "$own_dir" ]
}
stage() {
  ! stays_same || return 0
  files check_form
  files writable
  ready_links 2>/dev/null || tool_words=$(replaces_links 2>&1) ||
    refuse "unfit mv -T, which replaces a link by one rename, does not work here: ${tool_words##*: }"
  open_chain=
  files put
  pem_text=; unset "chain$index" "key$index"
  have=
  digest_all '' "$stage_dir"
  files staged
  intact
  all_digests=
  try "$stage_dir" chmod u=rwX,go=rX ${open_chain:+"$stage_dir/fullchain.pem"} "$stage_dir"
  [ "$lays" ] || try "$intent_file" write_note
  set +f
  try "$stage_dir" flush "$stage_dir"* "$stage_dir"/* "$own_dir" "$base_dir/.certd"
  set -f
}
# folder: sets the times of its files later, by a whole second, than those of all files at the paths. A server may compare
# nothing else (nginx from 1.27.4 on, where the inode is the same), or take only later files (hitch, ocserv, ejabberd,
# trafficserver).
stamp() {
  staged_files='' served_files=''
  files list_times "$1"
  postdate "$staged_files" "$served_files"
}
# files, files (a line each): sets the times of the first later than those of the second.
postdate() {
  IFS=$nl now=$(date +%s)
  latest=$((now - 1))
  # shellcheck disable=SC2086 # a line each
  for modified in $(stat -Lc %Y $2 2>/dev/null); do [ "$modified" -le "$latest" ] || latest=$modified; done
  # shellcheck disable=SC2086 # a line each
  touch -cd "@$((latest + 1))" $1
  exit_status=$?
  unset IFS
  return $exit_status
}
list_times() { staged_files=$staged_files$1/$file_name$nl served_files=$served_files$file_path$nl; }
put() {
  eval "pem_text=\$chain$index"
  staged_file=$stage_dir/$file_name
  case $file_role in
  fullchain) ;;
  chain) pem_text=${pem_text#*-----END CERTIFICATE-----"$nl"} ;;
  privkey) eval "pem_text=\$key$index" ;;
  combined) if [ "$chain_first" ]; then eval "pem_text=\$chain$index\$key$index"; else eval "pem_text=\$key$index\$chain$index"; fi ;;
  esac
  case $file_role in
  *.*) try "$file_path" form_put ;;
  *) try "$staged_file" write "$staged_file" "$pem_text" ;;
  esac
  # As they were made: the key so from the beginning, and a chain that gets its mode with the folder, before it is opened.
  case $file_role in fullchain) made_mode=644 ;; *) made_mode=600 ;; esac
  try "$file_path" guard "$staged_file"
  made_mode=
  recall_rights; apply_config
  case $file_role$file_mode in fullchain644) open_chain=1 ;; esac
  [ -z "$lost" ] || narrowed="${narrowed}narrowed $name $file_role $lost$nl"
}
flush() { sync "$@" 2>/dev/null || sync; }
bases() { body="${body}base $name $base$nl"; }

# --- commit: under the locks ---

# The one rename that switches.
point() { point_link "$1" current "${2-}" && if [ "$in_place" ]; then files pour; fi; }
# Overwrites the file and keeps its inode, owner and mode, with a time that no server has seen; a file that the generation
# lacks is removed. If this dies before the time is set, the next dialogue sets it.
pour() {
  current_file=$current_link/$file_name
  if [ ! -f "$current_file" ]; then rm -f "$file_path"; return; fi
  if [ -f "$file_path" ]; then guard "$file_path" && { cmp -s "$current_file" "$file_path" || cat "$current_file" >"$file_path"; }
  else cp -p "$current_file" "$file_path"; fi &&
    touch -r "$current_file" "$file_path" && flush "$file_path"
}
# text, name, a link with that text if there is one ready
point_link() {
  next_link=${3-}
  [ -L "$next_link" ] || { next_link=$own_dir/next; rm -f "$next_link" && ln -s "$1" "$next_link"; } || return
  mv -fT "$next_link" "$own_dir/$2" && flush "$own_dir"
}
same() {
  scan "$stage_dir"
  settled && [ "$seen" = "$state" ] || refuse "changed $name"
  # What is switched to is what the controller knows to be a pair.
  stays_same || { have=; files staged; intact; }
  all_digests=
}
intact() { [ "$have" = "$sums" ] || refuse "unfit $name: what was written differs from what was sent (digests)"; }
staged() { digest "$stage_dir/$file_name"; identify "$stage_dir/$file_name" "$stage_dir"; have="$have$file_digest "; }
# Whether anything goes back, or nothing keeps it from that; $torn_say names each certificate that does not.
way_back() { goes_back='' torn_say=''; each waver; [ "$goes_back" ] || [ -z "$torn_say" ]; }
waver() { stays_same || if whole; then goes_back=1; else torn_say=$torn_say$nl$name:' '$torn_words; fi; }
# Whether the way back leads to no chain with the key of another: a server may end at a reload of that, whatever its test says.
whole() { stays_same || [ "$from" = - ] || ! torn "$own_dir/$from"; }
# folder -> whether the key there is certainly not that of the certificate, where there is openssl or not: a private key holds
# its public half as well, the point of the curve or the modulus, and so does the certificate. In a subshell, which takes
# the key along.
torn() (
  leaf_hex=$(hex CERTIFICATE "$1/fullchain.pem") key_hex=$(hex 'PRIVATE KEY' "$1/privkey.pem")
  # An EC key that comes with its point (P-256, P-384), or an RSA key.
  case $key_hex in *a14403420004* | *a16403620004* | *020100028[12]*) ;; *) exit 1 ;; esac
  # After the end of the algorithm's identifier.
  case $leaf_hex in
  *ce3d0201*0004*) leaf_hex=${leaf_hex#*ce3d0201*0004} ;;
  *f70d010101*028[12]*) leaf_hex=${leaf_hex#*f70d010101*028[12]} ;;
  *) exit 1 ;;
  esac
  leaf_hex=$(printf %.128s "$leaf_hex")
  [ ${#leaf_hex} = 128 ] || exit
  case $key_hex in *"$leaf_hex"*) exit 1 ;; esac
)
# kind, file -> the first such block of PEM: as it is, and in hexadecimal digits
decoded() { sed -n "/^-*BEGIN .*$1-/,/^-*END/{/^-*END/q;/^-/!p;}" "$2" | tr -d '\r\t ' | base64 -d; }
hex() { decoded "$@" | od -An -v -tx1 | tr -d ' \n'; } 2>/dev/null
# A failed undo keeps the intent for the next dialogue.
undo() { try "$current_link" each back; }
# Moves the files at the paths behind `current`; readers see no difference. Missing files get their links later.
contact() {
  ! stays_same && [ "$lays" ] && [ ! -e "$intent_file" ] && ! points_to "$to" || return 0
  case $all_kinds in
  *plain* | *stray*)
    tries=0
    while :; do
      try "$own_dir/$from" copy_all_found
      ! files copied "$stage_dir.f" || break
      [ $((tries += 1)) -lt 3 ] || refuse_path "$fullchain_path" "another program keeps writing it or its key"
    done
    try "$intent_file" note
    try "$own_dir/$from" mv -T "$stage_dir.f" "$own_dir/$from"
    try "$current_link" point_link "$from" current
    ;;
  *) try "$intent_file" note ;;
  esac
  files lay_link
}
copy_all_found() {
  rm -rf "$stage_dir.f" && mkdir -m700 "$stage_dir.f" && files copy_found && chmod 755 "$stage_dir.f" && flush "$stage_dir.f"
}
copy_found() {
  copied_file=$stage_dir.f/$file_name
  [ -f "$file_path" ] || return 0
  cp -pL "$file_path" "$copied_file" && guard "$copied_file" found && touch -r "$file_path" "$copied_file" && flush "$copied_file"
}
copied() {
  digest "$file_path"; first_digest=$file_digest
  digest "$1/$file_name"; [ "$first_digest" = "$file_digest" ]
}
lay_link() {
  if [ "$in_place" ]; then
    [ ! -L "$file_path" ] || try "$file_path" flatten
  elif [ -L "$file_path" ]; then
    [ "$(readlink "$file_path")" = "$link_to" ] || { try "$file_path" relink; linked; }
  elif [ -f "$file_path" ]; then
    try "$file_path" keep_found
    try "$file_path" relink
    linked
  fi
}
# A link for the server to follow, preferably one outside the chain's folder: $links names it in a refusal.
linked() { if [ -z "$links" ] || [ "$file_dir" != "$base_dir/" ]; then links=$file_path; fi; }
beside() { beside_path=$file_dir.${file_path##*/}.certd-$1; }
# Keeps the file itself, with all its attributes; a copy where it can have no second name.
keep_found() {
  beside found
  rm -f "$beside_path" &&
    { ln "$file_path" "$beside_path" || { cp -p "$file_path" "$beside_path" && touch -r "$file_path" "$beside_path"; }; }
}
flatten() {
  beside new
  found_file=$own_dir/$from/$file_name
  rm -f "$beside_path"
  if [ -f "$found_file" ]; then cp -p "$found_file" "$beside_path" && guard "$beside_path" found && mv -fT "$beside_path" "$file_path"
  else rm -f "$file_path"; fi
}
# shellcheck disable=SC2174 # its parent is there
relink() {
  beside new
  mkdir -pm755 "$file_dir" && rm -f "$beside_path" && ln -s "$link_to" "$beside_path" && mv -fT "$beside_path" "$file_path" && flush "$file_dir"
}
fill_missing() { [ "$in_place" ] || [ -L "$file_path" ] || relink; }
note() {
  [ -z "$lays" ] && [ -e "$stage_dir.i" ] || { write_note && flush "$stage_dir.i"; } || { rm -f "$stage_dir.i"; return 1; }
  mv -fT "$stage_dir.i" "$intent_file" && flush "$own_dir"
}
write_note() {
  {
    # An intent that is not written whole (no space, no stat) does not count.
    printf '%s\n%s\n' "$from" "$to" || return
    if [ "$lays" ]; then
      printf 'was %s\n' "$was" && { [ -z "$tested" ] || echo tested; } && files noting || return
      IFS=$nl
      for dir in $made; do printf 'made %s\n' "$dir"; done
      unset IFS
    fi
  } >"$stage_dir.i"
}
noting() {
  if [ -L "$file_path" ]; then link_text=$(readlink "$file_path") && printf 'link %s %s\n%s\n' "$file_role" "$file_path" "$link_text"
  elif [ ! -f "$file_path" ]; then printf 'none %s %s\n' "$file_role" "$file_path"
  elif [ "$in_place" ]; then
    owner_mode=$(stat -c '%u:%g %a' "$file_path") && printf 'over %s %s\n%s\n' "$file_role" "$file_path" "$owner_mode"
  else printf 'plain %s %s\n' "$file_role" "$file_path"; fi
}
forth() {
  ! stays_same && ! points_to "$to" || return 0
  if [ -d "$stage_dir" ]; then mv -fT "$stage_dir" "$own_dir/$to" || return; fi
  # Since it was staged, or served before, a way back may have set later times.
  [ -d "$own_dir/$to" ] && stamp "$own_dir/$to" || return
  [ -e "$intent_file" ] || note || return
  files fill_missing && point "$to" "$ready_link"
}
onward() { say=$(each forth 2>&1) || refuse_path "$current_link" "$say"; }
# A chain with the key of another is not gone back to. Before the switch there are only links to undo, whatever it was.
back() {
  ! stays_same || return 0
  ! points_to "$to" || whole || return 0
  if noted; then unlay
  elif ! points_to "$to"; then return
  elif [ "$from" = - ]; then rm -f "$current_link" && if [ "$in_place" ]; then files pour; fi
  else stamp "$own_dir/$from"; point "$from"; fi
}
# Whether there is an intent that records what was at the paths.
noted() { { read_line && read_line && read_line; } 2>/dev/null <"$intent_file"; }
# Restores everything as the intent has it, from any state that a dead program left: first the content, by one rename, then
# the files, then `current`. The original times come back too, unless a reload began: the server may have read our files,
# and take nothing that is not later.
unlay() {
  restored_files='' reloaded=
  ! begun || reloaded=1
  if [ "$from" = - ]; then rm -f "$current_link"
  elif [ -d "$own_dir/$from" ] && ! points_to "$from"; then point_link "$from" current; fi || return
  { read_line && read_line && while read_line; do unlaid || return; done; } <"$intent_file"
  if [ "$was" = - ]; then rm -f "$current_link"
  elif ! points_to "$was"; then point_link "$was" current; fi || return
  [ -z "$reloaded" ] || postdate "$restored_files" "$own_dir/$to/fullchain.pem"
  [ "$from" = "$was" ] || rm -rf "${own_dir:?}/$from" || return
  [ -e "$own_dir/previous" ] || rm -f "$own_dir/previous"
  rm -f "$own_dir/next" "$intent_file" && flush "$own_dir"
}
# One line of the intent. A link that another program has put there since stays.
unlaid() {
  fields=${line#* } file_path=${line#* * } file_dir=${file_path%/*}/
  named "${fields%% *}"
  # What is restored below, and no link that another program put there.
  case $line in plain* | over* | link*) other || restored_files=$restored_files$file_path$nl ;; esac
  case $line in
  'was '*) was=$fields ;;
  'plain '*)
    beside new; rm -f "$beside_path"
    beside found
    if [ -e "$beside_path" ]; then
      if ! other && { [ -L "$file_path" ] || [ ! -e "$file_path" ]; }; then mv -fT "$beside_path" "$file_path" && flush "$file_dir"
      else rm -f "$beside_path"; fi
    fi
    ;;
  'over '*)
    read_line
    found_file=$own_dir/$from/$file_name
    # Without the copy, everything was restored already. The mode comes last: it may be wider than that of our key.
    [ ! -f "$found_file" ] || {
      { cmp -s "$found_file" "$file_path" && { [ "$reloaded" ] || [ "$(stat -c %Y "$found_file")" = "$(stat -c %Y "$file_path")" ]; }; } ||
        { cat "$found_file" >"$file_path" && touch -r "$found_file" "$file_path" && flush "$file_path"; }
    } && chown "${line% *}" "$file_path" && chmod "${line#* }" "$file_path"
    ;;
  'none '*)
    beside new; rm -f "$beside_path"
    other || if [ -L "$file_path" ] || cmp -s "$own_dir/$to/$file_name" "$file_path"; then rm -f "$file_path"; fi
    ;;
  'link '*)
    read_line
    beside new; rm -f "$beside_path"
    [ "$(readlink "$file_path")" = "$line" ] || other || { ln -s "$line" "$beside_path" && mv -fT "$beside_path" "$file_path" && flush "$file_dir"; }
    ;;
  esac
}
# A link that by now leads elsewhere.
other() { [ -L "$file_path" ] && ! { within "$(readlink "$file_path")" && in_own_dir; }; }
# Where there was no pair and the configuration is broken anyway, the new pair is better than none.
prefer_new() { [ "$base" != nothing ] || { contact; forth || refuse_path "$current_link" "cannot be switched"; }; }
# Ends a switch: records the folder to go back to, and drops the intent or the staged generation.
forget() {
  ! stays_same || return 0
  # shellcheck disable=SC3013 # dash, ash and bash have it
  if ! [ "$current_link" -ef "$own_dir/$to" ]; then
    rm -f "$intent_file"
    # An intent that a loss of power emptied names none.
    [ -z "$to" ] || rm -rf "${own_dir:?}/$to"
    return
  fi
  # A restored backup may have made a folder of the link.
  [ -L "$own_dir/previous" ] || rm -rf "$own_dir/previous"
  [ "$from" = - ] || point_link "$from" previous "$stage_dir.l/$from"
  if noted; then mv -fT "$intent_file" "$own_dir/found"
  else
    rubbish_dirs=$(rubbish echo)
    IFS=$nl
    # shellcheck disable=SC2086 # a line each
    rm -rf "$intent_file" $rubbish_dirs
    unset IFS
  fi
}
# Drops the files that were found: the way back to them is no longer needed.
spend() {
  ! stays_same && [ -e "$own_dir/found" ] || return 0
  { read_line; read_line; while read_line; do spent; done; } <"$own_dir/found"
  rm -f "$own_dir/found"
}
spent() {
  file_path=${line#* * } file_dir=${file_path%/*}/
  case $line in
  'plain '*) beside found; rm -f "$beside_path" ;;
  'link '*) read_line; ! within "$line" || in_own_dir || [ ! -d "$linked_dir" ] || leave ;;
  esac
}
# Another folder of certd, to which the paths led: that of a renamed certificate is removed. One that may still be read stays,
# and a look reports it.
leave() {
  ! asked "$linked_dir" || return 0
  resolve_dir "$base_dir"
  if [ "${linked_dir%/*}" = "$real_path/.certd" ] && [ ! -e "$linked_dir/intent" ] && [ ! -e "$linked_dir/found" ] && ! followed
  then rm -rf "$linked_dir"
  else printf '%s\n' "$linked_dir" >>"$own_dir/left"; fi
}
# Whether $linked_dir may still be read: through a link in this folder, or because a file of it had no path among ours.
followed() {
  set +f
  for pem_link in "$linked_dir"/current/*.*; do
    grep -qF "/${linked_dir##*/}/current/${pem_link##*/}" "$own_dir/found" || { set -f; return 0; }
  done
  for pem_link in "$base_dir"/* "$base_dir"/.[!.]*; do
    set -f
    [ ! -L "$pem_link" ] || case $(readlink "$pem_link") in *".certd/${linked_dir##*/}/current/"*) return 0 ;; esac
  done
  return 1
}
changes() { stays_same || changed=1; }
# Before the reload: the server may read the new files from here on.
begin() { ! noted || { echo reloaded >>"$intent_file"; flush "$intent_file"; }; }
commit() {
  each same
  each spend
  in_change=1 links='' changed=''
  each contact
  if [ "$links" ] && [ "$tested" ] && ! sound; then
    # Only links have changed.
    say=$out in_change=
    undo
    sound && refuse "links $links$nl$say"
    answer rolled-back "$say"
    exit 20
  fi
  each changes
  onward
  in_change=
  if ! sound; then
    say=$out last_verdict=broken-before
    if ! way_back; then last_verdict=placed
    else
      undo
      if [ "$changed" ] && sound; then
        last_verdict=rolled-back
        check reload_commands "$reload_time"
      # A test that passed before and fails since fails because of the switch.
      elif [ "$changed" ] && [ "$tested" ]; then last_verdict=rolled-back
      else each prefer_new; fi
    fi
    say=$say$torn_say
  elif each begin; check reload_commands "$reload_time"; then
    say='' last_verdict=committed
  elif
    # A reload that fails only with the new pair is the new pair's fault. One that fails with both means that the server
    # is down: the new pair, which passed the test, stays for its next start.
    say=$out last_verdict=placed
    way_back
  then
    undo
    if [ "$changed" ] && sound && check reload_commands "$reload_time"; then last_verdict=rolled-back
    else
      words=$say torn_say=
      each contact
      onward
      say=$words
    fi
    say=$say$torn_say
  else say=$say$torn_say; fi
  each forget
  answer "$last_verdict" "$say"
  case $last_verdict in committed | placed) ;; *) exit 20 ;; esac
}

# --- rollback: under the locks, after the commit ---

# Puts the intent back, so that the next dialogue can finish a rollback that dies.
reopen() {
  ! stays_same && whole || return 0
  lays=
  if [ -e "$own_dir/found" ]; then mv -fT "$own_dir/found" "$intent_file"; elif [ "$in_place" ]; then note; fi
}
ours() { stays_same || { [ "$from" != - ] && points_to "$to"; }; }
rollback() {
  each ours || { answer kept "changed since, or nothing was there before"; return; }
  way_back || { answer kept "${torn_say#"$nl"}"; return; }
  try "$intent_file" each reopen
  undo
  if sound; then
    check reload_commands "$reload_time"
    each forget
    if [ "$torn_say" ]; then answer kept "${torn_say#"$nl"}; the rest went back"; else answer back "$out"; fi
  else
    words=$out
    each contact
    onward
    say=$words
    sound && check reload_commands "$reload_time"
    each forget
    answer kept "$say"
  fi
}

# --- the end of a commit that stays ---

unfound() { [ ! -e "$own_dir/found" ]; }
# Another dialogue may have switched since.
serve() { ! points_to "$to" || spend; }
served() { each serve; }

# --- look: the same findings, but no refusal ends it ---

look_at() {
  [ "$found_kind" ] || [ ! -d "$file_dir" ] || check_dir "${file_dir%/}"
  [ "$found_kind" ] || check_dirs
  [ "$found_kind" ] || check_form
  [ "$found_kind" ] || find_kind "$file_path" "$link_to"
  # The next delivery replaces such links.
  case $found_kind in far | stray) found_kind='link' ;; esac
  body="${body}at $name $file_role $found_kind$nl" found_kind=
}
plain_key() { [ -L "$file_path" ] || [ ! -f "$file_path" ] || [ "$file_role" = cert.der ] || ! with_key || echo "$file_path"; }
# Files with a key that too many users can read, delivered ones and those to be replaced: at most nine.
find_exposed() {
  key_files=$(find_keys; files plain_key)
  IFS=$nl
  # shellcheck disable=SC2086 # a line each
  [ -z "$key_files" ] || key_files=$(ls -ln $key_files 2>/dev/null)
  # shellcheck disable=SC2086 # a line each
  set -- $key_files
  unset IFS
  exposed_count=0
  for key_entry; do
    file_path=/${key_entry#* /} exposes=
    key_mode_of "${file_path##*/}"
    case $file_path in "$own_dir"/*) file_dir=$base_dir/ ;; *) file_dir=${file_path%/*}/ ;; esac
    # shellcheck disable=SC2086 # fields: mode, links, user, group
    set -- $key_entry
    case $1 in ???????--*) ;; *) ! lets_in - - || exposes=1 ;; esac
    # For a file that certd did not write, the group is not judged.
    case $file_path:$file_mode:$1 in "$own_dir"/*:?4?:* | *:????--*) ;; "$own_dir"/*) ! lets_in - "$4" || exposes=1 ;; esac
    [ -z "$exposes" ] || [ $((exposed_count += 1)) -gt 9 ] || body="${body}exposed $name $1 $file_path$nl"
  done
}
inspect() {
  have='' found_kind=''
  list_files
  # A problem of the whole certificate is reported with its first file.
  read_current
  [ -z "$found_kind" ] || current_gen=-
  files look_at
  assess
  find_exposed
  digest_all "$paths" ''
  files digests
  [ "$have" = "$sums" ] && is_same=yes || is_same=no
  find_left
  body="${body}current $name $current_gen${nl}digest $name ${have%% *}${nl}same $name $is_same$nl"
  file_dir=$base_dir/
  until [ -d "$file_dir" ]; do file_dir=${file_dir%/*/}/; done
  # shellcheck disable=SC2046 # fields; the fourth of the last line is what is left
  set -- $(df -Pk "$file_dir" 2>/dev/null | tail -n 1)
  case ${4:-x} in *[!0-9]*) ;; *) [ "$room" ] && [ "$4" -ge "$room" ] || room=$4 ;; esac
}
# Folders of certificates that are not in this look, and folders to which the paths led before.
find_left() {
  set +f
  for dir in "$base_dir"/.certd/*; do
    set -f
    if [ -L "$dir/current" ] && ! asked "$dir"; then body="${body}left $dir$nl"; fi
  done
  set -f
  [ ! -f "$own_dir/left" ] || while read_line; do
    [ ! -d "$line" ] || asked "$line" || body="${body}left $line$nl"
  done <"$own_dir/left"
}
glance() {
  # shellcheck disable=SC2317 # it is called
  refuse_path() { found_kind="foreign ${2##*: }"; }
  body='test ok'$nl room=
  sound || body="test failed$nl"
  list_dirs
  each inspect
  # What a look alone asks: src/node/look.sh.
  #@look
  #@tell
  answer seen "${body}room ${room:--}${nl}clock $(date -u +%s)${nl}output$nl$out"
}

#@forms
# --- the dialogue ---

rubble() { rm -rf "$stage_dir" "$stage_dir.i" "$stage_dir.f" "$stage_dir.l"; }
cleanup() {
  # A session ends with several signals in a row: the second must not interrupt the cleanup.
  trap '' HUP INT PIPE TERM
  unwatch
  each rubble
  empty=
  each emptied
  [ -z "$empty" ] || (under 0 vacate) >/dev/null
  IFS=$nl
  # shellcheck disable=SC2086 # a line each, innermost first
  [ -z "$made" ] || rmdir $made 2>/dev/null
}
# A first contact that came to nothing leaves no folder and no lock file, which is removed under that same lock.
# (In a trap of bash, a bare `return` returns the status from before the trap.)
emptied() { [ -L "$current_link" ] || ! rmdir "$own_dir" 2>/dev/null || rmdir "$base_dir/.certd" 2>/dev/null || empty=1; }
vacate() { each leave_lock; }
leave_lock() { [ -d "$own_dir" ] || { rm -f "$base_dir/.certd/.lock"; rmdir "$base_dir/.certd" 2>/dev/null; }; }
# A watchdog: not every `read` has a timeout, and nothing else cleans up after a `kill -9`. It is ended by a KILL, which
# cannot be missed and runs no trap; the short sleep that it leaves behind holds nothing open.
watch() {
  (
    waited=0 watchdog_pid=
    while [ $((waited += nap)) -le $idle ] && [ "$(age $$)" = "$born" ]; do sleep $nap; done
    # The number may belong to another process by now.
    [ "$(age $$)" != "$born" ] || kill -9 $$
    cleanup
  ) </dev/null >/dev/null 2>&1 &
  watchdog_pid=$!
}
unwatch() {
  [ -z "$watchdog_pid" ] || { kill -9 "$watchdog_pid"; wait "$watchdog_pid"; }
  watchdog_pid=
} 2>/dev/null
next_word() { read_line || line=; unwatch; }

if command -v sha256sum >/dev/null; then sum() { sha256sum "$@"; }
elif busybox sha256sum </dev/null >/dev/null 2>&1; then sum() { busybox sha256sum "$@"; }
else sum() { openssl dgst -sha256 -r "$@"; }; fi
born=$(age $$)
for candidate in 'timeout -k 5' timeout; do our_uid=$($candidate 5 id -u 2>/dev/null) && timeout=$candidate && break; done
[ "$our_uid" ] || our_uid=$(id -u)
# If printf were a program, a key would be in its arguments.
[ "$(command -v printf)" = printf ] || refuse "unfit this shell has no printf of its own"

trap 'exit 10' HUP INT PIPE TERM
trap cleanup EXIT
receive
each check_parameters
if [ "$look" ]; then glance; exit; fi
list_dirs
each make_dirs
# What is asked later is looked at then.
dir_lines=
under() {
  patience=$1 task=$2 IFS=$nl
  # shellcheck disable=SC2086 # a line each
  set -- $locks
  unset IFS
  locked "$@"
  case $? in
  0) ;;
  20) exit 20 ;;
  75) refuse locked ;;
  *) refuse "unfit the lock could not be taken" ;;
  esac
}
each settled || { each inherit; under $lock_wait recovery; }
# If the lock is taken, the next dialogue tidies up.
each untidy || (under 0 tidy) >/dev/null
each decide
each stage
body='test ok'$nl tested=1
sound || body="test failed$nl" tested=
each bases
watch
answer prepared "$body${narrowed}clock $(date -u +%s)${nl}output$nl$out"
next_word
# A rehearsal never commits.
[ "$line$rehearsal" = commit ] || exit 0
# From here on the commit is finished even if the session ends.
trap '' HUP INT PIPE TERM
under $lock_wait commit
watch
next_word
if [ "$line" = rollback ]; then under $lock_wait rollback
else
  each tighten
  each unfound || (under 0 served) >/dev/null
fi
