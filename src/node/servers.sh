# Which web servers are here, and where each reads its certificate. Runs as root, changes nothing.
# Before it come: mark=… and port=…
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin
export PATH
LC_ALL=C
export LC_ALL
umask 077

say() {
    printf '%s %s\n' "$mark" "$*"
}

# The output of a command, each line marked.
show() {
    if command -v timeout >/dev/null 2>&1; then
        timeout 20 "$@" </dev/null 2>&1 | sed "s/^/$mark |/"
    else
        "$@" </dev/null 2>&1 | sed "s/^/$mark |/"
    fi
}

# As nginx -T shows each of its files.
show_file() {
    say "|# configuration file $1:"
    sed "s/^/$mark |/" "$1" 2>/dev/null
    # The last line may have no end.
    say "|"
}

# The unit of a process, or else the one of this name, if it can be reloaded.
unit_of() {
    u=
    [ -n "$1" ] && u=$(sed -n 's,.*/\([^/]*\.service\)$,\1,p' "/proc/$1/cgroup" 2>/dev/null | head -n 1)
    for u in "$u" "$2"; do
        [ -n "$u" ] || continue
        [ "$(systemctl show -p CanReload --value "$u" 2>/dev/null)" = yes ] || continue
        say "unit $u"
        return
    done
}

seen=' '
# KIND PROGRAM PID UNIT ARGUMENT…
server() {
    kind=$1 program=$2 pid=$3 unit=$4
    shift 4
    case $seen in *" $kind:$program:$* "*) return ;; esac
    # One that nobody started says nothing that the running one did not.
    [ -z "$pid" ] && case $seen in *" $kind:"*) return ;; esac
    seen="$seen$kind:$program:$* "
    say "server $kind"
    say "program $program"
    [ -n "$listens" ] && [ -n "$pid" ] && say "listens"
    unit_of "$pid" "$unit"
    for argument; do say "argument $argument"; done
    case $kind in
        nginx) show "$program" "$@" -T ;;
        apache)
            show "$program" "$@" -t -D DUMP_RUN_CFG -D DUMP_INCLUDES
            "$program" "$@" -t -D DUMP_INCLUDES </dev/null 2>/dev/null | sed -n 's/^ *([0-9*]*) //p' | sort -u |
                while IFS= read -r file; do
                    grep -qi 'virtualhost\|sslcertificate\|^ *define' "$file" 2>/dev/null && show_file "$file"
                done
            ;;
        haproxy)
            [ $# -gt 0 ] || set -- -f /etc/haproxy/haproxy.cfg
            for file; do
                if [ -d "$file" ]; then
                    for inner in "$file"/*.cfg; do [ -f "$inner" ] && show_file "$inner"; done
                elif [ -f "$file" ]; then
                    show_file "$file"
                fi
            done
            ;;
        caddy)
            [ $# -gt 0 ] || set -- --config /etc/caddy/Caddyfile
            "$program" adapt "$@" </dev/null 2>/dev/null | sed "s/^/$mark |/"
            say "|"
            ;;
    esac
}

# Which of a process's arguments say where its configuration is.
arguments_of() {
    kind=$1 pid=$2 program=$3
    line=$(tr '\000' ' ' <"/proc/$pid/cmdline" 2>/dev/null)
    set -f
    set -- $line
    set +f
    kept=
    while [ $# -gt 0 ]; do
        case $kind:$1 in
            nginx:-c | nginx:-p | nginx:-e | haproxy:-f | caddy:--config | caddy:--adapter)
                case ${2-} in '' | -* | *[!A-Za-z0-9/._+@=-]*) ;; *) kept="$kept $1 $2" ;; esac
                [ $# -gt 1 ] && shift
                ;;
        esac
        shift
    done
    unit=$kind.service
    [ $kind = apache ] && unit=apache2.service
    set -f
    server "$kind" "$program" "$pid" "$unit" $kept
    set +f
}

of_process() {
    pid=$1
    program=$(readlink "/proc/$pid/exe" 2>/dev/null) || return
    program=${program% (deleted)}
    case ${program##*/} in
        nginx | openresty | tengine)
            case $(tr '\000' ' ' <"/proc/$pid/cmdline" 2>/dev/null) in
                'nginx: '*process\ is\ shutting* | 'nginx: worker'* | 'nginx: cache'*) return ;;
            esac
            arguments_of nginx "$pid" "$program"
            ;;
        apache2 | httpd)
            for control in apachectl apache2ctl httpd; do
                control=$(command -v $control) && break
            done
            arguments_of apache "$pid" "${control:-$program}"
            ;;
        haproxy) arguments_of haproxy "$pid" "$program" ;;
        caddy) arguments_of caddy "$pid" "$program" ;;
        *) say "other ${program##*/}" ;;
    esac
}

# Who listens at the port: the sockets' inodes, and the processes that have them open.
hex=$(printf %04X "$port")
script=
for table in /proc/net/tcp /proc/net/tcp6; do
    [ -r $table ] || continue
    while read -r _ at _ state _ _ _ _ _ inode _; do
        case $at/$state in
            *:"$hex"/0A) script="$script
/socket:\\[$inode\\]\$/{g;p;}" ;;
        esac
    done <$table
done
listens=yes
if [ -n "$script" ]; then
    script="/^\\/proc/{s,^/proc/,,;s,/.*,,;h;}$script"
    for pid in $(ls -l /proc/[0-9]*/fd 2>/dev/null | sed -n "$script" | sort -un); do
        of_process "$pid"
    done
fi
listens=

# What is installed and does not listen there.
for program in "$(command -v nginx)" /usr/local/nginx/sbin/nginx /usr/local/openresty/nginx/sbin/nginx /opt/nginx/sbin/nginx; do
    [ -x "$program" ] && server nginx "$program" '' nginx.service
done
for program in "$(command -v apachectl)" "$(command -v apache2ctl)" "$(command -v httpd)" /usr/local/apache2/bin/apachectl; do
    unit=apache2.service
    case $(command -v apache2) in '') unit=httpd.service ;; esac
    [ -x "$program" ] && server apache "$program" '' $unit
done
program=$(command -v haproxy) && [ -r /etc/haproxy/haproxy.cfg ] && server haproxy "$program" '' haproxy.service
program=$(command -v caddy) && [ -r /etc/caddy/Caddyfile ] && server caddy "$program" '' caddy.service --config /etc/caddy/Caddyfile
say done
