//! Secrets are files: the API's token, the keys that log in to nodes, the CA's HMAC key. They are read anew in every
//! pass, so that rotation is replacing a file.
//!
//! An error means that a person has to look at the file; nothing of its content is ever in an error.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{env, io};

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use super::started::{SUDO, Started, credential};
use crate::model::Code;

/// Bytes: an RSA key of 16,384 bits is 13 kB of PEM, so this is a mistaken path and no secret.
const LARGEST: u64 = 64 * 1024;

/// The variable by which systemd tells where `LoadCredential=` put its files (systemd.exec(5), "Credentials").
pub(super) const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// What our units put in the place of a credential whose file does not exist (`SetCredential=`): without it systemd would
/// not start them (243/CREDENTIALS).
const NO_FILE: &str = "-";

/// A secret of several lines, as it stands in the file: a private key in PEM.
///
/// # Errors
/// The file is missing, readable by others, or not a text of at most 64 KiB.
pub fn read_text(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    read_from(path, env::var_os(CREDENTIALS).map(PathBuf::from).as_deref())
}

/// A secret of one line, without the line break at its end: a token.
///
/// # Errors
/// As [`read_text`], and when there is more than one line.
pub fn read_line(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    one_line(path, &read_text(path)?)
}

fn one_line(path: &Path, text: &str) -> Result<Zeroizing<String>, SecretError> {
    let line = text.trim_end_matches(['\n', '\r']);
    if line.is_empty() || line.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(SecretError::NotOneWord { path: path.to_owned() });
    }
    Ok(Zeroizing::new(line.to_owned()))
}

fn read_from(path: &Path, credentials: Option<&Path>) -> Result<Zeroizing<String>, SecretError> {
    let mut left_out = false;
    // systemd's own files are root's, 0440, in a folder that the service alone can enter: their mode says nothing.
    if let Some((folder, name)) = credentials.zip(path.file_name()) {
        let given = folder.join(name);
        match open(&given) {
            Ok(file) => {
                let text = content(&given, file)?;
                if text.trim() != NO_FILE {
                    return Ok(text);
                }
                left_out = true;
            }
            Err(source) if source.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(SecretError::Unreadable { path: given, source }),
        }
    }
    let unreadable = |source| match left_out {
        true => SecretError::LeftOut { path: path.to_owned(), source },
        false => SecretError::Unreadable { path: path.to_owned(), source },
    };
    let file = open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode: mode & 0o7777 });
    }
    content(path, file)
}

/// Without waiting: somebody may have put a pipe there.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits()).open(path)
}

fn content(path: &Path, file: File) -> Result<Zeroizing<String>, SecretError> {
    let path = path.to_owned();
    match file.metadata() {
        Ok(found) if !found.is_file() => return Err(SecretError::NotAFile { path }),
        Ok(found) if found.len() > LARGEST => return Err(SecretError::TooLarge { path }),
        Ok(_) => {}
        Err(source) => return Err(SecretError::Unreadable { path, source }),
    }
    // Room for all of it at once: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST as usize + 1));
    if let Err(source) = file.take(LARGEST + 1).read_to_end(&mut bytes) {
        return Err(SecretError::Unreadable { path, source });
    }
    if bytes.len() as u64 > LARGEST {
        return Err(SecretError::TooLarge { path });
    }
    let Ok(text) = core::str::from_utf8(&bytes) else { return Err(SecretError::NotText { path }) };
    if text.trim().is_empty() {
        return Err(SecretError::Empty { path });
    }
    Ok(Zeroizing::new(text.to_owned()))
}

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// It was not there when systemd started the unit, which has a dash in its place since.
    #[error("{}: {source}", path.display())]
    LeftOut { path: PathBuf, source: io::Error },
    #[error("{}: group or others can read it (mode {mode:04o})", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{}: not an ordinary file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{}: larger than {} KiB", path.display(), LARGEST / 1024)]
    TooLarge { path: PathBuf },
    #[error("{}: empty", path.display())]
    Empty { path: PathBuf },
    #[error("{}: not a text in UTF-8", path.display())]
    NotText { path: PathBuf },
    #[error("{}: more than one word, and one was expected", path.display())]
    NotOneWord { path: PathBuf },
}

impl SecretError {
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable { path, .. }
            | Self::LeftOut { path, .. }
            | Self::Exposed { path, .. }
            | Self::NotAFile { path }
            | Self::TooLarge { path }
            | Self::Empty { path }
            | Self::NotText { path }
            | Self::NotOneWord { path } => path,
        }
    }

    /// Stable and greppable.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } | Self::LeftOut { .. } => Code::SecretUnreadable,
            Self::Exposed { .. } => Code::SecretExposed,
            Self::NotAFile { .. } => Code::SecretNotAFile,
            Self::TooLarge { .. } => Code::SecretTooLarge,
            Self::Empty { .. } => Code::SecretEmpty,
            Self::NotText { .. } => Code::SecretNotText,
            Self::NotOneWord { .. } => Code::SecretNotOneWord,
        }
    }

    /// What to do next.
    pub fn next(&self) -> String {
        self.next_for(Started::now())
    }

    fn next_for(&self, started: Started) -> String {
        let path = self.path().display();
        match self {
            Self::Unreadable { source, .. } if source.kind() == ErrorKind::NotFound => {
                format!("write the secret into {path}, mode 0600, or correct the path in the configuration")
            }
            Self::LeftOut { source, .. } if source.kind() == ErrorKind::NotFound => {
                format!("write the secret into {path}, mode 0600, and restart the unit: systemd reads it as it starts")
            }
            Self::LeftOut { .. } => {
                format!("restart the unit: systemd reads {path} as it starts, and it was not there then")
            }
            Self::Unreadable { source, .. } if source.kind() == ErrorKind::PermissionDenied => match started {
                Started::Person => SUDO.to_owned(),
                Started::Unit => match credential(self.path()) {
                    Some(line) => format!("add to [Service] of the unit, and restart it: {line}"),
                    None => format!("let the unit's user (User=) read {path}, and nobody else"),
                },
                Started::Root => format!("let the user that certd runs as read {path}, and nobody else"),
            },
            Self::Unreadable { .. } => format!("let the user that certd runs as read {path}, and nobody else"),
            Self::Exposed { .. } => {
                format!("chmod 600 '{path}', and replace the secret if others may have read it")
            }
            Self::NotAFile { .. } | Self::TooLarge { .. } | Self::NotText { .. } => {
                format!("name the file that holds the secret, instead of {path}, in the configuration")
            }
            Self::Empty { .. } => format!("write the secret into {path}"),
            Self::NotOneWord { .. } => format!("leave nothing but the secret itself, on one line, in {path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Code;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    use super::{SecretError, Started, one_line, read_from};

    fn written(folder: &Path, text: &[u8], mode: u32) -> PathBuf {
        let path = folder.join("token");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o640, 0o604, 0o660, 0o601] {
            let path = written(folder.path(), b"secret", mode);
            let refused = read_from(&path, None).unwrap_err();
            assert_eq!(refused.code(), Code::SecretExposed);
            assert!(refused.to_string().ends_with(&format!("(mode {mode:04o})")), "{refused}");
            assert!(refused.next().starts_with(&format!("chmod 600 '{}'", path.display())), "{}", refused.next());
        }
        assert_eq!(*read_from(&written(folder.path(), b"secret", 0o400), None).unwrap(), "secret");
    }

    #[test]
    fn who_may_not_read_a_secret_is_told_of_sudo_and_a_unit_the_line_that_hands_it_on() {
        let source = std::io::ErrorKind::PermissionDenied.into();
        let refused = SecretError::Unreadable { path: "/etc/certd/100%.token".into(), source };
        assert_eq!(refused.next_for(Started::Person), "run it with sudo");
        let line = "LoadCredential=100%%.token:/etc/certd/100%%.token";
        assert_eq!(refused.next_for(Started::Unit), format!("add to [Service] of the unit, and restart it: {line}"));
        assert!(refused.next_for(Started::Root).starts_with("let the user that certd runs as read"));
    }

    #[test]
    fn a_credential_of_the_same_name_wins_whatever_its_mode() {
        let (folder, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = written(folder.path(), b"file", 0o600);
        assert_eq!(*read_from(&path, Some(credentials.path())).unwrap(), "file");
        written(credentials.path(), b"credential", 0o440);
        assert_eq!(*read_from(&path, Some(credentials.path())).unwrap(), "credential");
        fs::remove_file(&path).unwrap();
        assert_eq!(*read_from(&path, Some(credentials.path())).unwrap(), "credential");
    }

    #[test]
    fn a_credential_that_stands_for_no_file_is_none() {
        let (folder, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        written(credentials.path(), b"-", 0o440);
        let path = folder.path().join("token");
        let missing = read_from(&path, Some(credentials.path())).unwrap_err();
        assert_eq!((missing.code(), missing.path()), (Code::SecretUnreadable, path.as_path()));
        let then = "mode 0600, and restart the unit: systemd reads it as it starts";
        assert_eq!(missing.next(), format!("write the secret into {}, {then}", path.display()));
        let source = std::io::ErrorKind::PermissionDenied.into();
        let since = SecretError::LeftOut { path: path.clone(), source };
        assert!(since.next_for(Started::Unit).starts_with("restart the unit: systemd reads "), "{}", since.next());
        assert_eq!(since.code(), Code::SecretUnreadable);
        written(folder.path(), b"file", 0o600);
        assert_eq!(*read_from(&path, Some(credentials.path())).unwrap(), "file");
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let code = |path: &Path| read_from(path, None).unwrap_err().code();
        assert_eq!(code(&written(folder.path(), b"", 0o600)), Code::SecretEmpty);
        assert_eq!(code(&written(folder.path(), b"\n \n", 0o600)), Code::SecretEmpty);
        assert_eq!(code(&written(folder.path(), b"\xff\xfe", 0o600)), Code::SecretNotText);
        assert_eq!(code(&written(folder.path(), &[b'a'; 65537], 0o600)), Code::SecretTooLarge);
        assert!(read_from(&written(folder.path(), &[b'a'; 65536], 0o600), None).is_ok());
        assert_eq!(code(&folder.path().join("missing")), Code::SecretUnreadable);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(code(folder.path()), Code::SecretNotAFile);
    }

    #[test]
    fn a_pipe_in_the_place_of_a_secret_does_not_hold_us_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(read_from(&path, None).unwrap_err().code(), Code::SecretNotAFile);
    }

    #[test]
    fn a_token_is_one_word_without_its_line_break() {
        let path = Path::new("/etc/certd/token");
        assert_eq!(*one_line(path, "word\r\n").unwrap(), "word");
        for text in ["two words\n", "one\ntwo\n", "word\u{0}"] {
            let refused = one_line(path, text).unwrap_err();
            assert_eq!(refused.code(), Code::SecretNotOneWord);
            assert!(!refused.to_string().contains("word\n"), "{refused}");
        }
    }
}
