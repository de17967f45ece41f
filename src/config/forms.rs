//! Further forms of a pair, for servers that read no PEM: the leaf and the key in DER, and PKCS#12.

use super::error::ConfigErrors;
use super::written::{Section, Spanned};

/// Absolute paths on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    /// The leaf alone: a file of DER holds one certificate.
    pub certificate_der: Option<String>,
    pub key_der: Option<String>,
    pub pkcs12: Option<Pkcs12>,
}

/// Key and full chain in one file, encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pkcs12 {
    pub path: String,
    /// A file on the node, whose first line is the password. It never leaves the node.
    pub password_file: String,
    /// 3DES and SHA-1, for readers that know nothing newer, in place of AES-256 and SHA-256.
    pub legacy: bool,
}

impl Forms {
    pub fn paths(&self) -> impl Iterator<Item = &String> {
        let Self { certificate_der, key_der, pkcs12 } = self;
        certificate_der.iter().chain(key_der).chain(pkcs12.iter().map(|pkcs12| &pkcs12.path))
    }

    pub fn is_none(&self) -> bool {
        self.paths().next().is_none()
    }
}

/// One layer as written.
#[derive(Clone, Default)]
pub(super) struct FormsSpec {
    certificate_der: Option<Spanned<String>>,
    key_der: Option<Spanned<String>>,
    pkcs12: Option<Spanned<String>>,
    password_file: Option<Spanned<String>>,
    legacy: Option<bool>,
}

/// The name of a file, and its path as written.
pub(super) type Written<'a> = (&'static str, &'a Spanned<String>);

/// The key without which there is no PKCS#12 file, and an example.
pub(super) const NO_PASSWORD: (&str, &str) =
    ("pkcs12_password_file", "pkcs12_password_file = \"/etc/tomcat10/keystore.password\"   # a file on the node");

impl FormsSpec {
    pub(super) fn read(
        section: &mut Section<'_>,
        path: impl Fn(&Spanned<String>) -> bool,
        errors: &ConfigErrors<'_>,
    ) -> Self {
        let mut file = |key| section.string(key).inspect(|written| _ = path(written));
        Self {
            certificate_der: file("certificate_der"),
            key_der: file("key_der"),
            pkcs12: file("pkcs12"),
            password_file: file("pkcs12_password_file"),
            legacy: section.string("pkcs12_algorithms").and_then(|written| legacy(&written, errors)),
        }
    }

    /// The written paths, each with the name of its file.
    ///
    /// # Errors
    /// There is a PKCS#12 file and no password.
    pub(super) fn resolve<'a>(
        layers: impl Iterator<Item = &'a Self> + Clone,
        fill: impl Fn(&Spanned<String>) -> String,
    ) -> Result<(Forms, Vec<Written<'a>>), (&'static str, &'static str)> {
        let first = |key: fn(&Self) -> Option<&Spanned<String>>| layers.clone().find_map(key);
        let certificate_der = first(|layer| layer.certificate_der.as_ref());
        let key_der = first(|layer| layer.key_der.as_ref());
        let pkcs12 = first(|layer| layer.pkcs12.as_ref());
        let password_file = first(|layer| layer.password_file.as_ref());
        let legacy = layers.clone().find_map(|layer| layer.legacy).unwrap_or_default();
        let written = [("DER certificate", certificate_der), ("DER key", key_der), ("PKCS#12 file", pkcs12)];
        let written = written.into_iter().filter_map(|(file, path)| Some((file, path?))).collect();
        let forms = Forms {
            certificate_der: certificate_der.map(&fill),
            key_der: key_der.map(&fill),
            pkcs12: match (pkcs12, password_file) {
                (Some(path), Some(password)) => {
                    Some(Pkcs12 { path: fill(path), password_file: fill(password), legacy })
                }
                (Some(_), None) => return Err(NO_PASSWORD),
                (None, _) => None,
            },
        };
        Ok((forms, written))
    }
}

/// Whether the older algorithms are asked for.
fn legacy(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<bool> {
    match written.value.as_str() {
        "modern" => Some(false),
        "legacy" => Some(true),
        other => {
            errors.at(written, format!("{other:?} names no algorithms of PKCS#12"), "\"modern\" or \"legacy\"");
            None
        }
    }
}
