//! What another ACME client renews of ours, and how that ends while its other certificates go on.

use crate::cert::DnsName;
use crate::model::{AcmeClient, Renewal};
use crate::text::{as_word, list};

/// Of each kind that are named.
const SHOWN: usize = 4;

/// What is found, and what ends it.
pub(super) fn words(renewals: &[Renewal]) -> (String, String) {
    let what: Vec<String> = renewals.iter().map(found).collect();
    let next: Vec<String> = renewals.iter().map(end).collect();
    (
        format!("another ACME client renews what certd delivers: {}", list::first(SHOWN, what)),
        format!("on the node, {}", list::first(SHOWN, next)),
    )
}

fn found(Renewal { client, file, names, others, paths, .. }: &Renewal) -> String {
    let names = if names.is_empty() { others } else { names };
    let paths = match &paths[..] {
        [] => String::new(),
        paths => format!(", into {}", list::first(SHOWN, paths)),
    };
    format!("{} has {} ({file}){paths}", client.as_str(), list::first(SHOWN, names))
}

pub(super) fn end(renewal: &Renewal) -> String {
    let Renewal { client, file, names, others, paths, .. } = renewal;
    let domains =
        |names: &[DnsName]| names.iter().map(|name| format!(" -d {}", as_word(name.as_str()))).collect::<String>();
    match client {
        AcmeClient::AcmeSh => {
            let Some(AcmeSh { program, selection, home }) = AcmeSh::of(file) else {
                return format!("end the renewal that {} describes", as_word(file));
            };
            if names.is_empty() {
                return format!(
                    "let it write to other paths than {}: {program} --install-cert{selection} --key-file … --fullchain-file …{home}",
                    list::first(SHOWN, paths)
                );
            }
            let end = format!("`{program} --remove{selection}{home}`");
            match &others[..] {
                [] => format!("{end} ends that renewal alone, and leaves its files"),
                others => format!(
                    "its certificate has other names too: issue those by themselves ({program} --issue{} …), then {end}",
                    domains(others)
                ),
            }
        }
        AcmeClient::Certbot => {
            let name = file.rsplit('/').next().and_then(|name| name.strip_suffix(".conf")).unwrap_or_default();
            match &others[..] {
                _ if names.is_empty() => {
                    format!("take {} out of its hooks in {}", list::first(SHOWN, paths), as_word(file))
                }
                [] => format!(
                    "`mv {0} {0}.off` ends that renewal alone; or, once no server reads its files, `certbot delete --cert-name {1}`",
                    as_word(file),
                    as_word(name)
                ),
                others => format!(
                    "its certificate has other names too: `certbot certonly --cert-name {}{}` leaves ours out",
                    as_word(name),
                    domains(others)
                ),
            }
        }
        AcmeClient::Lego => format!(
            "take{} out of the command in {}, or the whole command if it has no other names",
            domains(names),
            as_word(file)
        ),
    }
}

/// How acme.sh names what is in a file of its own: HOME/NAME/NAME.conf, or HOME/NAME_ecc/NAME.conf.
struct AcmeSh {
    program: String,
    selection: String,
    home: String,
}

impl AcmeSh {
    fn of(file: &str) -> Option<Self> {
        let (folder, name) = file.strip_suffix(".conf")?.rsplit_once('/')?;
        let (home, folder) = folder.rsplit_once('/')?;
        let ecc = if folder.ends_with("_ecc") { " --ecc" } else { "" };
        Some(Self {
            program: as_word(&format!("{home}/acme.sh")),
            selection: format!(" -d {}{ecc}", as_word(name)),
            home: format!(" --home {}", as_word(home)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renewal(client: AcmeClient, file: &str, names: &[&str], others: &[&str], paths: &[&str]) -> Renewal {
        let parsed = |names: &[&str]| names.iter().map(|name| DnsName::parse(name).unwrap()).collect();
        let paths = paths.iter().map(ToString::to_string).collect();
        let (file, elsewhere) = (file.to_owned(), Vec::new());
        Renewal { client, file, names: parsed(names), others: parsed(others), paths, elsewhere }
    }

    #[test]
    fn the_command_ends_the_renewal_of_our_name_and_of_no_other() {
        let acme = "/root/.acme.sh/newapi.example.com_ecc/newapi.example.com.conf";
        let renewals = [renewal(AcmeClient::AcmeSh, acme, &["newapi.example.com"], &[], &["/ssl/key.pem"])];
        let (what, next) = words(&renewals);
        assert_eq!(
            what,
            format!(
                "another ACME client renews what certd delivers: acme.sh has newapi.example.com ({acme}), into /ssl/key.pem"
            )
        );
        assert_eq!(
            next,
            "on the node, `/root/.acme.sh/acme.sh --remove -d newapi.example.com --ecc --home /root/.acme.sh` ends that renewal \
             alone, and leaves its files"
        );
        let rsa = "/root/.acme.sh/*.example.com/*.example.com.conf";
        let of = |renewal: Renewal| end(&renewal);
        assert!(
            of(renewal(AcmeClient::AcmeSh, rsa, &["*.example.com"], &[], &[]))
                .contains("--remove -d '*.example.com' --home")
        );
        let shared = of(renewal(AcmeClient::AcmeSh, acme, &["newapi.example.com"], &["old.example.com"], &[]));
        assert!(
            shared.contains("--issue -d old.example.com") && shared.contains("--remove -d newapi.example.com --ecc"),
            "{shared}"
        );
        let foreign = of(renewal(AcmeClient::AcmeSh, acme, &[], &["old.example.com"], &["/ssl/key.pem"]));
        assert!(
            foreign.contains("--install-cert -d newapi.example.com --ecc") && !foreign.contains("--remove"),
            "{foreign}"
        );
        let conf = "/etc/letsencrypt/renewal/newapi.conf";
        let certbot = of(renewal(AcmeClient::Certbot, conf, &["newapi.example.com"], &[], &[]));
        assert!(
            certbot.starts_with(&format!("`mv {conf} {conf}.off`"))
                && certbot.contains("certbot delete --cert-name newapi`")
        );
        let shared = of(renewal(AcmeClient::Certbot, conf, &["newapi.example.com"], &["old.example.com"], &[]));
        assert!(
            shared.contains("`certbot certonly --cert-name newapi -d old.example.com`") && !shared.contains("delete"),
            "{shared}"
        );
        let lego = of(renewal(AcmeClient::Lego, "/etc/cron.d/lego", &["newapi.example.com"], &[], &[]));
        assert!(lego.starts_with("take -d newapi.example.com out of the command in /etc/cron.d/lego"), "{lego}");
    }
}
