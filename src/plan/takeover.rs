//! What a takeover switches off of the ACME clients beside certd on a node, and what it leaves to a person: whatever renews
//! more than certd does, or writes where certd does not, would be missed.

use crate::model::{AcmeClient, Looked, Renewal};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Takeover {
    pub off: Vec<Renewal>,
    pub left: Vec<(Renewal, Why)>,
    /// Files that start another client of which nothing more is known. Escaped.
    pub unknown: Vec<String>,
}

/// Why it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has other names too, which nothing would renew then.
    OtherNames,
    /// It has none of certd's names, and writes to its paths.
    OtherCertificate,
    /// It writes to other paths too, to which certd delivers nothing.
    OtherPaths,
    /// What starts it is no line of a table of cron's.
    NoTable,
    /// Its path has characters that no file of this client has.
    OddPath,
}

impl Takeover {
    pub fn of(looked: Looked) -> Self {
        let mut takeover = Self { unknown: looked.renewers, ..Self::default() };
        for renewal in looked.renewals {
            match why_not(&renewal) {
                Some(why) => takeover.left.push((renewal, why)),
                None => takeover.off.push(renewal),
            }
        }
        takeover
    }

    /// Whether something may still overwrite what certd delivers.
    pub fn leaves_some(&self) -> bool {
        !(self.left.is_empty() && self.unknown.is_empty())
    }
}

fn why_not(renewal: &Renewal) -> Option<Why> {
    let Renewal { client, file, names, others, elsewhere, .. } = renewal;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@*".contains(c);
    match () {
        () if !file.starts_with('/') || !file.chars().all(plain) => Some(Why::OddPath),
        () if names.is_empty() => Some(Why::OtherCertificate),
        () if !others.is_empty() => Some(Why::OtherNames),
        () if !elsewhere.is_empty() => Some(Why::OtherPaths),
        () if *client == AcmeClient::Lego && !is_table(file) => Some(Why::NoTable),
        () => None,
    }
}

/// A table of cron's has a line for each command; a script or a unit has more in it than this one.
fn is_table(file: &str) -> bool {
    file == "/etc/crontab"
        || ["/etc/cron.d/", "/etc/crontabs/", "/var/spool/cron/"].iter().any(|folder| file.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::DnsName;

    fn renewal(client: AcmeClient, file: &str, names: &[&str], others: &[&str], elsewhere: &[&str]) -> Renewal {
        let parsed = |names: &[&str]| names.iter().map(|name| DnsName::parse(name).unwrap()).collect();
        let elsewhere = elsewhere.iter().map(ToString::to_string).collect();
        let (names, others, paths) = (parsed(names), parsed(others), Vec::new());
        Renewal { client, file: file.to_owned(), names, others, paths, elsewhere }
    }

    #[test]
    fn what_renews_ours_alone_is_switched_off_and_everything_else_is_left_with_its_reason() {
        use AcmeClient::{AcmeSh, Certbot, Lego};
        let conf = "/root/.acme.sh/a.example_ecc/a.example.conf";
        for (renewal, why) in [
            (renewal(AcmeSh, conf, &["a.example"], &[], &[]), None),
            (renewal(AcmeSh, "/root/.acme.sh/*.a.example/*.a.example.conf", &["*.a.example"], &[], &[]), None),
            (renewal(AcmeSh, conf, &["a.example"], &["b.example"], &[]), Some(Why::OtherNames)),
            (renewal(AcmeSh, conf, &["a.example"], &[], &["/etc/postfix/a.pem"]), Some(Why::OtherPaths)),
            (renewal(AcmeSh, conf, &[], &["b.example"], &[]), Some(Why::OtherCertificate)),
            (renewal(AcmeSh, "/root/it's.conf", &["a.example"], &[], &[]), Some(Why::OddPath)),
            (renewal(AcmeSh, "/root/\\u{7}.conf", &["a.example"], &[], &[]), Some(Why::OddPath)),
            (renewal(Certbot, "/etc/letsencrypt/renewal/a.conf", &["a.example"], &[], &[]), None),
            (renewal(Lego, "/etc/cron.d/lego", &["a.example"], &[], &[]), None),
            (renewal(Lego, "/var/spool/cron/crontabs/root", &["a.example"], &[], &[]), None),
            (renewal(Lego, "/etc/cron.daily/lego", &["a.example"], &[], &[]), Some(Why::NoTable)),
            (
                renewal(Lego, "/etc/systemd/system/timers.target.wants/lego.timer", &["a.example"], &[], &[]),
                Some(Why::NoTable),
            ),
        ] {
            assert_eq!(why_not(&renewal), why, "{renewal:?}");
        }
    }
}
