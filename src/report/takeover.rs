//! What a takeover finds on a node, in words, before anything is switched off.

use core::fmt::Write as _;

use crate::cert::NodeName;
use crate::model::{AcmeClient, Renewal};
use crate::plan::takeover::{Takeover, Why};
use crate::text::list;

use super::renewals;

/// Of each kind that are named.
const SHOWN: usize = 4;

/// `leaves` alone after the takeover, when nothing is left to be switched off.
pub fn takeover_text(node: &NodeName, takeover: &Takeover) -> String {
    let Takeover { off, left, unknown } = takeover;
    let mut text = format!("{node}\n");
    if off.is_empty() && !takeover.leaves_some() {
        text.push_str("  found nothing else that renews or writes what certd delivers (root's and the system's cron, enabled system \
             timers; not users' timers, containers, or a server's own ACME)\n");
    }
    for renewal in off {
        let Renewal { client, file, names, .. } = renewal;
        let how = match client {
            AcmeClient::AcmeSh => "is renamed, as acme.sh --remove does; its files and its other certificates stay",
            AcmeClient::Certbot => {
                "is renamed, so that certbot passes it over; its files and its other certificates stay"
            }
            AcmeClient::Lego => "has a line for it, which becomes a comment",
        };
        let _ = writeln!(text, "  off    {} renews {}: {file} {how}", client.as_str(), list::first(SHOWN, names));
    }
    for (renewal, why) in left {
        let Renewal { client, file, names, others, elsewhere, .. } = renewal;
        let what = match why {
            Why::OtherNames => format!("it renews {} too", list::first(SHOWN, others)),
            Why::OtherCertificate => {
                format!("it writes a certificate of {} to certd's paths", list::first(SHOWN, others))
            }
            Why::OtherPaths => {
                format!("it writes to {} too, where something else may read", list::first(SHOWN, elsewhere))
            }
            Why::NoTable => "that is no table of cron's, where one line could be taken out".to_owned(),
            Why::OddPath => "its path has unusual characters".to_owned(),
        };
        let names = if names.is_empty() { String::new() } else { format!(" of {}", list::first(SHOWN, names)) };
        let _ = writeln!(text, "  LEFT   {}'s renewal{names}: {file}: {what}", client.as_str());
        let _ = writeln!(text, "         next: on the node, {}", renewals::end(renewal));
    }
    for file in unknown {
        let _ = writeln!(text, "  LEFT   {file} starts an ACME client of which certd reads nothing more");
        let _ = writeln!(
            text,
            "         next: see what it renews, as the user whose it is (crontab -l -u USER), and take certd's names out of it"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::DnsName;

    #[test]
    fn what_is_switched_off_and_what_is_left_is_named_with_its_file() {
        let node = NodeName::parse("上海").unwrap();
        let names = |names: &[&str]| names.iter().map(|name| DnsName::parse(name).unwrap()).collect();
        let ours = Renewal {
            client: AcmeClient::AcmeSh,
            file: "/root/.acme.sh/a.example_ecc/a.example.conf".to_owned(),
            names: names(&["a.example"]),
            others: Vec::new(),
            paths: Vec::new(),
            elsewhere: Vec::new(),
        };
        let shared = Renewal {
            client: AcmeClient::Certbot,
            file: "/etc/letsencrypt/renewal/a.example.conf".to_owned(),
            others: names(&["b.example"]),
            ..ours.clone()
        };
        let unknown = vec!["/var/spool/cron/crontabs/eve".to_owned()];
        let takeover = Takeover { off: vec![ours], left: vec![(shared, Why::OtherNames)], unknown };
        let text = takeover_text(&node, &takeover);
        assert_eq!(
            text,
            "上海\n  \
             off    acme.sh renews a.example: /root/.acme.sh/a.example_ecc/a.example.conf is renamed, as acme.sh --remove does; \
             its files and its other certificates stay\n  \
             LEFT   certbot's renewal of a.example: /etc/letsencrypt/renewal/a.example.conf: it renews b.example too\n         \
             next: on the node, its certificate has other names too: `certbot certonly --cert-name a.example -d b.example` \
             leaves ours out\n  \
             LEFT   /var/spool/cron/crontabs/eve starts an ACME client of which certd reads nothing more\n         \
             next: see what it renews, as the user whose it is (crontab -l -u USER), and take certd's names out of it\n"
        );
        let nothing = takeover_text(&node, &Takeover::default());
        assert_eq!(
            nothing,
            "上海\n  found nothing else that renews or writes what certd delivers (root's and the system's cron, enabled system \
             timers; not users' timers, containers, or a server's own ACME)\n"
        );
    }
}
