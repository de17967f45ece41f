//! The profile that an order asks for, checked against what the CA offers, before any order is made.

use crate::acme::{Http, about};
use crate::config::Acme;
use crate::context::Context;
use crate::context::effect_failure::of_acme;
use crate::execute::issue::rehearsal::say;
use crate::model::{Code, Finding};
use crate::plan::Issue;

/// `None`: no profile is configured, or the CA knows none: then its certificates are all of one kind, and the order is
/// made without (draft-ietf-acme-profiles section 4: the directory lists them).
///
/// # Errors
/// The CA offers profiles, but not this one.
pub(crate) async fn offered<'a>(
    context: &Context,
    task: &'a Issue,
    ca: &Acme,
    http: &Http,
) -> Result<Option<&'a str>, Finding> {
    let Some(wanted) = task.profile.as_deref() else { return Ok(None) };
    let profiles = about(http).await.map_err(|error| of_acme(&ca.host, &error))?.profiles;
    if profiles.is_empty() {
        let step = format!("the CA offers no profiles: the order is made without {wanted:?}");
        say(&context.progress, &task.certificate, step);
        return Ok(None);
    }
    if profiles.contains_key(wanted) {
        return Ok(Some(wanted));
    }
    let names: Vec<&str> = profiles.keys().map(String::as_str).collect();
    Err(Finding::for_a_person(
        Code::AcmeProfile,
        &task.certificate,
        format!("{} offers no profile {wanted:?}", ca.host),
        format!("write a `profile` that it offers ({}), or none", names.join(", ")),
    ))
}
