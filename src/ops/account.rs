//! Shows and changes the account at a CA.
//!
//! After an error the account is unchanged, or the change has begun and the next run completes it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::acme::{self, About, AccountKey, AcmeError, Http, Known};
use crate::cert::{CertName, DnsName};
use crate::config::{Acme, Challenge};
use crate::context::ca::{account, http, settle};
use crate::context::effect_failure::of_acme;
use crate::context::{Context, clock};
use crate::dns::TxtRecord;
use crate::execute::issue::records::publish_for_good;
use crate::model::{Code, Finding, LedgerEntry, LedgerEvent};
use crate::plan::ledger;
use crate::plan::order::PersistRecord;
use crate::text::escape;

/// The longest text of a CA that is shown, in characters.
const SHOWN: usize = 300;
const MOST_CONTACTS: usize = 20;
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Version of the JSON shape, like [`crate::report::SCHEMA`].
const SCHEMA: &str = "certd.account/1";

/// What `certd account` shows.
#[derive(Clone, Debug, Serialize)]
pub struct Accounts {
    pub schema: &'static str,
    pub at: Timestamp,
    pub accounts: Vec<AccountView>,
}

/// One CA, and our account there.
#[derive(Clone, Debug, Serialize)]
pub struct AccountView {
    pub ca: String,
    pub directory: String,
    /// `null`: there is no account yet.
    pub account: Option<Ours>,
    /// The CA's directory metadata; `null`: it was not reached.
    pub about: Option<About>,
    /// TXT records to create once, if `challenge` is dns-persist-01 and there is an account.
    pub records: Vec<Record>,
    /// By certificate.
    pub week: BTreeMap<CertName, Week>,
    /// Why something above is missing.
    pub failure: Option<Finding>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Ours {
    /// `null`: the CA has not answered yet.
    pub url: Option<String>,
    /// `valid`, `deactivated` or `revoked`, as the CA reports; `null`: not reported.
    pub status: Option<String>,
    pub contact: Vec<String>,
    pub key_file: PathBuf,
    /// RFC 7638.
    pub thumbprint: String,
    /// A key change has begun; the next command that opens the account completes it.
    pub key_change_begun: bool,
}

/// A permanent TXT record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    pub name: String,
    pub value: String,
}

/// Certificates of this name set in the last seven days that count against the CA's limit.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Week {
    pub used: usize,
    /// For ordinary use, and when a certificate is about to expire.
    pub room: usize,
    pub emergency_room: usize,
}

/// Changes nothing.
///
/// # Errors
/// The state directory cannot be read.
pub async fn show(context: &Context, cas: &[&Acme]) -> Result<Accounts, Finding> {
    let mut accounts = Vec::new();
    for ca in cas {
        accounts.push(view(context, ca).await?);
    }
    Ok(Accounts { schema: SCHEMA, at: clock::now(), accounts })
}

/// Creates the account if there is none; `true`: it was created now. The caller holds the lock.
pub async fn register(context: &Context, ca: &Acme) -> Result<(bool, String), Finding> {
    let known = context.store.account(&ca.host)?;
    let known = known.is_some_and(|kept| kept.url.is_some());
    let account = account(context, ca, &http(context, ca)?).await?;
    // Check that the CA still knows the account.
    account.known().await.map_err(|error| of_acme(&ca.host, &error))?;
    Ok((!known, escape(account.url(), SHOWN)))
}

/// Replaces the account's key and returns the new thumbprint. The caller holds the lock.
pub async fn roll_over(context: &Context, ca: &Acme) -> Result<String, Finding> {
    let store = &context.store;
    let kept = store.account(&ca.host)?;
    if kept.is_none_or(|kept| kept.url.is_none()) {
        return Err(no_account(ca));
    }
    let http = http(context, ca)?;
    if store.next_account_key(&ca.host)?.is_none() {
        // Check first that the CA supports key changes, so that none is left half done.
        let about = acme::about(&http).await.map_err(|error| of_acme(&ca.host, &error))?;
        if !about.key_change {
            let (url, feature) = (ca.directory.to_string(), "change of keys");
            return Err(of_acme(&ca.host, &AcmeError::Unsupported { url, feature }));
        }
        let next = AccountKey::generate().map_err(|error| of_acme(&ca.host, &error))?;
        store.write_next_account_key(&ca.host, next.pkcs8())?;
    }
    settle(context, &ca.host, &http).await?;
    let kept = store.account(&ca.host)?.ok_or_else(|| no_account(ca))?;
    AccountKey::from_pkcs8(kept.key_pkcs8).thumbprint().map_err(|error| of_acme(&ca.host, &error))
}

/// Creates the permanent TXT records of dns-persist-01 through the DNS provider. The caller holds the lock.
pub async fn persist(context: &Context, ca: &Acme) -> Result<Vec<Record>, Finding> {
    let http = http(context, ca)?;
    let about = acme::about(&http).await.map_err(|error| of_acme(&ca.host, &error))?;
    let (ours, failure) = ours(context, ca, &http, true).await?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    let ours = ours.filter(|ours| ours.url.is_some()).ok_or_else(|| no_account(ca))?;
    if about.caa_identities.is_empty() {
        return Err(Finding::for_a_person(
            Code::AcmeNoIssuerName,
            ca.host.clone(),
            "the CA's directory does not name the issuer that the records must contain",
            "run `certd renew` once: it reports the content of each record",
        ));
    }
    let records = records(context, ca, Some(&ours), Some(&about));
    let txt = |record: &Record| TxtRecord { name: record.name.clone(), value: record.value.clone() };
    publish_for_good(context, records.iter().map(txt).collect()).await?;
    Ok(records)
}

/// Deactivates the account permanently and returns its URL. Succeeds if it is deactivated already. The caller holds the
/// lock.
pub async fn deactivate(context: &Context, ca: &Acme) -> Result<String, Finding> {
    let store = &context.store;
    let http = http(context, ca)?;
    // Ignore errors: an account that is about to be deactivated needs no new key.
    let _ = settle(context, &ca.host, &http).await;
    let kept = store.account(&ca.host)?;
    let Some((key, url)) = kept.and_then(|kept| Some((kept.key_pkcs8, kept.url?))) else {
        return Err(no_account(ca));
    };
    let failed = |error: AcmeError| of_acme(&ca.host, &error);
    let account = acme::open(&http, &AccountKey::from_pkcs8(key), &url).await.map_err(failed)?;
    match account.deactivate().await {
        Err(error) if error.kind() != Some(acme::Kind::AccountDead) => Err(failed(error)),
        _ => Ok(escape(&url, SHOWN)),
    }
}

async fn view(context: &Context, ca: &Acme) -> Result<AccountView, Finding> {
    let _waiting = context.progress.waiting("account at", &ca.host);
    let http = http(context, ca)?;
    let (about, mut failure) = match acme::about(&http).await {
        Ok(about) => (Some(about), None),
        Err(error) => (None, Some(of_acme(&ca.host, &error))),
    };
    let (account, error) = ours(context, ca, &http, about.is_some()).await?;
    failure = failure.or(error);
    let noted = context.store.ledger()?;
    let now = clock::now();
    let week = context.config.certificates.iter().map(|certificate| {
        let counts = |entry: &&LedgerEntry| {
            entry.ca == ca.host
                && entry.names == certificate.names
                && now.duration_since(entry.at) < WEEK
                && matches!(entry.event, LedgerEvent::Finalize { exempt: false })
        };
        let (used, most) = (noted.iter().filter(counts).count(), ca.certificates_per_week);
        (certificate.name.clone(), Week { used, room: ledger::ordinary(most), emergency_room: most })
    });
    let directory = ca.directory.to_string();
    let records = records(context, ca, account.as_ref(), about.as_ref());
    Ok(AccountView { ca: ca.host.clone(), directory, account, about, records, week: week.collect(), failure })
}

fn records(context: &Context, ca: &Acme, ours: Option<&Ours>, about: Option<&About>) -> Vec<Record> {
    let Some(url) = ours.and_then(|ours| ours.url.as_deref()) else { return Vec::new() };
    if ca.challenge != Challenge::DnsPersist01 {
        return Vec::new();
    }
    let named = about.map(|about| about.caa_identities.as_slice()).unwrap_or_default();
    let issuers: Vec<DnsName> = named.iter().filter_map(|name| DnsName::parse(name).ok()).collect();
    let mut records: BTreeMap<String, String> = BTreeMap::new();
    let names = context.config.certificates.iter().flat_map(|certificate| certificate.names.iter());
    for name in names {
        let wanted = PersistRecord { name: name.clone(), issuers: issuers.clone() };
        // A wildcard's record also covers the name itself.
        if name.is_wildcard() || !records.contains_key(&wanted.record()) {
            records.insert(wanted.record(), wanted.value(url));
        }
    }
    records.into_iter().map(|(name, value)| Record { name, value }).collect()
}

/// Our account, and the error if the CA did not report it. During a key change the CA may know either key.
async fn ours(
    context: &Context,
    ca: &Acme,
    http: &Http,
    reached: bool,
) -> Result<(Option<Ours>, Option<Finding>), Finding> {
    let store = &context.store;
    let Some(kept) = store.account(&ca.host)? else { return Ok((None, None)) };
    let next = store.next_account_key(&ca.host)?.map(AccountKey::from_pkcs8);
    let key = AccountKey::from_pkcs8(kept.key_pkcs8);
    let failed = |error: AcmeError| of_acme(&ca.host, &error);
    let mut ours = Ours {
        url: kept.url.as_deref().map(|url| escape(url, SHOWN)),
        status: None,
        contact: kept.contact,
        key_file: store.account_key_file(&ca.host)?,
        thumbprint: key.thumbprint().map_err(failed)?,
        key_change_begun: next.is_some(),
    };
    let Some(url) = kept.url.filter(|_| reached) else { return Ok((Some(ours), None)) };
    let mut answer = known(http, &key, &url).await;
    if let (Err(_), Some(next)) = (&answer, &next) {
        answer = known(http, next, &url).await;
    }
    match answer {
        Ok(known) => {
            ours.status = Some(escape(&known.status, SHOWN));
            ours.contact = known.contact.iter().take(MOST_CONTACTS).map(|contact| escape(contact, SHOWN)).collect();
            Ok((Some(ours), None))
        }
        Err(error) if error.kind() == Some(acme::Kind::AccountDead) => {
            ours.status = Some("deactivated".to_owned());
            Ok((Some(ours), Some(failed(error))))
        }
        Err(error) => Ok((Some(ours), Some(failed(error)))),
    }
}

async fn known(http: &Http, key: &AccountKey, url: &str) -> Result<Known, AcmeError> {
    acme::open(http, key, url).await?.known().await
}

fn no_account(ca: &Acme) -> Finding {
    Finding::for_a_person(
        Code::AcmeNoAccount,
        ca.host.clone(),
        "there is no account at this CA yet",
        "create it with `certd account register`, or let the first `certd renew` create it",
    )
}
