//! Checks that several sections share: paths, texts, ports, URLs, instants. Each reports an error at the value's place, and
//! returns nothing in that case.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use url::Url;

use super::defaults::{DNS_PORT, LONGEST_PATH, STATE_DIR};
use super::error::ConfigErrors;
use super::written::Spanned;
use super::{Host, HostKey};
use crate::cert::DnsName;

/// A file or folder on the controller.
pub(super) fn local_path(path: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<PathBuf> {
    absolute(path, errors).then(|| PathBuf::from(&path.value))
}

/// A folder on the controller for certd alone, which makes it private: a shared folder would become unusable for others.
pub(super) fn own_folder(path: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<PathBuf> {
    let folder = local_path(path, errors)?;
    if SYSTEM_FOLDERS.split(' ').any(|known| Path::new(known) == folder) {
        return errors.none(path, "is a folder of the system's", format!("{STATE_DIR:?}, a folder of its own"));
    }
    Some(folder)
}

/// From the Filesystem Hierarchy Standard 3.0, and some that distributions add.
const SYSTEM_FOLDERS: &str = "\
    /bin /boot /dev /etc /etc/ssh /etc/ssl /home /lib /lib32 /lib64 /media /mnt /opt /proc /root /run /run/lock \
    /run/user /sbin /srv /sys /tmp /usr /usr/bin /usr/include /usr/lib /usr/lib64 /usr/libexec /usr/local \
    /usr/local/bin /usr/local/etc /usr/local/lib /usr/local/sbin /usr/local/share /usr/sbin /usr/share /usr/src \
    /var /var/cache /var/lib /var/local /var/lock /var/log /var/mail /var/opt /var/run /var/spool /var/tmp";

/// Requires an absolute path without `.`, `..` or empty parts, so that different spellings are different files.
pub(super) fn absolute(path: &Spanned<String>, errors: &ConfigErrors<'_>) -> bool {
    let text = &path.value;
    let wrong = |what: &str, write: String| {
        errors.at(path, what, write);
        false
    };
    if !printable(path, errors) {
        return false;
    }
    let Some(inner) = text.strip_prefix('/') else {
        return wrong(
            "is not an absolute path",
            format!("\"/…/{}\", from the root", text.trim_start_matches(['.', '~']).trim_start_matches('/')),
        );
    };
    if inner.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return wrong("has an empty part, '.' or '..' in its path", "the plain path, without them".to_owned());
    }
    if text.len() > LONGEST_PATH {
        return wrong("is too long a path", format!("at most {LONGEST_PATH} bytes"));
    }
    true
}

/// Requires a text that is not empty and has no control characters (line breaks included).
pub(super) fn printable(text: &Spanned<String>, errors: &ConfigErrors<'_>) -> bool {
    if text.value.is_empty() {
        errors.at(text, "is empty", "a text, or leave the key out");
        return false;
    }
    if text.value.chars().any(char::is_control) {
        errors.at(text, format!("{:?} has a line break or another control character", text.value), "one plain line");
        return false;
    }
    true
}

/// As [`printable`], and without white space.
pub(super) fn word(text: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<String> {
    if !printable(text, errors) {
        return None;
    }
    if text.value.contains(char::is_whitespace) {
        return errors.none(text, format!("{:?} has a space in it", text.value), "one word");
    }
    Some(text.value.clone())
}

pub(super) fn port(number: &Spanned<i64>, errors: &ConfigErrors<'_>) -> Option<u16> {
    let port = u16::try_from(number.value).ok().filter(|port| *port != 0);
    port.or_else(|| errors.none(number, format!("{} is not a port", number.value), "a number from 1 to 65535"))
}

pub(super) fn host(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Host> {
    let text = &written.value;
    if let Ok(address) = text.parse::<IpAddr>() {
        if address.is_unspecified() || address.is_multicast() {
            return errors.none(written, format!("{text:?} is no address of one machine"), "the node's own address");
        }
        return Some(Host::Ip(address));
    }
    let with_port = text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    if let Some((bare, port)) = with_port {
        let bare = bare.trim_matches(['[', ']']);
        let what = "has a port in it, and SSH and the probe have one each";
        return errors.none(
            written,
            what,
            format!("\"{bare}\", and beside it ssh = {{ port = {port} }} or probe = {{ port = {port} }}"),
        );
    }
    match DnsName::parse(text) {
        Ok(name) if name.is_wildcard() => {
            errors.none(written, "is a wildcard, and a node is one machine", "the node's own address")
        }
        Ok(name) => Some(Host::Name(name)),
        Err(bad) => errors.none(written, bad.to_string(), "an IP address, or a DNS name of that node alone"),
    }
}

pub(super) fn host_keys(written: Option<Spanned<Vec<Spanned<String>>>>, errors: &ConfigErrors<'_>) -> Vec<HostKey> {
    let texts = written.map(|list| list.value).unwrap_or_default();
    let parsed = texts.iter().filter_map(|text| match HostKey::parse(&text.value) {
        Ok(key) => Some(key),
        Err(why) => {
            let write = "\"ssh-ed25519 AAAA…\", the line of /etc/ssh/ssh_host_ed25519_key.pub on the node";
            errors.none(text, why.to_string(), write)
        }
    });
    parsed.collect()
}

pub(super) fn login(user: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<String> {
    let name = word(user, errors)?;
    if name.contains(['@', ':', '/']) || name.starts_with('-') {
        return errors.none(
            user,
            format!("{name:?} is not a login name"),
            "\"root\"; the host belongs into the node's address",
        );
    }
    Some(name)
}

/// An address with an optional port: `1.1.1.1`, `1.1.1.1:53`, `[2001:db8::1]:53`.
pub(super) fn dns_server(text: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<SocketAddr> {
    let server = match text.value.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, DNS_PORT)),
        Err(_) => text.value.parse::<SocketAddr>().ok().filter(|server| server.port() != 0),
    };
    server.or_else(|| {
        let what = format!("{:?} is not an IP address with a port", text.value);
        errors.none(text, what, "\"1.1.1.1:53\" or \"[2001:db8::53]:53\"")
    })
}

/// An absolute URL with a host, one of the schemes, and no password, since the configuration is not secret.
pub(super) fn url(text: &Spanned<String>, schemes: &[&str], errors: &ConfigErrors<'_>) -> Option<Url> {
    let write = schemes.iter().map(|scheme| format!("\"{scheme}://…\"")).collect::<Vec<_>>().join(" or ");
    let Ok(url) = Url::parse(&text.value) else {
        return errors.none(text, format!("{:?} is not a URL", text.value), write);
    };
    if !url.username().is_empty() || url.password().is_some() {
        return errors.none(
            text,
            "has a user or a password in its URL, and this file is not secret",
            "the URL without them",
        );
    }
    if url.host_str().is_none_or(str::is_empty) {
        return errors.none(text, format!("{:?} names no host", text.value), write);
    }
    if !schemes.contains(&url.scheme()) {
        let what = format!("{:?} is not allowed here", format!("{}://", url.scheme()));
        return errors.none(text, what, write);
    }
    Some(url)
}

/// Whether requests to this URL stay on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A span of time with its unit: `90s`, `3m`, `1h 30m`.
pub(super) fn duration(text: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Duration> {
    let span = text.value.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    span.or_else(|| errors.none(text, format!("{:?} is not a time with its unit", text.value), "\"90s\" or \"3m\""))
}

/// An instant, or a date, which stands for its first instant in UTC.
pub(super) fn instant(text: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Timestamp> {
    let written = text.value.as_str();
    let of_date = || written.parse::<Date>().ok().filter(|_| written.len() == "2026-12-01".len());
    let midnight = || of_date()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let instant = written.parse::<Timestamp>().ok().or_else(midnight);
    instant.or_else(|| {
        let write = "\"2026-12-01\" (from 00:00 UTC) or \"2026-12-01T08:00:00+08:00\"";
        errors.none(text, format!("{written:?} is neither a date nor an instant with its offset"), write)
    })
}
