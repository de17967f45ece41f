//! Imports what another ACME client keeps. Reading changes nothing; writing can be cut anywhere and run again: files of the
//! configuration first, then accounts and generations, each by one rename.

mod local;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;

use crate::acme::{self, AccountKey, AcmeError, Http};
use crate::cert::{CertName, Generation, NodeName};
use crate::config::Config;
use crate::context::ca::{ca, http};
use crate::context::effect_failure::of_acme;
use crate::context::failure::{bug, failure};
use crate::context::{Context, clock};
use crate::import::{Account, Adopted, Adoption, Client, Files, FoundAccount, Standing};
use crate::model::{Advice, Code, Finding, Meta};
use crate::node::homes::{self, Home, HomesError};
use crate::plan::fence;
use crate::ssh::Endpoint;
use crate::store::{AccountRecord, Store};

pub use local::read as local;

/// The homes of acme.sh on a node, through an administrator's login. `home`: that one alone.
///
/// # Errors
/// The login failed, no home is there, or the answer cannot be read. Nothing was changed.
pub async fn of_node(administrator: Endpoint, home: Option<&str>) -> Result<Vec<Files>, Finding> {
    let node = administrator.node.clone();
    let homes = homes::read(administrator, home).await;
    let failed = |error: HomesError| failure(error.code(), &node, &error, error.next(), Advice::Person);
    Ok(homes.map_err(failed)?.into_iter().map(|home| files(&node, home)).collect())
}

fn files(node: &NodeName, home: Home) -> Files {
    let mut files = Files::new(&home.path, Some(node.clone()));
    files.unprivileged = !home.trusted;
    for (path, bytes) in home.files {
        files.add(&path, bytes);
    }
    for (path, why) in home.skipped {
        files.leave_out(&path, why);
    }
    files
}

/// What the store has; of an absent one, nothing.
///
/// # Errors
/// It cannot be read.
pub fn standing(store: &Store, config: &Config) -> Result<Standing, Finding> {
    let mut stored = BTreeMap::new();
    for certificate in &config.certificates {
        stored.insert(certificate.name.clone(), store.stored(&certificate.name)?);
    }
    let mut accounts = BTreeSet::new();
    for ca in config.cas() {
        if store.account(&ca.host)?.is_some() {
            accounts.insert(ca.host.clone());
        }
    }
    Ok(Standing { stored, accounts, ledger: store.ledger()? })
}

/// What was written, and what could not be.
#[derive(Default)]
pub struct Written {
    pub generations: Vec<(CertName, Generation)>,
    /// Hosts of CAs, and the account's URL there if it is known.
    pub accounts: Vec<(String, Option<String>)>,
    pub failures: Vec<Finding>,
}

/// Writes into the store. The caller holds the lock. An account whose key cannot be exchanged keeps no certificate from
/// being stored.
///
/// # Errors
/// The state directory cannot be written. What was written stays, and is found by the next run.
pub async fn write(context: &Context, adoption: &Adoption) -> Result<Written, Finding> {
    let mut written = Written::default();
    for account in &adoption.accounts {
        match self::account(context, account).await {
            Ok(url) => written.accounts.push((account.ca.clone(), url)),
            Err(failure) => written.failures.push(failure),
        }
    }
    for entry in &adoption.ledger {
        context.store.note_ledger(entry)?;
    }
    for adopted in &adoption.certificates {
        written.generations.push((adopted.name.clone(), generation(&context.store, adopted, clock::now())?));
    }
    Ok(written)
}

fn generation(store: &Store, adopted: &Adopted, now: Timestamp) -> Result<Generation, Finding> {
    let leaf = &adopted.pair.chain().leaf;
    // Above what a node of an earlier certd's may hold.
    let held = fence::greatest(&adopted.name, &store.state()?, now).map_or(0, |above| above.number);
    let seen = store.stored(&adopted.name)?.greatest.max(held);
    let issued_at = leaf.not_before.min(now);
    let generation = Generation::issued(issued_at, seen, &leaf.serial).map_err(|error| bug(&adopted.name, error))?;
    let meta = Meta { key_type: adopted.key_type, profile: adopted.profile.clone(), ca: adopted.ca.clone(), issued_at };
    Ok(store.keep(&adopted.name, &generation, &adopted.pair, &meta)?)
}

async fn account(context: &Context, account: &Account) -> Result<Option<String>, Finding> {
    let (store, host) = (&context.store, &account.ca);
    let found = &account.account;
    let (key_pkcs8, url) = if account.new_key {
        let http = http(context, ca(context, host)?)?;
        let url = exchange(store, host, &http, found).await?;
        let Some(adopted) = store.account(host)? else { return Err(bug(host, "an account without a key")) };
        (adopted.key_pkcs8, Some(url))
    } else {
        let key = AccountKey::from_pem(found.key.pem()).ok_or_else(|| bug(host, "a P-256 key that cannot be read"))?;
        // The URL in the other client's files is that machine's word: the CA's counts.
        let http = http(context, ca(context, host)?)?;
        let url = match valid(&http, &key).await {
            Ok(Some(url)) => Some(url),
            Ok(None) => {
                let next = "nothing to do: certd makes an account of its own when it first needs one";
                let what = format!("the CA knows no valid account with the key in {}: it is not stored", found.file);
                return Err(failure(Code::AcmeNoAccount, host, what, next, Advice::Person));
            }
            // Without an answer it is found by its key later.
            Err(AcmeError::Unreachable { .. } | AcmeError::Status { .. }) => None,
            // A deactivated account, for one: it would stop every order.
            Err(error) => return Err(of_acme(host, &error)),
        };
        (key.pkcs8().clone(), url)
    };
    store.write_account(host, &AccountRecord { key_pkcs8, url: url.clone(), contact: found.contact.clone() })?;
    Ok(url)
}

/// The URL of the account with this key, if the CA lets it order.
async fn valid(http: &Http, key: &AccountKey) -> Result<Option<String>, AcmeError> {
    let Some(url) = acme::find(http, key).await? else { return Ok(None) };
    let known = acme::open(http, key, &url).await?.known().await?;
    Ok(Some(url).filter(|_| known.status == "valid"))
}

/// Gives the account a new key (RFC 8555 section 7.3.5), and returns its URL. The new key is on disk before the CA hears
/// of it: killed in between, this, or whatever opens the account next, asks the CA which key it knows.
async fn exchange(store: &Store, host: &str, http: &Http, found: &FoundAccount) -> Result<String, Finding> {
    let failed = |error: AcmeError| of_acme(host, &error);
    let next = match store.next_account_key(host)? {
        Some(key) => AccountKey::from_pkcs8(key),
        None => {
            let key = AccountKey::generate().map_err(failed)?;
            store.write_next_account_key(host, key.pkcs8())?;
            key
        }
    };
    let mut url = acme::find(http, &next).await.map_err(failed)?;
    if url.is_none() {
        let known = acme::find_by(http, found.key.pem()).await.map_err(failed)?.ok_or_else(|| {
            let next = "import without --new-account-key: certd makes an account of its own";
            failure(Code::AcmeNoAccount, host, "the CA knows no account with the found key", next, Advice::Person)
        })?;
        acme::roll_over_from(http, &known, found.key.pem(), &next).await.map_err(failed)?;
        url = Some(known);
    }
    store.adopt_next_account_key(host)?;
    url.ok_or_else(|| bug(host, "an account without a URL"))
}

/// The configuration's file has to be root's, and the folder that it comes into.
///
/// # Errors
/// Somebody else can write there.
pub fn check_folder(path: &Path) -> Result<(), Finding> {
    use crate::store::guard::Writers;
    Writers::of_configuration().check(path).map_err(Finding::from)
}

/// The client's name in a sentence.
pub fn no_home(client: Client, path: &Path) -> Finding {
    let name = client.as_str();
    let what = format!("{}: no folder of {name}: what it keeps there is not in it", path.display());
    let next = match client {
        Client::AcmeSh => "give the folder that holds account.conf: `crontab -l` shows it behind --home",
        Client::Certbot => "give the folder that holds `renewal` and `live`: /etc/letsencrypt",
        Client::Lego => "give the folder that holds `certificates` and `accounts`: lego's --path, or .lego",
    };
    failure(Code::ImportSource, path.display(), what, next, Advice::Person)
}
