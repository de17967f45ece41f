# Run with the controller's own key: what it starts here is a shell's, and so is whatever its thief starts.
account=$(id -un) home=$HOME
find_server
sshd_all=$(sshd_says)
# shellcheck disable=SC2046 # words
set -- $(sshd_word authorizedkeysfile)
# sshd_config(5): what is usual, and what a login without root's rights cannot ask for.
[ $# -gt 0 ] || set -- .ssh/authorized_keys .ssh/authorized_keys2
for place; do
  file=$(keys_at "$place")
  for key in $wanted; do
    grep -nF "$key" "$file" 2>/dev/null | head -n 4 | cut -d: -f1 | sed "s|^|certd-setup: line |; s|\$| $key $file|"
  done
done
say "done"
