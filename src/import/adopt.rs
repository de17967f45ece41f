//! What of the found is taken over into a store, for a configuration that is there: the certificate with the longest life
//! of each, and the account that it was issued with.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::{Found, FoundAccount, FoundCertificate, LeftOut};
use crate::cert::{CertName, DnsName, Flaw, KeyType, NodeName, Pair, Roots, lint};
use crate::config::{Acme, Certificate, Config, ca_host};
use crate::model::{LedgerEntry, LedgerEvent, Stored, UNKNOWN_CA};
use crate::text::list;

/// Certificates that the CA counts; a day more, since it dates them back.
const COUNTED: SignedDuration = SignedDuration::from_hours(8 * 24);

/// What the store has already.
pub struct Standing {
    pub stored: BTreeMap<CertName, Stored>,
    /// Hosts of CAs with an account.
    pub accounts: BTreeSet<String>,
    pub ledger: Vec<LedgerEntry>,
}

pub struct Adoption {
    pub certificates: Vec<Adopted>,
    pub accounts: Vec<Account>,
    /// Orders of other clients that the CA counts against the same limits.
    pub ledger: Vec<LedgerEntry>,
    pub left_out: Vec<LeftOut>,
    /// What the configuration does not have.
    pub strangers: Vec<FoundCertificate>,
}

/// A pair that becomes a generation. It has passed certd's own checks.
pub struct Adopted {
    pub name: CertName,
    pub pair: Pair,
    pub key_type: KeyType,
    pub profile: Option<String>,
    /// Host of the CA.
    pub ca: String,
    /// Where it was found.
    pub file: String,
    pub node: Option<NodeName>,
    pub home: String,
}

/// An account that becomes certd's.
pub struct Account {
    /// Host of the CA.
    pub ca: String,
    pub account: FoundAccount,
    /// certd signs with P-256 keys alone: this one is exchanged at the CA first.
    pub new_key: bool,
}

/// `new_key`: an account's key may be exchanged.
pub fn adopt(
    config: &Config,
    standing: &Standing,
    found: &[Found],
    roots: &Roots,
    now: Timestamp,
    new_key: bool,
) -> Adoption {
    let mut adoption = Adoption {
        certificates: Vec::new(),
        accounts: Vec::new(),
        ledger: Vec::new(),
        left_out: Vec::new(),
        strangers: Vec::new(),
    };
    for certificate in &config.certificates {
        adoption.certificate(config, standing, certificate, found, roots, now);
    }
    for certificate in found.iter().flat_map(|home| &home.certificates) {
        adoption.stranger(config, certificate, now);
    }
    for ca in config.cas() {
        adoption.account(standing, ca, found, new_key);
    }
    for account in found.iter().flat_map(|home| &home.accounts) {
        if config.cas().all(|ca| !same_directory(&ca.directory, &account.directory)) {
            let why = format!("an account at a CA that the configuration does not name: {}", account.directory);
            adoption.leave_out(&account.file, why);
        }
    }
    adoption
}

fn same_directory(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin() && one.path().trim_end_matches('/') == other.path().trim_end_matches('/')
}

impl Adoption {
    fn leave_out(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.left_out.push(LeftOut { what: what.into(), why: why.into() });
    }

    fn certificate(
        &mut self,
        config: &Config,
        standing: &Standing,
        certificate: &Certificate,
        found: &[Found],
        roots: &Roots,
        now: Timestamp,
    ) {
        let mut candidates = Vec::new();
        for home in found {
            for one in home.certificates.iter().filter(|one| one.names == certificate.names) {
                let Some(pair) = &one.pair else { continue };
                let flaws = lint(pair, &certificate.names, roots, now);
                // One that no CA issued is no order of anybody's. An expired one may be of six days.
                if flaws.iter().all(|flaw| matches!(flaw, Flaw::Expired { .. })) {
                    self.count(config, standing, certificate, one, pair, now);
                }
                if self.is_fit(config, certificate, one, pair, roots, now) {
                    candidates.push((home, one, pair));
                }
            }
        }
        // The first of those that end together: of the same certificate, on several machines.
        let best = candidates.iter().rev().max_by_key(|(_, _, pair)| pair.chain().leaf.not_after);
        let Some(&(home, best, pair)) = best else { return };
        let leaf = &pair.chain().leaf;
        let is_other = |its: &Pair| its.chain().leaf.fingerprint != leaf.fingerprint;
        for (_, other, its) in candidates.iter().filter(|(_, _, its)| is_other(its)) {
            let ends = day(its.chain().leaf.not_after);
            let why = format!(
                "it ends {ends}, and that of {} ends {}: that one becomes the shared one",
                best.file,
                day(leaf.not_after)
            );
            self.leave_out(&other.file, why);
        }
        let current = standing.stored.get(&certificate.name).and_then(|stored| stored.current.as_ref());
        if let Some(current) = current {
            let its = &current.leaf;
            let why = if its.fingerprint == leaf.fingerprint {
                format!("certd has this certificate already, as generation {}", current.generation)
            } else if leaf.not_after <= its.not_after || leaf.not_before <= its.not_before {
                format!("certd has one that is newer or lasts longer: generation {}", current.generation)
            } else {
                String::new()
            };
            if !why.is_empty() {
                return self.leave_out(&best.file, why);
            }
        }
        let issuer = issuer(config, best);
        let ca = best.directory.as_ref().map_or_else(|| UNKNOWN_CA.to_owned(), ca_host);
        // What profile it has is not known, and to order it anew for that is not what an import is for.
        let profile = match issuer {
            Some(ca) if ca.host != config.acme.host => ca.profile.clone(),
            _ => certificate.profile.clone(),
        };
        self.certificates.push(Adopted {
            name: certificate.name.clone(),
            pair: pair.clone(),
            key_type: certificate.key_type,
            profile,
            ca: issuer.map_or(ca, |ca| ca.host.clone()),
            file: best.file.clone(),
            node: home.node.clone(),
            home: home.home.clone(),
        });
    }

    /// Whether certd would take it from a CA.
    fn is_fit(
        &mut self,
        config: &Config,
        certificate: &Certificate,
        one: &FoundCertificate,
        pair: &Pair,
        roots: &Roots,
        now: Timestamp,
    ) -> bool {
        let leaf = &pair.chain().leaf;
        if leaf.key_type != Some(certificate.key_type) {
            let mut others = config.certificates.iter().filter(|other| other.names == certificate.names);
            if !others.any(|other| leaf.key_type == Some(other.key_type)) {
                let its = leaf.key_type.map_or("of a type that certd does not order", KeyType::as_str);
                let why = format!(
                    "its key is {its}, and {} is to have {}: it would be replaced at once",
                    certificate.name,
                    certificate.key_type.as_str()
                );
                self.leave_out(&one.file, why);
            }
            return false;
        }
        if leaf.not_after <= now {
            self.leave_out(&one.file, format!("it expired {}", day(leaf.not_after)));
            return false;
        }
        let flaws = lint(pair, &certificate.names, roots, now);
        if !flaws.is_empty() {
            let why = format!("it fails certd's own checks: {}", list::first(3, &flaws));
            self.leave_out(&one.file, why);
        }
        flaws.is_empty()
    }

    /// What other clients have ordered for these names counts at the CA as well.
    fn count(
        &mut self,
        config: &Config,
        standing: &Standing,
        certificate: &Certificate,
        one: &FoundCertificate,
        pair: &Pair,
        now: Timestamp,
    ) {
        let Some(ca) = issuer(config, one) else { return };
        let at = pair.chain().leaf.not_before;
        let recent = at <= now && now.duration_since(at) < COUNTED;
        // No URL of an order: another machine's or an earlier import's of the same certificate is known by it.
        let order = format!("imported: certificate {}", pair.chain().leaf.serial);
        let same = |entry: &LedgerEntry| entry.ca == ca.host && entry.order.as_ref() == Some(&order);
        // More the CA does not give, and a full ledger is full.
        let of_names = |entry: &&LedgerEntry| entry.ca == ca.host && entry.names == certificate.names;
        let full = self.ledger.iter().filter(of_names).count() >= ca.certificates_per_week;
        if recent && !full && !self.ledger.iter().any(same) && !standing.ledger.iter().any(same) {
            let (ca, names, event) =
                (ca.host.clone(), certificate.names.clone(), LedgerEvent::Finalize { exempt: false });
            self.ledger.push(LedgerEntry { at, ca, names, event, order: Some(order) });
        }
    }

    fn stranger(&mut self, config: &Config, one: &FoundCertificate, now: Timestamp) {
        if config.certificates.iter().any(|certificate| certificate.names == one.names) {
            return;
        }
        let its: BTreeSet<&DnsName> = one.names.iter().collect();
        let shares = |certificate: &&Certificate| certificate.names.iter().any(|name| its.contains(name));
        if let Some(certificate) = config.certificates.iter().find(shares) {
            let why = format!(
                "its names are not those of {} in the configuration ({}): {}",
                certificate.name,
                list::first(5, certificate.names.iter()),
                list::first(5, one.names.iter())
            );
            return self.leave_out(&one.file, why);
        }
        match one.leaf() {
            Some(leaf) if leaf.not_after <= now => {
                self.leave_out(&one.file, format!("it expired {}", day(leaf.not_after)))
            }
            Some(_) => {
                let why =
                    format!("no certificate of the configuration has its names: {}", list::first(5, one.names.iter()));
                self.leave_out(&one.file, why);
                self.strangers.push(one.clone());
            }
            None => {}
        }
    }

    fn account(&mut self, standing: &Standing, ca: &Acme, found: &[Found], new_key: bool) {
        let mut candidates: Vec<(&Found, &FoundAccount)> = found
            .iter()
            .flat_map(|home| home.accounts.iter().map(move |account| (home, account)))
            .filter(|(_, account)| same_directory(&ca.directory, &account.directory))
            .collect();
        if standing.accounts.contains(&ca.host) {
            for (_, account) in candidates {
                self.leave_out(&account.file, format!("certd has an account at {} already, and keeps it", ca.host));
            }
            return;
        }
        // `replaces` is for the account that the certificate was ordered with.
        let of = self.certificates.iter().find(|adopted| adopted.ca == ca.host);
        let elsewhere = |home: &Found| of.is_none_or(|of| of.node != home.node || of.home != home.home);
        candidates.sort_by_key(|(home, account)| (elsewhere(home), account.url.is_none()));
        let mut candidates = candidates.into_iter();
        let Some((_, chosen)) = candidates.next() else { return };
        for (_, other) in candidates.filter(|(_, other)| other.url.is_none() || other.url != chosen.url) {
            let why = format!("another account at {}: certd takes that of {}", ca.host, chosen.file);
            self.leave_out(&other.file, why);
        }
        let exchange = !chosen.key.is_p256();
        if exchange && !new_key {
            let why = format!(
                "certd signs with ECDSA P-256 keys alone, and this account has another. With --new-account-key certd gives \
                 the account a new key at {}, and {} cannot use it any more; without, certd makes an account of its own",
                ca.host, "the other client"
            );
            return self.leave_out(&chosen.file, why);
        }
        self.accounts.push(Account { ca: ca.host.clone(), account: chosen.clone(), new_key: exchange });
    }
}

fn issuer<'a>(config: &'a Config, one: &FoundCertificate) -> Option<&'a Acme> {
    let directory = one.directory.as_ref()?;
    config.cas().find(|ca| same_directory(&ca.directory, directory))
}

pub(super) fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests;
