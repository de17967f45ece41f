# The part of the node program that a look alone has: in the place of its marker in receive.sh, within the function of the
# look. It adds lines to $body.

# What other ACME clients do: a file of cron or an enabled timer that starts one ("renewer"), and what acme.sh, certbot and
# lego renew, of whatever names: the controller knows which are ours ("held"; of files that can hold secrets, names and paths
# alone).
# What another user's cron starts is read no further: a look must not open, as root, what that user may choose.
other_clients() {
  client_lines=$(find_clients)
  tell_lines -n "s/^([^:]*):.*(getssl|dehydrated|another user's).*/renewer \1/p"
  tell_lines '/(:|[^a-z])lego([^a-z]|$)/!d' | while read_line; do
    tell_held lego "${line%%:*}" "$(printf %s "$line" | grep -oE -- '(-d|--domains)[ =]+[^ ]+')"
  done
  case $client_lines in *acme.sh*)
    for conf_dir in "$HOME/.acme.sh" $(tell_lines -n -e "s#.*--(config-)?home[ =]+[\"']?([^\"' ]+).*#$os\2#p" -e t -e "s#.*[\"' :=](/[^\"' ]*)[\"']?/acme\.sh.*#$os\1#p"); do
      cert_home=$(begin_of "$conf_dir/account.conf" | sed -nE "s#^CERT_HOME='(/[^']*)'#$os\1#p")
      set +f
      for conf_file in "$conf_dir"/*/*.conf ${cert_home:+"$cert_home"/*/*.conf}; do
        tell_held acme.sh "$conf_file" "$(begin_of "$conf_file" | sed -nE 's/^Le_(Domain|Alt|Real[A-Za-z]*)=//p')"
      done
      set -f
    done ;;
  esac
  case $client_lines in *certbot*)
    set +f
    for conf_file in "$os"/etc/letsencrypt/renewal/*.conf; do
      tell_held certbot "$conf_file" "$(openssl x509 -noout -text -in "$os$(sed -nE 's/^cert *= *//p' "$conf_file")" | grep -o 'DNS:[^, ]*'; grep -oFe "$(each files tell_path)" "$conf_file"; echo -)"
    done ;;
  esac
} 2>/dev/null
begin_of() { [ -f "$1" ] && ${timeout:+$timeout 5} head -c 65536 "$1"; }
tell_lines() { printf '%s\n' "$client_lines" | sed -E "$@"; }
# shellcheck disable=SC2317 # it is called
tell_path() { echo "$file_path"; }
tell_held() { [ -z "$3" ] || { printf %s "held $1|$2|$3" | tr '\n' ' '; echo; }; }
# FILE:LINE of cron, and of the service units of enabled timers; a masked one is a link to /dev/null, and empty.
find_clients() {
  client_pattern='^[^#]*(acme\.sh|(^|[^a-z])(certbot|lego|getssl|dehydrated)([^a-z]|$))'
  set +f
  grep -sIHE "$client_pattern" "$os"/etc/*crontab "$os"/etc/cron.*/* "$os"/etc/periodic/*/*
  for cron_file in "$os"/etc/crontabs/* "$os"/var/spool/cron/* "$os"/var/spool/cron/*/*; do
    [ -f "$cron_file" ] || continue
    case $(stat -c %u "$cron_file") in
    0 | "$our_uid") grep -sIHE "$client_pattern" "$cron_file" ;;
    *) grep -sqE "$client_pattern" "$cron_file" && echo "$cron_file:another user's" ;;
    esac
  done
  [ "$our_uid" = 0 ] || crontab -l | sed -nE "/$client_pattern/s/^/crontab:/p"
  unit_dirs=/systemd/system
  for timer_file in "$os/etc$unit_dirs"/*.wants/*.timer "$os/lib$unit_dirs"/*.wants/*.timer; do
    [ -s "$timer_file" ] || continue
    unit_name=${timer_file##*/} unit_name=${unit_name%.timer}.service
    # The last one counts.
    while read_line; do case $line in Unit=*) unit_name=${line#*=}; esac; done <"$timer_file"
    { echo "$unit_name"; cat "$timer_file" "$os/etc$unit_dirs/$unit_name" "$os/lib$unit_dirs/$unit_name"; } | sed -nE "/$client_pattern/s|^|$timer_file:|p"
  done
}
# A line where nginx serves HTTP/3 and no setting bounds its old workers. Its configuration can hold secrets, and only the
# two words that are looked for leave the pipe. Not through sudo, whose rules may allow the test alone.
old_workers() {
  command_index=0 ran=$nl$nl
  while [ $command_index -lt "$count" ]; do
    command_index=$((command_index + 1))
    eval "command_words=\$test_commands$command_index"
    case $ran in *"$nl$nl$command_words$nl"*) continue ;; esac
    ran=$ran$command_words$nl
    case ${command_words%%"$nl"*}:$command_words in *nginx:*"$nl=-t$nl"* | *openresty:*"$nl=-t$nl"* | *angie:*"$nl=-t$nl"*) ;; *) continue ;; esac
    # shellcheck disable=SC2016 # the inner shell expands it
    run 10 "=sh$nl=-c$nl"'="$@" 2>/dev/null | sed "s/#.*//" | grep -oE "worker.shutdown.timeout|listen[^;]*[[:space:]]quic[[:space:];]" | cut -c 1-6 | sort -u'"$nl=sh$nl${command_words%%"=-t$nl"*}=-T$nl${command_words#*"=-t$nl"}"
    case $out in *listen*worker*) ;; *listen*) echo 'workers unbounded'; return ;; esac
  done
}
renewer_lines=$(other_clients </dev/null | sort -u | head -n 100 | cut -c 1-4000)
body=$body${renewer_lines:+$renewer_lines$nl}
# In a shell of its own: the test's words stay in $out.
workers_line=$(old_workers)
body=$body${workers_line:+$workers_line$nl}
