certd=3
# The node program. It reads certificates from stdin, stages them beside what is there, and on "commit" switches, tests
# and reloads, or leaves everything as it was. Or it only looks. Any POSIX sh runs it (dash, busybox ash, bash); comments
# and indentation are stripped before it travels. The first line is the protocol's version. One file, since it travels as
# one.
#
# Invariants, after every line and through kill -9:
#   - Resolved at one instant, the paths are of one pair: content changes by one rename(2) of G/current. (Not so in place:
#     files that cannot be replaced, such as one that is mounted into a container, are written over, one after the other.)
#   - A key is in no argv, no environment, no here-document, and in no file that was ever wider than it should be.
#   - Before "commit" nothing that a server reads has changed; the end of stdin means "abort".
#   - What was found comes back as it was, with its inode, if the first contact fails or dies anywhere: links are laid only
#     after it is noted what they replace.
#   - A look makes nothing beside the certificates, changes nothing, and waits for no lock.
#
# G = folder of the chain + /.certd/NAME:
#   current    -> the folder that is read; all files are links through it (in place: that was written over them)
#   previous   -> the folder that was read before
#   intent        "from", "to", and what each path held where links are laid: there only while a switch is not yet proven
#   found         the same, proven here and not yet by the controller; until then the files that were found are beside
#                 their paths, as .NAME.certd-found
#   left          other folders of ours to which the paths led, and that somebody may still read
#   0-found       copies of what was there before certd came
#   .new-PID-*    staged by a running program, rubbish when PID is gone
set +a +e +x +v -f
umask 077
# shellcheck disable=SC3045 # every sh that there is has it; one that has not loses nothing
ulimit -c 0
LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin
export LC_ALL PATH
# An exported variable of the login that bears one of our names would carry what we put into it to every child.
unset ENV BASH_ENV CDPATH IFS l b v n i c s w e out nonce made limit
nl=$(printf '\n.') nl=${nl%.}
n=0 i=0 nonce=0 made='' locks='' narrowed='' watchdog='' timeout='' W='' look='' os='' rehearsal='' careful='' tested=''
lock_wait=30 test_time=30 reload_time=30 idle=600 nap=10

# --- answers ---

# verb, body
answer() { printf 'certd-node %s %s %s\n%s' "$nonce" "$1" "$(($(printf %s "$2" | wc -c)))" "$2"; }
# 20: told why, nothing is to be done any more
refuse() { answer refused "$1"; exit 20; }
path() {
  # In the middle of a change: first everything back, and what cannot go back is the greater trouble.
  [ -z "$careful" ] || { careful=; undo; each forget; }
  refuse "path $1$nl${2##*: }"
}
# path, command: what fails is told with its path and the system's own words
try() { w=$1; shift; e=$("$@" 2>&1) || path "$w" "$e"; }

# --- certificates, numbered from 1: each has its variables with its number ---

all='name gen older place F K C B own grp mod kmod t r sums base state from to was kinds lays rights'
load() {
  for v in $all; do eval "$v=\${$v$i-}"; done
  D=${F%/*}
  G=$D/.certd/$name S=$D/.certd/$name/.new-$$-$nonce
}
save() { for v; do eval "$v$i=\$$v"; done; }
each() { i=0; while [ "$i" -lt "$n" ]; do i=$((i + 1)); load; "$@" || return; done; }
# Each file of a certificate: its path is $p, its folder $h, its name in a generation $q, and the link to that $g.
files() {
  for q in fullchain privkey chain combined; do
    case $q in fullchain) p=$F ;; privkey) p=$K ;; chain) p=$C ;; *) p=$B ;; esac
    [ "$p" ] || continue
    h=${p%/*}/ g=.certd/$name/current/$q.pem
    [ "$h" = "$D/" ] || way
    "$@" || return
  done
}
# Links are relative, from where a folder really is to where the chain's is: a tree that was moved, copied, or mounted into
# a container under another path holds together.
way() {
  real "${h%/}"; u=$a v=
  real "$D"
  until case $a/ in "$u"/*) ;; *) false ;; esac; do u=${u%/*} v=../$v; done
  a=${a#"$u"} a=${a#/}
  g=$v${a:+$a/}$g
}
# folder -> $a; of one that is yet to be made, the part that is there counts
real() {
  set -- "$1" ''
  until a=$(cd -P "${1:-/}" 2>/dev/null && pwd -P); do set -- "${1%/*}" "/${1##*/}$2"; done
  a=${a%/}$2
}

# --- reading: builtins only, for they take no byte beyond the line ---

get() { IFS= read -r l; }
pem() {
  b=
  while get || exit 10; [ "$l" != . ]; do
    b=$b$l$nl
    [ ${#b} -lt 100000 ] || refuse "unfit a chain or a key of more than 100 kB"
  done
}
receive() {
  while get || exit 10; do
    v=${l#* }
    # An installed receiver checks each line here, against its own parameters: see src/node/receiver.
    #@permit
    case $l in
    'certd '*) [ "$v" = "$certd" ] || refuse "unfit the node speaks version $certd of the protocol, not $v" ;;
    'nonce '*) nonce=$v ;;
    'look '*) look=$v ;;
    'rehearsal '*) rehearsal=$v ;;
    'name '*) n=$((n + 1)) i=$n; unset "chain$i" "key$i"; for b in $all; do eval "$b= $b$i="; done; name=$v; save name ;;
    'generation '*) gen=$v; save gen ;;
    'older '*) older=$v; save older ;;
    'fullchain '*) F=$v; save F ;;
    'key '*) K=$v; save K ;;
    'chain '*) C=$v; save C ;;
    'combined '*) B=$v; save B ;;
    'in-place '*) place=$v; save place ;;
    'owner '*) own=$v; save own ;;
    'group '*) grp=$v; save grp ;;
    'mode '*) mod=$v; save mod ;;
    'key-mode '*) kmod=$v; save kmod ;;
    'test '*) t=$t=$v$nl; save t ;;
    'reload '*) r=$r=$v$nl; save r ;;
    # What the files are to be, one after the other: without their text, when it is only asked whether they are that.
    'sum '*) sums="$sums$v "; save sums ;;
    'chain-pem '*) sums="$sums$v "; save sums; pem; eval "chain$i=\$b" ;;
    'key-pem '*) sums="$sums$v "; save sums; pem; eval "key$i=\$b" ;;
    end) b=; return ;;
    *) refuse "unfit a line of the dialogue is not understood" ;;
    esac
  done
}

# --- children: nothing of ours to read, signals as usual, bounded in time, their words capped and private ---

child() { trap - HUP INT PIPE TERM; umask 22; exec "$@"; }
# seconds, argument vector (a line each, after "=") -> status; words in $out
run() {
  limit=$1 c=$2 IFS=$nl
  # shellcheck disable=SC2086 # one word a line
  set -- $c
  unset IFS
  for a; do shift; set -- "$@" "${a#=}"; done
  rm -f "$W/pipe"
  out=$(mkfifo "$W/pipe" 2>&1) || return
  # After the cap the rest is drained, not cut off: neither a chatty command nor a daemon that it starts dies of SIGPIPE.
  { dd bs=1 count=4000 2>/dev/null; exec cat >/dev/null; } <"$W/pipe" >"$W/out" 2>/dev/null 9>&- &
  w=$!
  if [ "$timeout" ]; then
    # shellcheck disable=SC2086 # two words
    (child $timeout "$limit" "$@") </dev/null >"$W/pipe" 2>&1 9>&-
    s=$?
  else
    (child "$@") </dev/null >"$W/pipe" 2>&1 9>&- &
    c=$!
    (sleep "$limit"; kill -9 $c) </dev/null >/dev/null 2>&1 9>&- &
    e=$!
    wait $c; s=$?
    kill $e 2>/dev/null
  fi
  # The reader ends with the last writer. A daemon that keeps our pipe is not waited for.
  c=0
  while [ $c -lt 100 ] && kill -0 $w 2>/dev/null; do sleep 0.01 2>/dev/null || { sleep 1; c=100; }; c=$((c + 1)); done
  out=$(cat "$W/out")
  case $s in 0) ;; 124 | 137) out="$out${out:+$nl}(ended after $limit seconds)" ;; *) out=${out:-exit status $s} ;; esac
  return $s
}
# t or r, seconds: every distinct command once; at the first that fails its words are in $out
check() {
  ran=$nl$nl j=0
  while [ $j -lt "$n" ]; do
    j=$((j + 1))
    eval "c=\$$1$j"
    case $ran in *"$nl$nl$c$nl"*) continue ;; esac
    ran=$ran$c$nl
    run "$2" "$c" || return
  done
}

# --- locks: held by a subshell each, so that one descriptor is enough for any number, and the kernel frees them ---

# Lock files, in one order for everybody: $task with all of them, and all within $patience seconds. 75: not had in time.
locked() {
  [ $# -gt 0 ] || { "$task"; return; }
  lock=$1; shift
  (take || exit 75; locked "$@")
}
again() { [ $((patience -= 1)) -ge 0 ] && sleep 1; }
take() {
  if command -v flock >/dev/null; then
    while :; do
      exec 9>>"$lock"
      until flock -n 9; do again || return 1; done
      # Who had it before may have taken the file away with it.
      # shellcheck disable=SC3013 # dash, ash and bash have it
      [ -e /proc/self/fd/9 ] && ! [ "$lock" -ef /proc/self/fd/9 ] || return 0
    done
  fi
  # A symlink is made and filled in one call; a folder would have a moment without its owner's number.
  mine=$lock.held
  until ln -s "$$.$(age $$)" "$mine" 2>/dev/null; do
    held=$(readlink "$mine")
    if [ "$held" ] && [ "$held" != "${held%%.*}.$(age "${held%%.*}")" ]; then
      # Taken away by rename and looked at again: a second breaker gives the lock of the first back.
      mv -fT "$mine" "$mine.$$" && [ "$(readlink "$mine.$$")" != "$held" ] && mv -fT "$mine.$$" "$mine"
      rm -f "$mine.$$"
    else again || return 1; fi
  done 2>/dev/null
  trap 'rm -f "$mine"' EXIT
}
# When a process began, and in which boot: its number alone comes round again.
age() {
  b=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
  IFS= read -r s 2>/dev/null <"/proc/$1/stat" || { echo gone; return; }
  # shellcheck disable=SC2086 # fields
  set -- ${s##*) }
  # A zombie does nothing any more.
  [ "$1" = Z ] && echo gone || echo "$b.${20}"
}

# --- what is there ---

# What fails is told by the caller, from $w and $e.
folder() {
  w=$1
  # Another dialogue may be first.
  [ -d "$w" ] || { e=$(mkdir -m755 "$w" 2>&1) && made=$w$nl$made; } || [ -d "$w" ] || return
  safe "$w"
}
# Nobody but root and us can swap what is in it. Further above (second word) a sticky bit is enough, since nothing is made
# there, and so is the group staff (50), to which Debian's older releases give /usr/local.
safe() {
  e=$(ls -ldn "$1/." 2>&1) || return
  # shellcheck disable=SC2086 # fields: mode, links, user, group
  set -- "$1" "${2-}" $e
  [ "$5" = 0 ] || [ "$5" = "$me" ] || path "$1" "belongs to user $5, who could swap what is in it"
  # An ACL that lets anybody write shows in the bits of the group, and not everywhere as a "+".
  case $2$3:$6 in
  above?????????[tT]*) return 0 ;;
  above????????w* | ????????w* | *+:*) ;;
  above?????w*:0 | above?????w*:50) [ "$(getfacl -cps "$1" 2>/dev/null)" ] || return 0 ;;
  esac
  case $3 in ?????w* | ????????w*) path "$1" "others may write there ($3)" ;; esac
}
# Every folder in which a name of the path is looked up, by way of links too: who can put another link there, or another
# folder, leads us elsewhere between two calls.
above() {
  [ "$q" = fullchain ] || [ "$h" != "$D/" ] || return 0
  walk "${h%/}"
  for v in "$D/.certd" "$G"; do [ ! -L "$v" ] || walk "$v"; done
}
walk() {
  u=$1 a='' c=0
  while [ "$u" ] && [ $c -le 40 ]; do
    w=${u%%/*} u=${u#"$w"} u=${u#/}
    case $w in '' | .) continue ;; ..) a=${a%/*}; continue ;; esac
    # What is yet to be made is made by us.
    safe "${a:-/}" above || return 0
    w=$a/$w
    [ -L "$w" ] || { a=$w; continue; }
    # Below a sticky bit a link can be anybody's.
    # shellcheck disable=SC2046 # fields: mode, links, user
    set -- "$1" $(ls -ldn "$w")
    [ "$4" = 0 ] || [ "$4" = "$me" ] || path "$w" "is a link of user $4, who could let it lead elsewhere"
    e=$(readlink "$w")
    case $e in /*) a= ;; esac
    u=$e/$u c=$((c + 1))
  done
  [ $c -le 40 ] || path "$1" "too many links lead there"
}
# path, our link -> $k: link, far (the same, written otherwise than today), stray (into another folder of ours: the path or
# the certificate's name was changed), plain or none
kind() {
  k=none
  if [ -L "$1" ]; then
    k=$(readlink "$1")
    if [ "$k" = "$2" ]; then k='link'
    elif ! within "$k"; then path "$1" "is a link to $k, not made by certd; put a plain file there, or nothing"
    elif [ "${k##*/}" = "$q.pem" ] && own; then k=far
    else
      k=
      trusted "$o"
      [ "$k" ] || k=stray
    fi
  elif [ -d "$1" ]; then path "$1" "Is a directory"
  elif [ -f "$1" ]; then
    k=
    shape "$1"
    [ "$k" ] || k=plain
  elif [ -e "$1" ]; then path "$1" "is no regular file"
  fi
}
# a link's text, read in $h -> whether it leads into a certificate's folder of ours: $o, as it really is, by way of $via
within() {
  case $1 in
  */current/fullchain.pem | */current/privkey.pem | */current/chain.pem | */current/combined.pem) o=${1%/current/*} ;;
  *) return 1 ;;
  esac
  case $o in /*) ;; *) o=$h$o ;; esac
  via=$o
  real "$o"; o=$a
  case ${o%/*} in */.certd) ;; *) return 1 ;; esac
}
own() { real "$D"; [ "$o" = "$a/.certd/$name" ]; }
# What it has counts as ours, and as a fence ($top), where nobody else can have put it there. Where it is gone, the link is
# all that there is, and nothing is read through it: somebody might make it anew.
trusted() {
  [ -d "$1" ] || { k=far; return; }
  safe "$1"
  safe "${1%/*}"
  walk "$via"
  # That of another one which is asked for as well says nothing of ours.
  ! asked "$1" || return 0
  v=$(readlink "$1/current")
  case $v in
  *[!0-9a-f.-]*) ;;
  [1-9]*-*) [ "$top" ] && ! newer "${v%%-*}" "${top%%-*}" || top=$v ;;
  esac
}
# A file that is taken over is empty, or PEM of the kind that its path is for.
shape() {
  [ -s "$1" ] || return 0
  u=CERTIFICATE v='PRIVATE KEY'
  case $q in privkey) v=$u u='PRIVATE KEY' ;; combined) u= ;; esac
  if holds "$u" "$1"; then return
  elif holds "$v" "$1"; then path "$1" "holds no $u, but a $v; are the paths swapped in the configuration?"
  elif holds '' "$1"; then path "$1" "holds no $u; correct the path in the configuration, or move the file away"
  else path "$1" "is neither empty nor PEM; correct the path in the configuration, or move the file away"; fi
}
# kind of block, file
holds() { grep -qE -- "^-----BEGIN [A-Z0-9 ]*$1-----" "$2"; }
digest() { d=-; [ ! -f "$1" ] || { d=$(sum <"$1"); d=${d%% *}; }; }
digests() { digest "$p"; have="$have$d "; }
leads() {
  cur=-
  if [ -L "$G/current" ]; then cur=$(readlink "$G/current")
  elif [ -e "$G/current" ]; then
    path "$G/current" "is no link (restored from a backup?); in its folder this helps -> mv current 0-restored && ln -s 0-restored current"
  fi
  case $cur in */* | .*) path "$G/current" "is a link to $cur, not made by certd" ;; esac
}
kinds() { kind "$p" "$g"; kinds="$kinds$k "; }
scan() {
  kinds='' have='' top=''
  files kinds
  leads
  files digests
  seen="$kinds$cur $have"
}
newer() {
  [ ${#1} -ne ${#2} ] || { expr "x$1" \> "x$2" >/dev/null; return; }
  [ ${#1} -gt ${#2} ]
}

# --- who may read: nobody who could not before, and what holds a key is never for everybody ---

# From what is at $p: $m and, where they are not ours, $user and $group; $acl, when named users of an ACL go on reading it.
# $lost: who could read a key there and will not any more. Said without what the configuration says.
rule() {
  of
  user='' group='' acl='' lost='' m=600
  case $q in privkey | combined) ;; *) m=644 ;; esac
  # shellcheck disable=SC2086 # fields: mode, links, user, group
  set -- $d
  case ${1-} in '') return ;; -r-*) k=4 ;; *) k=6 ;; esac
  case $m in
  644)
    case $1 in ????r??r*) m=${k}44 ;; ????r*) m=${k}40 ;; ???????r*) m=${k}04 ;; *) m=${k}00 ;; esac
    user=${3#0} group=${4#0}
    ;;
  *)
    # What holds no key says nothing of who may read one, but for an empty file that was made for some and not for all.
    if [ -s "$p" ]; then grep -q 'PRIVATE KEY-----' "$p"; else case $1 in ???????---*) ;; *) false ;; esac; fi || return 0
    m=${k}00 by=
    # Where it is open and a folder is not, that folder's group is who reads it.
    case $1 in ???????r*) if lets_in - -; then lost='everybody'; else by=$shut; fi ;; esac
    [ "$3" = 0 ] || ! lets_in "$3" - || user=$3
    case $1 in ????r*) ;; *) return 0 ;; esac
    # With an ACL these bits are its mask, and say nothing of the group.
    case $1:$(getfacl -cps "$p" 2>/dev/null) in
    *+:* | *:?*) [ "$h" = "$D/" ] && command -v setfacl >/dev/null && m=${k}40 acl=1 group=$4 || lost='users of its ACL' ;;
    *) if lets_in - "$4"; then m=${k}40 group=$4; elif [ "$by" ] && lets_in - "$by"; then m=${k}40 group=$by; fi ;;
    esac
    ;;
  esac
}
# $d: the fields of the file at $p, out of $is
of() { d=${is%" $p$nl"*}; if [ "$d" = "$is" ]; then d=; else d=${d##*"$nl"}; fi; }
# user or "-", group or "-": whether every folder that leads to $p, as written and as it is, lets them in. Else $shut: the
# group of one that does not.
lets_in() {
  v=$1 a=" $2 " shut=
  # shellcheck disable=SC2046 # fields: the name is the third
  [ "$v" = - ] || { set -- $(ls -lL "$p"); a=" $(id -G "$3" 2>/dev/null) "; }
  set --
  for w in "${h%/}" "$(cd -P "$h" 2>/dev/null && pwd -P)"; do
    set -- "$@" "$w/."
    while [ "$w" ]; do w=${w%/*}; set -- "$@" "$w/."; done
  done
  e=$(ls -ldn "$@" 2>/dev/null) || return
  IFS=$nl
  for e in $e; do
    unset IFS
    # shellcheck disable=SC2086 # fields: mode, links, user, group
    set -- $e
    # What an ACL says is not seen here. The folder of the chain says it for what is delivered too.
    case $1:$3:$a in
    *+:*) [ "$h" = "$D/" ] || return 1 ;;
    esac
    case :$3:$a in
    *:"$v":*) e=${1#???} ;;
    *" $4 "*) e=${1#??????} ;;
    *) e=${1#?????????} ;;
    esac
    case $e in [xst]*) ;; *) shut=$4; return 1 ;; esac
  done
}
# Of each file, as it is now: a line in $rights. $askew: it is not as it is to be.
judge() {
  rule
  rights="$rights$q $m ${user:--} ${group:--} ${acl:--} $lost$nl"
  wish
  # shellcheck disable=SC2086 # fields
  set -- $d
  [ "${1-}" ] || return 0
  k=$m v=-
  while [ "$k" ]; do case $k in 6*) v=${v}rw- ;; 4*) v=${v}r-- ;; *) v=$v--- ;; esac; k=${k#?}; done
  case $1 in "$v"*) ;; *) askew=1 ;; esac
  v=" $3 " a=" $4 "
  # shellcheck disable=SC2046 # fields, with names
  case $own$grp in *[!0-9]*) set -- $(ls -lL "$p"); v="$v$3 " a="$a$4 " ;; esac
  case $v in *" ${user:-$me} "*) ;; *) askew=1 ;; esac
  case $a in *" ${group:-$4} "*) ;; *) askew=1 ;; esac
}
assess() {
  is=$nl$(ls -lnL "$F" "$K" ${C:+"$C"} ${B:+"$B"} 2>/dev/null)$nl rights=$nl askew=
  files judge
}
# What was judged of $q, and over that what the configuration says.
right() {
  e=${rights#*"$nl$q "}
  # shellcheck disable=SC2086 # words
  set -- ${e%%"$nl"*}
  m=$1 user=${2#-} group=${3#-} acl=${4#-}
  shift 4
  lost=$*
}
wish() {
  user=${own:-$user} group=${grp:-$group}
  case $q in
  privkey | combined)
    [ -z "$own$grp$kmod" ] || lost=''
    [ -z "$kmod" ] || m=${kmod#0} acl=''
    case $m in ?4?) group=${group:-$(id -g)} ;; esac
    ;;
  *) m=${mod:-$m} m=${m#0} ;;
  esac
}
# file [found]: it holds what is at $p or will be, in a folder that nobody else enters: owner and mode as they are to be, or
# as it was found. The words of a failure go where those of a command go.
guard() {
  right
  # By mistake a key may lie where a chain is to be.
  if [ -z "${2-}" ]; then wish; else case $q in fullchain | chain) ! grep -q 'PRIVATE KEY-----' "$1" || m=600 ;; esac; fi
  if [ "$user$group" ] && ! chown "$user${group:+:$group}" "$1" 2>/dev/null; then
    [ "${2-}" ] || [ -z "$own$grp" ] ||
      { echo "cannot be given to $user:$group, as [install] says (the node does not know them, or only root may)" >&2; return 1; }
    case $q in privkey | combined) m=600 acl='' ;; esac
  fi
  chmod "$m" "$1" || return
  [ -z "$acl" ] || { getfacl -cnp "$p" | setfacl --set-file=- "$1" && setfacl -n -m m::r,o::- "$1"; } 2>/dev/null || chmod 600 "$1"
  [ ! -d /sys/fs/selinux ] || chcon --reference="$p" "$1" 2>/dev/null || :
}
# What is kept below $G and holds a key is for nobody whom the one that is read now is not for, now that it is proven.
tighten() {
  q=privkey
  right; wish
  k=$(set +f; grep -ls -- 'PRIVATE KEY-----' "$G"/[0-9]*/*.pem)
  case $m in ?4?) e='g-wx,o=' ;; *) e='go=' ;; esac
  IFS=$nl
  # shellcheck disable=SC2086 # a line each
  [ -z "$k" ] || chmod "$e" $k
  unset IFS
} 2>/dev/null

# --- prepare ---

# A path is made of each of these.
fit() {
  case $name in */* | .* | '') refuse "unfit a name that is no name" ;; esac
  case $nonce${gen#*-}/${gen%%-*} in *[!0-9a-f]*/* | */*[!0-9]*) refuse "unfit a generation that is none" ;; esac
  # The number is a UTC second, YYYYMMDDhhmmss, for all who read or write one. A look has none.
  case $look$gen in yes | [1-9]?????????????-?*) ;; *) refuse "unfit a generation that is none" ;; esac
  # First of all: the way to what begins nowhere has no end.
  for p in "$F" "$K" ${C:+"$C"} ${B:+"$B"}; do absolute; done
  case $F/ in / | "$K/") refuse "unfit chain and key need a path each" ;; esac
  case $own$grp in -* | *[!A-Za-z0-9_.@-]*) refuse "unfit the owner or the group is none" ;; esac
  case $mod in '' | 0[46][04][04]) ;; *) refuse "unfit the mode is none" ;; esac
  case $kmod in '' | 0[46][04]0) ;; *) refuse "unfit others could read the key with mode $kmod" ;; esac
}
absolute() { case $p in /*) ;; *) refuse "unfit paths must be absolute" ;; esac; }
places() {
  files above
  # A dialogue that ends in vain takes the folders along that it made, until something is in them.
  j=0
  until files home && folder "$D/.certd" && folder "$G" && closed; do
    [ $((j += 1)) -lt 9 ] || path "$w" "$e"
  done
  locks=$locks$D/.certd/.lock$nl
  # Two dialogues for one server with folders of their own must not test each other's halves.
  if [ -w /run ] && mkdir -p /run/certd; then b=$(printf %s "$t$r" | sum) locks=$locks/run/certd/${b%% *}.lock$nl; fi
}
home() { [ "$q" != fullchain ] && [ "$h" = "$D/" ] || { h=${h%/}; folder "${h:-/}"; }; }
# Nobody else enters the folder of what is staged, and files in it are as private as they are made: a default ACL above it
# would make the umask of no effect, and some file systems know no modes. The two files are written to later.
closed() {
  for k in '' 1; do
    e=$(mkdir -m700 "$S" 2>&1) || return
    (set -C; umask 0; : >"$S/fullchain.pem"; umask 77; : >"$S/privkey.pem") 2>/dev/null
    e=$(ls -la "$S")
    case ${e#*"$nl"} in drwx------[!+]*"$nl-rw-rw-rw-"[!+]*"$nl-rw-------"[!+]*) return ;; esac
    rm -rf "$S"
    w=$G e="files there are not as private as they are made (a default ACL?); this may help -> setfacl -bk $D/.certd $G"
    [ "$k" ] || setfacl -bk "$D/.certd" "$G" 2>/dev/null || return
  done
  return 1
}
# A crash after a switch: what was switched to passes the test and stays, or what was there comes back.
settled() { [ ! -e "$G/intent" ]; }
recover() {
  ! settled || return 0
  { get && from=$l && get && to=$l; } <"$G/intent" || from=- to=
  # Who may read what is written over in place.
  [ -z "$place" ] || assess
  if [ "$to" ] && [ "$(readlink "$G/current")" = "$to" ]; then
    # What was being written over the files is written to its end.
    [ -z "$place" ] || try "$G/current" files pour
    check t "$test_time" || { [ "$from" = - ] && ! proven; } || try "$G/current" back
  elif noted; then try "$G/current" unlay
  elif [ "$place" ] && [ -L "$G/current" ]; then try "$G/current" files pour; fi
  forget
  spend
}
# Whether the test passed before.
proven() { while get; do [ "$l" != tested ] || return 0; done <"$G/intent"; false; }
# The folders that a dead program made.
inherit() {
  settled || while get; do case $l in 'made '*) made=$made${l#* }$nl ;; esac; done <"$G/intent"
}
recovery() { each recover; }
# Every folder of no more use, one a line: what is read now and was read before stays, and what was found first.
rubbish() {
  set +f
  for d in "$G"/[0-9]* "$G"/.new-*; do
    set -f
    # Not by a program, whose failure would make rubbish of what is served.
    # shellcheck disable=SC3013 # dash, ash and bash have it
    [ -e "$d" ] && ! [ "$d" -ef "$G/current" ] && ! [ "$d" -ef "$G/previous" ] || continue
    v=${d##*/}
    case $v in
    0-found) continue ;;
    .new-*) v=${v#.new-}; ! kill -0 "${v%%-*}" 2>/dev/null || continue ;;
    esac
    "$@" "$d"
  done
  set -f
}
untidy() { [ -z "$(rubbish echo)" ]; }
tidy() { each rubbish rm -rf; }
# A folder's name that is not taken: whoever wrote through the links made what is there something else than its name.
free() { k=$1 v=0; while [ -e "$G/$k" ]; do k=$1.$((v += 1)); done; }
decide() {
  scan
  free "$gen"
  state=$seen base=found from=$cur to=$k was=$cur turned=
  # Links that are to be files from now on are no longer right, whatever they lead to.
  case ${place:+1}$kinds in 1*link* | 1*far* | 1*stray*) turned=1 ;; esac
  assess
  # Written over in place, and by nobody since.
  [ -z "$place" ] || ! files copied "$G/$cur" || kinds='link link'
  case $kinds in
  *plain*) free 0-found; from=$k ;;
  # Under its own number, which goes on fencing, and which may be that of what comes.
  *stray*) free "${top:-0-found}.0"; from=$k ;;
  esac
  lays=$turned
  case $kinds in *plain* | *stray* | *far* | *none*) lays=1 ;; esac
  # shellcheck disable=SC2086 # the first two are the pair
  set -- $kinds
  case "$1 $2" in
  *plain* | *none*) ;;
  *) case $cur in [1-9]*-*) v=$cur ;; *) v=$top ;; esac; [ -z "$v" ] || base="managed ${v%%.*}" ;;
  esac
  # shellcheck disable=SC2086 # the same two
  set -- $have
  [ "$1" != - ] && [ "$2" != - ] || base=nothing
  # Where somebody made files of our links, links are made again, whatever is in the files.
  case $turned$askew$kinds:$cur in 1* | *stray* | *plain*:[1-9]*) ;; *) [ "$have" != "$sums" ] || base=unchanged ;; esac
  save state base from to was kinds lays rights
  # No number is compared as one: they have more digits than some shells' arithmetic, and what is there may have any.
  for v in "$cur" "$top"; do
    case $v in
    [1-9]*) [ "$base" = unchanged ] || [ "$older" ] || ! newer "${v%%-*}" "${gen%%-*}" || refuse "newer $name ${v%%-*}" ;;
    esac
  done
}
# file, text. A key is in no argument: the shell's own printf writes it. Not every shell knows why that failed.
write() { printf %s "$2" >"$1" 2>/dev/null || printf %s "$2" | cat >"$1"; }
writable() {
  # Nothing of ours is in the folder of a file elsewhere before the commit, and another dialogue may have taken it along.
  # shellcheck disable=SC2174 # its parent is there
  mkdir -pm755 "$h"
  [ -L "$p" ] || [ -w "$h" ] || path "$p" "its folder cannot be written (permission, or mounted read-only)"
  # What is written over keeps its ACL, and a mode for the group would be a mask for all whom that names.
  case $place$q$kmod in
  yesprivkey*40 | yescombined*40) [ -L "$p" ] || [ -z "$(getfacl -cps "$p" 2>/dev/null)" ] || path "$p" "has an ACL; this helps -> setfacl -b $p" ;;
  esac
}
stage() {
  [ "$base" != unchanged ] || return 0
  files writable
  e=$( { ln -s . "$S/a" && ln -s ./ "$S/b" && mv -fT "$S/b" "$S/a" && [ "$(readlink "$S/a")" = ./ ]; } 2>&1) ||
    refuse "unfit mv -T, which replaces a link by one rename, does not work here: ${e##*: }"
  rm -f "$S/a"
  have=
  files put
  b=; unset "chain$i" "key$i"
  [ "$have" = "$sums" ] || refuse "unfit $name: what was written differs from what was sent (digests)"
  try "$S" chmod 755 "$S"
  try "$S" stamp "$S"
  set +f
  try "$S" flush "$S"/*.pem "$S" "$G" "$D/.certd"
  set -f
}
# folder, always (its files are old) -> they are later, by whole seconds, than all that is at the paths: a server may look at
# no more (nginx from 1.27.4 on, where the inode is the same), or take nothing that is not later (hitch, ocserv).
stamp() {
  u='' a=''
  files list "$1"
  IFS=$nl b=$(date +%s) v=0
  # shellcheck disable=SC2086 # a line each
  for e in $(stat -Lc %Y $a 2>/dev/null); do [ "$e" -le "$v" ] || v=$e; done
  [ "$v" -ge "$((b - 1))" ] || v=${2:+$((b - 1))}
  # shellcheck disable=SC2086 # a line each
  [ -z "$v" ] || touch -cd "@$((v + 1))" $u
  v=$?
  unset IFS
  return $v
}
list() { u=$u$1/$q.pem$nl a=$a$p$nl; }
put() {
  eval "b=\$chain$i"
  case $q in
  fullchain) ;;
  chain) b=${b#*-----END CERTIFICATE-----"$nl"} ;;
  privkey) eval "b=\$key$i" ;;
  *) eval "b=\$key$i\$chain$i" ;;
  esac
  v=$S/$q.pem
  try "$v" write "$v" "$b"
  try "$p" guard "$v"
  right; wish
  [ -z "$lost" ] || narrowed="${narrowed}narrowed $name $q $lost$nl"
  digest "$v"; have="$have$d "
}
flush() { sync "$@" 2>/dev/null || sync; }
bases() { body="${body}base $name $base$nl"; }

# --- commit: under the locks ---

# To what `current` leads from now on: the one rename.
point() { lead "$1" current && if [ "$place" ]; then files pour; fi; }
# Over the file, whose inode, owner and mode stay, with a time that is no server's yet; what was not there goes. Whoever dies
# before the time is set has it set by the next.
pour() {
  v=$G/current/$q.pem
  if [ ! -f "$v" ]; then rm -f "$p"; return; fi
  if [ -f "$p" ]; then guard "$p" && { cmp -s "$v" "$p" || cat "$v" >"$p"; }; else cp -p "$v" "$p"; fi && touch -r "$v" "$p" && flush "$p"
}
lead() { rm -f "$G/next" && ln -s "$1" "$G/next" && mv -fT "$G/next" "$G/$2" && flush "$G"; }
same() { scan; settled && [ "$seen" = "$state" ] || refuse "changed $name"; }
# What cannot be undone keeps its intent, for the next dialogue.
undo() { try "$G/current" each back; }
# What the paths hold moves behind `current`, and no reader sees a difference. What is not there yet gets its link later.
contact() {
  [ "$base" != unchanged ] && [ "$lays" ] && [ ! -e "$G/intent" ] || return 0
  case $kinds in
  *plain* | *stray*)
    tries=0
    while :; do
      try "$G/$from" found
      ! files copied "$S.f" || break
      [ $((tries += 1)) -lt 3 ] || path "$F" "another program keeps writing it or its key"
    done
    try "$G/intent" note
    try "$G/$from" mv -T "$S.f" "$G/$from"
    try "$G/current" lead "$from" current
    ;;
  *) try "$G/intent" note ;;
  esac
  files lay
}
found() { rm -rf "$S.f" && mkdir -m700 "$S.f" && files copy && chmod 755 "$S.f" && flush "$S.f"; }
copy() { v=$S.f/$q.pem; [ ! -f "$p" ] || { cp -pL "$p" "$v" && guard "$v" found && touch -r "$p" "$v" && flush "$v"; }; }
copied() { digest "$p"; k=$d; digest "$1/$q.pem"; [ "$k" = "$d" ]; }
lay() {
  if [ "$place" ]; then
    [ ! -L "$p" ] || try "$p" flatten
  elif [ -L "$p" ]; then
    [ "$(readlink "$p")" = "$g" ] || { try "$p" relink; linked; }
  elif [ -f "$p" ]; then
    try "$p" keep
    try "$p" relink
    linked
  fi
}
# What the server is to follow, and rather that of a folder of its own.
linked() { if [ -z "$links" ] || [ "$h" != "$D/" ]; then links=$p; fi; }
beside() { v=$h.${p##*/}.certd-$1; }
# The file itself, so that whatever is special about it comes back with it; a copy where there can be no second name.
keep() { beside found; rm -f "$v" && { ln "$p" "$v" || { cp -p "$p" "$v" && touch -r "$p" "$v"; }; }; }
flatten() { beside new; k=$G/$from/$q.pem; rm -f "$v"; if [ -f "$k" ]; then cp -p "$k" "$v" && guard "$v" found && mv -fT "$v" "$p"; else rm -f "$p"; fi; }
# shellcheck disable=SC2174 # its parent is there
relink() { beside new; mkdir -pm755 "$h" && rm -f "$v" && ln -s "$g" "$v" && mv -fT "$v" "$p" && flush "$h"; }
fill() { [ "$place" ] || [ -L "$p" ] || relink; }
note() {
  {
    # Not written whole (no room, no stat), it is none.
    printf '%s\n%s\n' "$from" "$to" || return
    if [ "$lays" ]; then
      printf 'was %s\n' "$was" && { [ -z "$tested" ] || echo tested; } && files noting || return
      IFS=$nl
      for v in $made; do printf 'made %s\n' "$v"; done
      unset IFS
    fi
  } >"$S.i" && flush "$S.i" && mv -fT "$S.i" "$G/intent" && flush "$G"
}
noting() {
  if [ -L "$p" ]; then v=$(readlink "$p") && printf 'link %s %s\n%s\n' "$q" "$p" "$v"
  elif [ ! -f "$p" ]; then printf 'none %s %s\n' "$q" "$p"
  elif [ "$place" ]; then v=$(stat -c '%u:%g %a' "$p") && printf 'over %s %s\n%s\n' "$q" "$p" "$v"
  else printf 'plain %s %s\n' "$q" "$p"; fi
}
forth() {
  [ "$base" != unchanged ] || return 0
  if [ -d "$S" ]; then mv -fT "$S" "$G/$to" || return; fi
  [ -e "$G/intent" ] || note || return
  files fill && point "$to"
}
onward() { say=$(each forth 2>&1) || path "$G/current" "$say"; }
back() {
  [ "$base" != unchanged ] || return 0
  if noted; then unlay
  elif [ "$(readlink "$G/current")" != "$to" ]; then return
  elif [ "$from" = - ]; then rm -f "$G/current" && if [ "$place" ]; then files pour; fi
  else stamp "$G/$from" always; point "$from"; fi
}
# Whether there is an intent that tells what was at the paths.
noted() { { get && get && get; } 2>/dev/null <"$G/intent"; }
# Everything as the intent has it, in any state that a dead program left: first the content, by one rename, then the files,
# then `current`. The times are those that were found, not later ones: a server that has looked at ours in between, and takes
# nothing but what is later, is told by its reload or not at all.
unlay() {
  if [ "$from" = - ]; then rm -f "$G/current"
  elif [ -d "$G/$from" ] && [ "$(readlink "$G/current")" != "$from" ]; then lead "$from" current; fi || return
  { get && get && while get; do unlaid || return; done; } <"$G/intent"
  if [ "$was" = - ]; then rm -f "$G/current"
  elif [ "$(readlink "$G/current")" != "$was" ]; then lead "$was" current; fi || return
  [ "$from" = "$was" ] || rm -rf "${G:?}/$from" || return
  [ -e "$G/previous" ] || rm -f "$G/previous"
  rm -f "$G/next" "$G/intent" && flush "$G"
}
# A line of it. What somebody else has put there since stays.
unlaid() {
  b=${l#* } p=${l#* * } h=${p%/*}/
  case $l in
  'was '*) was=$b ;;
  'plain '*)
    beside new; rm -f "$v"
    beside found
    if [ -e "$v" ]; then
      if ! other && { [ -L "$p" ] || [ ! -e "$p" ]; }; then mv -fT "$v" "$p" && flush "$h"; else rm -f "$v"; fi
    fi
    ;;
  'over '*)
    get
    v=$G/$from/${b%% *}.pem
    # Where it is gone, everything was back already. The mode comes last: it may be wider than that of what is written over.
    [ ! -f "$v" ] || {
      { cmp -s "$v" "$p" && [ "$(stat -c %Y "$v")" = "$(stat -c %Y "$p")" ]; } ||
        { cat "$v" >"$p" && touch -r "$v" "$p" && flush "$p"; }
    } && chown "${l% *}" "$p" && chmod "${l#* }" "$p"
    ;;
  'none '*) beside new; rm -f "$v"; other || if [ -L "$p" ] || cmp -s "$G/$to/${b%% *}.pem" "$p"; then rm -f "$p"; fi ;;
  'link '*)
    get
    beside new; rm -f "$v"
    [ "$(readlink "$p")" = "$l" ] || other || { ln -s "$l" "$v" && mv -fT "$v" "$p" && flush "$h"; }
    ;;
  esac
}
# A link that leads elsewhere than to ours, by now.
other() { [ -L "$p" ] && ! { within "$(readlink "$p")" && own; }; }
# Where there was no pair, ours is better than none, if the configuration is broken anyway.
rather() { [ "$base" != nothing ] || { contact; forth || path "$G/current" "cannot be switched"; }; }
# The next folder to go back to is known, and so is what is of no more use.
forget() {
  [ "$base" != unchanged ] || return 0
  # shellcheck disable=SC3013 # dash, ash and bash have it
  if ! [ "$G/current" -ef "$G/$to" ]; then
    rm -f "$G/intent"
    rm -rf "${G:?}/$to"
    return
  fi
  # A backup may have made a folder of it.
  [ -L "$G/previous" ] || rm -rf "$G/previous"
  [ "$from" = - ] || lead "$from" previous
  if noted; then mv -fT "$G/intent" "$G/found"; else rm -f "$G/intent"; fi
}
# The way back to what was found is not needed any more.
spend() {
  [ "$base" != unchanged ] && [ -e "$G/found" ] || return 0
  { get; get; while get; do spent; done; } <"$G/found"
  rm -f "$G/found"
}
spent() {
  p=${l#* * } h=${p%/*}/
  case $l in
  'plain '*) beside found; rm -f "$v" ;;
  'link '*) get; ! within "$l" || own || [ ! -d "$o" ] || leave ;;
  esac
}
# Another folder of ours, to which the paths led: of a certificate that was renamed it goes. Where anybody may still read it,
# it stays, and a look names it.
leave() {
  ! asked "$o" || return 0
  real "$D"
  if [ "${o%/*}" = "$a/.certd" ] && [ ! -e "$o/intent" ] && [ ! -e "$o/found" ] && ! followed; then rm -rf "$o"
  else printf '%s\n' "$o" >>"$G/left"; fi
}
# Whether a folder is that of a certificate of this dialogue.
asked() {
  j=0
  while [ $j -lt "$n" ]; do
    j=$((j + 1))
    eval "v=\${F$j%/*}/.certd/\$name$j"
    # shellcheck disable=SC3013 # dash, ash and bash have it
    [ ! "$v" -ef "$1" ] || return 0
  done
  return 1
}
# By a link beside ours, or by one that was elsewhere: not each of its files had its path among ours.
followed() {
  set +f
  for v in "$o"/current/*.pem; do grep -qF "/${o##*/}/current/${v##*/}" "$G/found" || { set -f; return 0; }; done
  for v in "$D"/* "$D"/.[!.]*; do
    set -f
    [ ! -L "$v" ] || case $(readlink "$v") in *".certd/${o##*/}/current/"*) return 0 ;; esac
  done
  return 1
}
changes() { [ "$base" = unchanged ] || changed=1; }
commit() {
  each same
  each spend
  careful=1 links='' changed=''
  each contact
  if [ "$links" ] && [ "$tested" ] && ! check t "$test_time"; then
    # Nothing but links has changed.
    say=$out careful=
    undo
    check t "$test_time" && refuse "links $links$nl$say"
    answer rolled-back "$say"
    exit 20
  fi
  each changes
  onward
  careful=
  if ! check t "$test_time"; then
    say=$out verdict=broken-before
    undo
    if [ "$changed" ] && check t "$test_time"; then
      verdict=rolled-back
      check r "$reload_time"
    # What passed before and fails since is our doing.
    elif [ "$changed" ] && [ "$tested" ]; then verdict=rolled-back
    else each rather; fi
  elif check r "$reload_time"; then
    say='' verdict=committed
  else
    # A reload that fails with the new pair and works with the old one accuses the new one. One that fails with both
    # says that there is nothing to reload: the server is down, and the pair, which passed the test, waits for its start.
    say=$out verdict=placed
    undo
    if [ "$changed" ] && check t "$test_time" && check r "$reload_time"; then verdict=rolled-back
    else
      words=$say
      each contact
      onward
      say=$words
    fi
  fi
  each forget
  answer "$verdict" "$say"
  case $verdict in committed | placed) ;; *) exit 20 ;; esac
}

# --- rollback: under the locks, after the commit ---

# However this ends, the next dialogue can end it.
reopen() {
  [ "$base" != unchanged ] || return 0
  lays=
  if [ -e "$G/found" ]; then mv -fT "$G/found" "$G/intent"; elif [ "$place" ]; then note; fi
}
ours() { [ "$base" = unchanged ] || { [ "$from" != - ] && [ "$(readlink "$G/current")" = "$to" ]; }; }
rollback() {
  each ours || { answer kept "changed since, or nothing was there before"; return; }
  try "$G/intent" each reopen
  undo
  if check t "$test_time"; then
    check r "$reload_time"
    each forget
    answer back "$out"
  else
    words=$out
    each contact
    onward
    say=$words
    check t "$test_time" && check r "$reload_time"
    each forget
    answer kept "$say"
  fi
}

# --- the end of a commit that stays ---

unfound() { [ ! -e "$G/found" ]; }
# Another dialogue may have been here since.
serve() { [ "$(readlink "$G/current")" != "$to" ] || spend; }
served() { each serve; }

# --- look: what would be decided, without a word that ends it ---

at() {
  [ "$k" ] || [ ! -d "$h" ] || safe "${h%/}"
  [ "$k" ] || above
  [ "$k" ] || kind "$p" "$g"
  # The next delivery lays them anew.
  case $k in far | stray) k='link' ;; esac
  body="${body}at $name $q $k$nl" k=
}
# Files with a key in them that more people can read than are to, ours and those that are to be replaced: at most nine.
bare() {
  q=privkey
  right; wish
  k=$(
    set +f
    set -- "$G"/[0-9]*/*.pem
    for p in "$F" "$K" ${C:+"$C"} ${B:+"$B"}; do [ -L "$p" ] || [ ! -f "$p" ] || set -- "$@" "$p"; done
    grep -ls -- 'PRIVATE KEY-----' "$@"
  )
  IFS=$nl
  # shellcheck disable=SC2086 # a line each
  [ -z "$k" ] || k=$(ls -ln $k 2>/dev/null)
  # shellcheck disable=SC2086 # a line each
  set -- $k
  unset IFS
  k=0
  for x; do
    p=/${x#* /} y=
    case $p in "$G"/*) h=$D/ ;; *) h=${p%/*}/ ;; esac
    # shellcheck disable=SC2086 # fields: mode, links, user, group
    set -- $x
    case $1 in ???????--*) ;; *) ! lets_in - - || y=1 ;; esac
    # Who may read what is not ours yet is somebody else's word.
    case $p:$m:$1 in "$G"/*:?4?:* | *:????--*) ;; "$G"/*) ! lets_in - "$4" || y=1 ;; esac
    [ -z "$y" ] || [ $((k += 1)) -gt 9 ] || body="${body}exposed $name $1 $p$nl"
  done
}
inspect() {
  have='' k=''
  # What keeps a delivery from all files is told of the first.
  leads
  [ -z "$k" ] || cur=-
  files at
  assess
  bare
  files digests
  [ "$have" = "$sums" ] && k=yes || k=no
  lefts
  body="${body}current $name $cur${nl}digest $name ${have%% *}${nl}same $name $k$nl"
  h=$D/
  until [ -d "$h" ]; do h=${h%/*/}/; done
  # shellcheck disable=SC2046 # fields; the fourth of the last line is what is left
  set -- $(df -Pk "$h" 2>/dev/null | tail -n 1)
  case ${4:-x} in *[!0-9]*) ;; *) [ "$room" ] && [ "$4" -ge "$room" ] || room=$4 ;; esac
}
# Folders with keys of names that nobody asks about, and such as the paths led to before.
lefts() {
  set +f
  for d in "$D"/.certd/*; do
    set -f
    if [ -L "$d/current" ] && ! asked "$d"; then body="${body}left $d$nl"; fi
  done
  set -f
  [ ! -f "$G/left" ] || while get; do [ ! -d "$l" ] || asked "$l" || body="${body}left $l$nl"; done <"$G/left"
}
# Files that name another ACME client: lines of cron, units of timers that are enabled, and acme.sh's own folder.
renewers() {
  v='(^|[^a-z])(acme\.sh|certbot|lego|getssl|dehydrated)([^a-z]|$)'
  set +f
  grep -sIlE "^[^#]*$v" "$os/etc/crontab" "$os"/etc/cron.*/* "$os"/var/spool/cron/* "$os"/var/spool/cron/crontabs/*
  for d in "$os"/etc/systemd/system/*.wants/*.timer "$os"/lib/systemd/system/*.wants/*.timer; do
    b=${d##*/}
    b=${b%.timer}.service
    # The unit beside the link's end; a masked one is /dev/null, and empty.
    ! [ -s "$d" ] || ! { echo "$b"; cat "$d" "$os/etc/systemd/system/$b" "$os/lib/systemd/system/$b"; } 2>/dev/null |
      grep -qE "^[^#]*$v" || echo "$d"
  done
  [ ! -d "$HOME/.acme.sh" ] || echo "$HOME/.acme.sh"
} 2>/dev/null
glance() {
  # shellcheck disable=SC2317 # it is called
  path() { k="foreign ${2##*: }"; }
  body='test ok'$nl room=
  check t "$test_time" || body="test failed$nl"
  each inspect
  v=$(renewers | head -n 20 | cut -c 1-200 | sed 's/^/renewer /')
  body=$body${v:+$v$nl}
  #@tell
  answer seen "${body}room ${room:--}${nl}clock $(date -u +%s)${nl}output$nl$out"
}

# --- the dialogue ---

rubble() { rm -rf "$S" "$S.i" "$S.f"; }
cleanup() {
  # A session is ended by several signals in a row: the second must not cut this short.
  trap '' HUP INT PIPE TERM
  unwatch
  each rubble
  rm -rf "$W"
  empty=
  each emptied
  [ -z "$empty" ] || (under 0 vacate) >/dev/null
  IFS=$nl
  # shellcheck disable=SC2086 # a line each, innermost first
  [ -z "$made" ] || rmdir $made 2>/dev/null
}
# A first contact that came to nothing leaves no folder, and no lock in it, which goes under that very lock.
# (In a trap of bash's, `return` alone gives back what was before the trap.)
emptied() { [ -L "$G/current" ] || ! rmdir "$G" 2>/dev/null || rmdir "$D/.certd" 2>/dev/null || empty=1; }
vacate() { each leave_lock; }
leave_lock() { [ -d "$G" ] || { rm -f "$D/.certd/.lock"; rmdir "$D/.certd" 2>/dev/null; }; }
# A watchdog, since not every `read` has a time limit, and nobody else cleans up behind a `kill -9`. It sleeps in naps: it
# is ended by a KILL, which cannot be missed and runs no trap, and the nap that it leaves behind holds nothing open.
watch() {
  (
    v=0 watchdog=
    while [ $((v += nap)) -le $idle ] && [ "$(age $$)" = "$born" ]; do sleep $nap; done
    # Its number may be somebody else's by now.
    [ "$(age $$)" != "$born" ] || kill -9 $$
    cleanup
  ) </dev/null >/dev/null 2>&1 &
  watchdog=$!
}
unwatch() {
  [ -z "$watchdog" ] || { kill -9 "$watchdog"; wait "$watchdog"; }
  watchdog=
} 2>/dev/null
hear() { get || l=; unwatch; }

if command -v sha256sum >/dev/null; then sum() { sha256sum; }
elif busybox sha256sum </dev/null >/dev/null 2>&1; then sum() { busybox sha256sum; }
else sum() { openssl dgst -sha256 -r; }; fi
born=$(age $$) me=$(id -u)
for v in 'timeout -k 5' timeout; do $v 5 true 2>/dev/null && timeout=$v && break; done
# Where printf is a program, a key would be in its arguments.
[ "$(command -v printf)" = printf ] || refuse "unfit this shell has no printf of its own"

trap 'exit 10' HUP INT PIPE TERM
trap cleanup EXIT
receive
each fit
if [ "$look" ]; then
  # The test's words need a place, and not one beside the certificates. Nobody else knows this name.
  W=/tmp/certd-$$-$nonce
  try "$W" mkdir "$W"
  glance
  exit
fi
each places
locks=$(printf %s "$locks" | sort -u)
i=1; load; W=$S-run
try "$W" mkdir "$W"
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
# Not now? Then another time, and no word about it.
each untidy || (under 0 tidy) >/dev/null
each decide
each stage
body='test ok'$nl tested=1
check t "$test_time" || body="test failed$nl" tested=
each bases
watch
answer prepared "$body${narrowed}clock $(date -u +%s)${nl}output$nl$out"
hear
# What is only rehearsed is never committed.
[ "$l$rehearsal" = commit ] || exit 0
# From here on it is finished, whoever listens.
trap '' HUP INT PIPE TERM
under $lock_wait commit
watch
hear
if [ "$l" = rollback ]; then under $lock_wait rollback
else
  each tighten
  each unfound || (under 0 served) >/dev/null
fi
