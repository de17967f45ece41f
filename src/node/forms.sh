# The part of the node program for further forms of a pair, in the place of its marker in receive.sh, where a certificate
# has one: the leaf and the key in DER, and PKCS#12. Made here out of the PEM that came, so that nothing travels twice and a
# PKCS#12 file's password never leaves the node. What stands here replaces functions of the same names.
form_roles='cert.der privkey.der keystore.p12'
form_path() {
  case $file_role in
  cert.der) file_path=$cert_der_path ;;
  privkey.der) file_path=$key_der_path ;;
  *) file_path=$pkcs12_path ;;
  esac
}
form_line() {
  case $line in
  'certificate-der '*) into=cert_der_path ;;
  'key-der '*) into=key_der_path ;;
  'pkcs12 '*) into=pkcs12_path ;;
  'pkcs12-password-file '*) into=password_file ;;
  'pkcs12-algorithms legacy') into=legacy ;;
  *) return 1 ;;
  esac
}
# Whether a PKCS#12 file can be made: the password is that of a file of root's or this user's, which nobody else can swap or
# write, and not everybody can read.
# shellcheck disable=SC2154 # form_line sets it
check_form() {
  case $file_role in
  *.der) command -v base64 >/dev/null || refuse_path "$file_path" "needs base64, which is not on this node"; return 0 ;;
  *[!2]) return 0 ;;
  esac
  case $password_file in /*) ;; *) refuse "unfit paths must be absolute" ;; esac
  check_links "$password_file"
  # shellcheck disable=SC2046 # fields: mode, links, user
  set -- $(ls -lLn "$password_file" 2>/dev/null)
  trouble='' line=''
  if ! command -v openssl >/dev/null; then trouble="needs openssl, which is not on this node"
  elif [ ! -f "$password_file" ]; then trouble="its password file $password_file is not there, or no ordinary file"
  else
    case $3:$1 in
    0:?????w* | "$our_uid":?????w* | *:???????r* | *:????????w*) trouble="its password file $password_file is open to others ($1); this helps -> chmod 640 $password_file" ;;
    0:* | "$our_uid":*) read_line 2>/dev/null <"$password_file" ;;
    *) trouble="its password file $password_file belongs to user $3, who could change it; this helps -> chown root $password_file" ;;
    esac
    case $trouble$line in
    '') trouble="its password file $password_file has no password in its first line, or cannot be read" ;;
    "$byte_order_mark"*) trouble="its password file $password_file begins with a byte order mark, which would be part of the password" ;;
    *"$carriage_return") trouble="its password file $password_file has the line ends of another system; this helps -> sed -i 's/\\r//' $password_file" ;;
    esac
    # openssl reads no more.
    [ ${#line} -le 1000 ] || trouble="its password file $password_file has a password of more than 1000 characters"
  fi
  line=
  [ -z "$trouble" ] || refuse_path "$file_path" "$trouble"
}
carriage_return=$(printf '\r') byte_order_mark=$(printf '\357\273\277')
# DER and PKCS#12 are told by the beginning of their outer sequence: of a key and of PKCS#12, the version.
form_shape() {
  case $file_role:$(head -c 9 "$1" | od -An -v -tx1 | tr -d ' \n') in
  cert.der:3082????30* | privkey.der:30*02010[01]* | keystore.p12:30*020103*) ;;
  cert.der:*) refuse_path "$1" "is neither empty nor a certificate in DER$correct_path" ;;
  privkey.der:*) refuse_path "$1" "is neither empty nor a key in DER$correct_path" ;;
  *) refuse_path "$1" "is neither empty nor PKCS#12$correct_path" ;;
  esac
}
# A child with the umask of this program, and no stdin: that is the dialogue.
form_put() {
  case $file_role in
  cert.der) decoded CERTIFICATE "$stage_dir/fullchain.pem" ;;
  privkey.der) decoded 'PRIVATE KEY' "$stage_dir/privkey.pem" ;;
  *) pack ;;
  esac >"$staged_file"
}
# No two makings are alike: noted beside it are its digest, and that by which the controller knows what it was made of, its
# last. The older algorithms are those that every OpenSSL has, and that Java 8 and Windows Server 2016 read.
pack() {
  if [ "$legacy" ]; then set -- PBE-SHA1-3DES sha1; else set -- AES-256-CBC sha256; fi
  # shellcheck disable=SC2086 # two words
  ${timeout:+$timeout 20} openssl pkcs12 -export -in "$stage_dir/fullchain.pem" -inkey "$stage_dir/privkey.pem" -name "$name" \
    -passout "file:$password_file" -keypbe "$1" -certpbe "$1" -macalg "$2" </dev/null || {
    [ $? -lt 124 ] || echo "openssl did not end within 20 seconds" >&2
    return 1
  }
  digest "$staged_file"
  sums_left=${sums% }
  echo "$file_digest ${sums_left##* }" >"$stage_dir/keystore"
}
# file, folder: the digest of a PKCS#12 file becomes that of what it was made of, if that is noted in the folder and the
# password opens it still.
identify() {
  [ "$file_role" = keystore.p12 ] || return 0
  made_digest='' made_of=''
  read -r made_digest made_of 2>/dev/null <"$2/keystore"
  # shellcheck disable=SC2086 # two words
  if [ "$made_digest" = "$file_digest" ] && [ -f "$password_file" ] && ${timeout:+$timeout 20} openssl pkcs12 -noout -in "$1" -passin "file:$password_file" </dev/null >/dev/null 2>&1
  then file_digest=$made_of; fi
}
