//! The rehearsal of issuing, for all CAs: a harmless TXT record is made at the challenge's name, seen on every name
//! server, and removed; permanent records are looked for. No order is made, and no CA is asked.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};

use crate::cert::CertName;
use crate::config::{Acme, Certificate, Challenge, Config};
use crate::context::Context;
use crate::context::progress::{Event, Progress};
use crate::execute::issue::persist_record::check_persist_records;
use crate::execute::issue::records::Records;
use crate::model::{Code, Finding, Severity};
use crate::plan::order::{PersistRecord, Txt};

/// For every configured CA, with its challenge.
///
/// # Errors
/// The first thing that would have made a validation fail.
pub async fn rehearse(context: &Context, certificate: &Certificate) -> Result<(), Finding> {
    for ca in context.config.cas().filter(|ca| ca.challenge == Challenge::DnsPersist01) {
        rehearse_persist_records(context, certificate, ca).await?;
    }
    if makes_records(&context.config) { rehearse_made(context, certificate).await } else { Ok(()) }
}

/// Whether a CA needs a record for each order.
pub fn makes_records(config: &Config) -> bool {
    config.cas().any(|ca| ca.challenge == Challenge::Dns01)
}

async fn rehearse_made(context: &Context, certificate: &Certificate) -> Result<(), Finding> {
    let turn = context.orders_of(&certificate.names);
    let _turn = turn.lock().await;
    let mut records = Records::new(context, true)?;
    let mut wanted: Vec<Txt> = Vec::new();
    for name in certificate.names.iter() {
        if wanted.iter().all(|txt| txt.base != name.base()) {
            wanted.push(Txt { base: name.base().to_owned(), value: random()? });
        }
    }
    say(&context.progress, &certificate.name, "rehearse: publish and see a TXT record".to_owned());
    let rehearsed = async {
        records.publish(context, &wanted).await?;
        let (progress, name) = (context.progress.clone(), certificate.name.clone());
        records.await_seen(move |step| say(&progress, &name, step)).await
    };
    let rehearsed = rehearsed.await;
    // Elsewhere a record that is left is a warning, since a later run removes it; a rehearsal tests just that.
    let removed = records.unpublish(context).await.map_err(|failure| failure.of_severity(Severity::Failure));
    rehearsed.and(removed)
}

/// Looks for the permanent records. Their issuer is not checked: only the CA knows it.
async fn rehearse_persist_records(context: &Context, certificate: &Certificate, ca: &Acme) -> Result<(), Finding> {
    let kept = context.store.account(&ca.host)?;
    let Some(account) = kept.and_then(|kept| kept.url) else {
        let host = &ca.host;
        let step = format!("rehearse: without an account at {host} the TXT records cannot be checked");
        say(&context.progress, &certificate.name, step);
        return Ok(());
    };
    say(&context.progress, &certificate.name, "rehearse: look for the TXT records that stay".to_owned());
    let names = certificate.names.iter().cloned();
    let wanted: Vec<PersistRecord> = names.map(|name| PersistRecord { name, issuers: Vec::new() }).collect();
    check_persist_records(context, &account, &wanted).await
}

/// A random value, as long as the CA's.
fn random() -> Result<String, Finding> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| {
        Finding::for_a_person(
            Code::NoRandomness,
            "this machine",
            "the system gives no random bytes",
            "see the kernel's log",
        )
    })?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

pub(crate) fn say(progress: &Progress, certificate: &CertName, step: String) {
    progress.say(Event::Issue { certificate: certificate.clone(), step });
}
