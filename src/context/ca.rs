//! The account at a CA: the key is on disk before the CA sees it, and the URL is on disk before the first order.

use crate::acme::{self, Account, AccountKey, Binding, Http, REQUEST_LIMIT, Settings};
use crate::config::Acme;
use crate::context::Context;
use crate::context::effect_failure::of_acme;
use crate::context::progress::Event;
use crate::http::Trust;
use crate::model::{Code, Finding};
use crate::mutex::lock;
use crate::store::AccountRecord;

/// The configured CA with this host.
pub(crate) fn ca<'a>(context: &'a Context, host: &str) -> Result<&'a Acme, Finding> {
    context.config.ca(host).ok_or_else(|| {
        Finding::for_a_person(
            Code::AcmeUnknownCa,
            host,
            "the configuration does not (or no longer) name this CA",
            "nothing: certd uses the CAs that it names",
        )
    })
}

/// One client per CA, so that each directory is fetched once a pass.
pub(crate) fn http(context: &Context, ca: &Acme) -> Result<Http, Finding> {
    let mut clients = lock(&context.cas);
    if let Some(http) = clients.get(&ca.host) {
        return Ok(http.clone());
    }
    let http = client(context, ca)?;
    clients.insert(ca.host.clone(), http.clone());
    Ok(http)
}

fn client(context: &Context, ca: &Acme) -> Result<Http, Finding> {
    let mut options = context.http_options();
    if let Some(pem) = context.secrets.acme_ca.get(&ca.host) {
        options.trust = Trust::Only(pem.clone());
    }
    let settings = Settings { directory: ca.directory.clone(), options, limit: REQUEST_LIMIT };
    Http::new(&settings).map_err(|error| of_acme(&ca.directory, &error))
}

/// Opens the account. Creates it if there is none, and completes a key change that has begun.
pub(crate) async fn account(context: &Context, config: &Acme, http: &Http) -> Result<Account, Finding> {
    let _one_at_a_time = context.account.lock().await;
    let _waiting = context.progress.waiting("account at", &config.host);
    let ca = &config.host;
    let failed = |error: acme::AcmeError| of_acme(ca, &error);
    if let Err(failure) = settle(context, ca, http).await {
        // The old key presumably still works, so an order need not fail for this.
        say(context, ca, format!("the key change of the account is unfinished: {}", failure.what));
    }
    let kept = context.store.account(ca)?;
    let contact = &config.contact;
    let (old, known) = (kept.is_some(), kept.as_ref().is_some_and(|record| record.url.is_some()));
    let mut record = match kept {
        Some(record) => record,
        None => {
            let key = AccountKey::generate().map_err(failed)?;
            let record = AccountRecord { key_pkcs8: key.pkcs8().clone(), url: None, contact: contact.clone() };
            context.store.write_account(ca, &record)?;
            record
        }
    };
    let key = AccountKey::from_pkcs8(record.key_pkcs8.clone());
    if !known {
        record.url = Some(url(context, config, http, &key, old).await.map_err(failed)?);
        record.contact.clone_from(contact);
        context.store.write_account(ca, &record)?;
    }
    let url = record.url.as_deref().unwrap_or_default();
    let account = acme::open(http, &key, url).await.map_err(failed)?;
    // Contacts are optional: an order must not fail because of them.
    if record.contact != *contact {
        match account.update_contact(contact).await {
            Ok(()) => {
                record.contact.clone_from(contact);
                context.store.write_account(ca, &record)?;
            }
            Err(error) => say(context, ca, format!("the CA refuses the new contacts: {error}")),
        }
    }
    Ok(account)
}

/// Completes a key change that an earlier run began: the new key counts as soon as the CA knows it. The change is never
/// abandoned, since a request of that run may still be under way. `false`: none had begun.
pub(crate) async fn settle(context: &Context, ca: &str, http: &Http) -> Result<bool, Finding> {
    let store = &context.store;
    let Some(next) = store.next_account_key(ca)? else { return Ok(false) };
    let next = AccountKey::from_pkcs8(next);
    let failed = |error: acme::AcmeError| of_acme(ca, &error);
    if acme::find(http, &next).await.map_err(failed)?.is_none() {
        let kept = store.account(ca)?;
        let Some((url, key)) = kept.and_then(|kept| Some((kept.url?, AccountKey::from_pkcs8(kept.key_pkcs8)))) else {
            return Ok(false);
        };
        let changed = acme::roll_over(http, &url, &key, &next).await;
        // The key may have changed although the answer was lost.
        if let Err(error) = changed
            && acme::find(http, &next).await.map_err(failed)?.is_none()
        {
            return Err(failed(error));
        }
    }
    store.adopt_next_account_key(ca)?;
    say(context, ca, "the account has its new key".to_owned());
    Ok(true)
}

fn say(context: &Context, ca: &str, step: String) {
    context.progress.say(Event::Account { ca: ca.to_owned(), step });
}

/// `old`: an earlier run may have been killed before it received the URL. The account may then exist already, and its
/// external account binding be used up.
async fn url(
    context: &Context,
    ca: &Acme,
    http: &Http,
    key: &AccountKey,
    old: bool,
) -> Result<String, acme::AcmeError> {
    if old && let Some(url) = acme::find(http, key).await? {
        return Ok(url);
    }
    let binding = match (&ca.eab, context.secrets.eab_hmac.get(&ca.host)) {
        (Some(eab), Some(hmac)) => Some(Binding::new(eab.kid.clone(), hmac)?),
        _ => None,
    };
    acme::register(http, key, &ca.contact, binding.as_ref()).await
}
