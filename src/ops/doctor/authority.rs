//! The CAs: whether each is reached, what its clock says, and whether our account is valid.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::context::Context;
use crate::context::ca::http;
use crate::model::{Code, Finding};
use crate::ops::account;
use crate::ops::account::AccountView;
use crate::report::doctor::{Area, CheckupItem, of_skew};

use super::missing::Missing;

/// # Errors
/// The state directory cannot be read.
pub(crate) async fn look(context: &Arc<Context>, missing: &Missing) -> Result<Vec<CheckupItem>, Finding> {
    let mut views = JoinSet::new();
    for (number, ca) in context.config.cas().filter(|ca| !missing.ca(&ca.host)).cloned().enumerate() {
        let context = Arc::clone(context);
        views.spawn(async move {
            let shown = account::show(&context, &[&ca]).await;
            if let Ok(http) = http(&context, &ca) {
                context.note_ca_clock(&ca.host, &http);
            }
            (number, shown)
        });
    }
    let mut views = views.join_all().await;
    views.sort_by_key(|(number, _)| *number);
    let mut findings = Vec::new();
    for (_, shown) in views {
        findings.extend(shown?.accounts.iter().map(of_view));
    }
    findings.extend(context.ca_clock().map(|(ca, clocks)| of_skew(&ca, clocks)));
    Ok(findings)
}

fn of_view(view: &AccountView) -> CheckupItem {
    if let Some(failure) = &view.failure {
        return CheckupItem::bad(Area::Ca, failure);
    }
    let Some(ours) = &view.account else {
        return CheckupItem::ok(Area::Ca, &view.ca, "reached; no account yet: the first `certd renew` creates it");
    };
    match ours.status.as_deref() {
        None => {
            CheckupItem::ok(Area::Ca, &view.ca, "reached; its account is incomplete: the next `certd renew` creates it")
        }
        Some("valid") if ours.key_change_begun => {
            let what = "the account is valid, but a key change is unfinished";
            let next = "finish it: certd account rollover";
            CheckupItem::bad(Area::Ca, &failure(view, Code::AcmeKeyChange, what, next))
        }
        Some("valid") => CheckupItem::ok(Area::Ca, &view.ca, "reached; the account is valid"),
        Some(status) => {
            let what = format!("the account is {status:?}");
            let next = "move its folder out of accounts/; the next `certd renew` creates a new account";
            CheckupItem::bad(Area::Ca, &failure(view, Code::AcmeAccount, &what, next))
        }
    }
}

fn failure(view: &AccountView, code: Code, what: &str, next: &str) -> Finding {
    Finding::for_a_person(code, &view.ca, what, next)
}
