//! The keys of `[install]`.

use serde_json::{Value, json};

use super::super::servers::SERVERS;
use super::{NONE, command, flag, path, section, text, words};

pub(super) fn install() -> Value {
    section(
        "Where a certificate is put, and how the server learns of it; {name} is the certificate's name, {key_type} its key type",
        &[],
        [
            ("fullchain", path(), NONE, "Path of the full chain"),
            ("key", path(), NONE, "Path of the private key"),
            ("chain", path(), NONE, "Path of the chain without the leaf"),
            ("combined", path(), NONE, "Path of key and full chain in one file"),
            ("combined_order", words(&["key-first", "chain-first"]), json!("key-first"), "What comes first in it"),
            ("certificate_der", path(), NONE, "Path of the leaf in DER"),
            ("key_der", path(), NONE, "Path of the private key in DER"),
            ("pkcs12", path(), NONE, "Path of a PKCS#12 file: the key and the full chain"),
            ("pkcs12_password_file", path(), NONE, "File on the node whose first line is its password"),
            (
                "pkcs12_algorithms",
                words(&["modern", "legacy"]),
                json!("modern"),
                "AES-256 and SHA-256, or 3DES and SHA-1 for old readers",
            ),
            ("unsafe_in_place", flag(), json!(false), "Write over the files, for files that are mounted one by one"),
            (
                "server",
                words(&SERVERS.each_ref().map(|server| server.name)),
                NONE,
                "Sets owner, group, modes, test and reload of a known server",
            ),
            ("owner", text(), NONE, "Owner of the files, name or number; as what is there when left out"),
            ("group", text(), NONE, "Group of the files, name or number; as what is there when left out"),
            ("mode", text(), NONE, "Octal mode of files without a key"),
            ("key_mode", text(), NONE, "Octal mode of files with a key: 0600, 0640, 0400 or 0440"),
            ("test", command(), NONE, "Command that tests the server's configuration"),
            ("reload", command(), NONE, "Command that reloads the server"),
            ("restart", flag(), NONE, "The reload is a restart, which cuts connections"),
        ],
    )
}
