//! The order, a state machine that decides the next step at the CA and in DNS from the result of the previous one.
//! Pure: events bring their own instant, and effects make one attempt each.
//!
//! Giving up always has a reason ([`GiveUp`]). The TXT records are removed first, and an order that may still succeed
//! keeps its URL, so that a later run resumes it and, for a day at least, makes no other.

mod judge;
mod persist_record;
mod steps;

pub use steps::{Action, ErrorClass, Event, GiveUp, PersistRecord, Txt, Verdict};

use jiff::{SignedDuration, Timestamp};

use crate::cert::DnsName;
use crate::model::{Authorization, AuthorizationState, Intent, Proof, Status};

use super::ledger::LimitReached;

/// The first pause between two polls, in milliseconds. A test CA is done by then; Let's Encrypt takes a few seconds.
pub const FIRST_PAUSE_MS: u64 = 50;
/// Pauses double up to this.
pub const LONGEST_PAUSE_MS: u64 = 5_000;
/// A longer Retry-After is not waited out within a run: the next run resumes the order.
pub const LONGEST_PATIENCE_MS: u64 = 60_000;
/// Attempts at one step when the CA or the API fails in a way that may pass.
pub const ATTEMPTS: u32 = 4;
/// How long the CA may take to validate. Boulder answers in seconds; RFC 8555 sets no limit.
pub const VALIDATION_BOUND: SignedDuration = SignedDuration::from_mins(5);
/// How long the CA may take to sign. After that the order is left to a later run.
pub const SIGNING_BOUND: SignedDuration = SignedDuration::from_mins(5);
/// How far in the future `not_before` may lie to be waited for within a run. Clocks kept by NTP differ by less than a
/// second, clocks set by hand by a minute or two; more is a fault that an operator must see.
pub const SKEW_BOUND: SignedDuration = SignedDuration::from_mins(2);
/// An order that leads nowhere (its certificate fails our checks, the CA neither signs nor validates, or no longer
/// shows it) is resumed for this long, or until renewal is forced; then another is made.
pub const RESUMED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// The machine's state.
#[derive(Clone, Debug)]
pub struct Order {
    begun_at: Timestamp,
    replaces: Option<String>,
    /// The ledger already holds this order's finalize.
    noted: bool,
    /// A dead order was replaced by a new one; that happens once.
    restarted: bool,
    /// Why another order is wanted, while its limits are checked.
    wanted: Option<GiveUp>,
    /// The order was made by an earlier run.
    resumed: bool,
    /// Renewal is forced: a better certificate does not wait a day.
    forced: bool,
    /// The finalize request was sent.
    signing: bool,
    /// Finalize requests sent for this order.
    finalizes: u32,
    /// The action that the next event answers.
    doing: Action,
    attempts: u32,
    pause_ms: u64,
    /// Start of the current wait for the CA.
    since: Timestamp,
    /// Indexes of the authorizations to validate once their values are seen.
    pending: Vec<usize>,
}

/// Starts or resumes the order of an intent. `noted`: the ledger already holds its finalize.
pub fn begin(intent: &Intent, noted: bool, now: Timestamp) -> (Order, Vec<Action>) {
    let first = match &intent.order_url {
        Some(url) => Action::Fetch { url: url.clone() },
        None => Action::NewOrder { replaces: intent.replaces.clone() },
    };
    let mut order = Order {
        begun_at: intent.begun_at,
        replaces: intent.replaces.clone(),
        noted,
        restarted: false,
        wanted: None,
        resumed: intent.order_url.is_some(),
        forced: false,
        signing: false,
        finalizes: 0,
        doing: first.clone(),
        attempts: 0,
        pause_ms: FIRST_PAUSE_MS,
        since: now,
        pending: Vec::new(),
    };
    let actions = order.ask(first);
    (order, actions)
}

/// The actions after `event`, which answers the last action.
pub fn on(mut order: Order, event: Event, now: Timestamp) -> (Order, Vec<Action>) {
    let actions = order.after(event, now);
    (order, actions)
}

impl Order {
    /// For a forced renewal.
    pub fn forced(self) -> Self {
        Self { forced: true, ..self }
    }

    fn after(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        match (self.doing.clone(), event) {
            (doing, Event::Failed(error)) => self.failed(&doing, error, now),
            (Action::NewOrder { .. }, Event::Ordered { url, status }) => {
                let mut actions = vec![Action::NoteUrl { url }];
                actions.extend(self.continue_at(status, now));
                actions
            }
            (Action::Fetch { .. }, Event::Fetched { status }) | (Action::Finalize, Event::Finalized { status }) => {
                self.continue_at(status, now)
            }
            (Action::Authorize, Event::Authorizations(authorizations)) => self.authorize(&authorizations, now),
            (Action::Publish { .. }, Event::Published) => self.ask(Action::AwaitSeen),
            (Action::AwaitSeen | Action::CheckPersistRecord { .. }, Event::Seen) => {
                let indexes = core::mem::take(&mut self.pending);
                self.ask(Action::Challenge { indexes })
            }
            (Action::Challenge { .. }, Event::Challenged) => self.wait_anew(now),
            (Action::Poll { .. }, Event::Polled { status, retry_after_ms }) => self.polled(status, retry_after_ms, now),
            (Action::Download, Event::Downloaded) => self.ask(Action::Check),
            (Action::Check, Event::Checked(verdict)) => self.checked(verdict, now),
            (Action::CheckLimits { .. }, Event::LimitsChecked(full)) => self.limits_checked(full, now),
            (Action::FetchErrors, Event::ErrorsFetched { names }) => self.errors_fetched(names),
            _ => self.give_up(GiveUp::OutOfOrder),
        }
    }

    fn continue_at(&mut self, status: Status, now: Timestamp) -> Vec<Action> {
        match status {
            Status::Pending => self.ask(Action::Authorize),
            Status::Ready if !self.signing => self.finalize(now),
            Status::Processing if !self.signing => {
                self.signing = true;
                self.wait_anew(now)
            }
            Status::Ready | Status::Processing => {
                let after_ms = self.next_pause(None);
                self.ask(Action::Poll { after_ms })
            }
            Status::Valid => self.ask(Action::Download),
            Status::Invalid => self.ask(Action::FetchErrors),
        }
    }

    fn authorize(&mut self, authorizations: &[Authorization], now: Timestamp) -> Vec<Action> {
        if authorizations.iter().any(|authorization| authorization.state == AuthorizationState::Dead) {
            return self.ask(Action::FetchErrors);
        }
        let (mut records, mut persistent) = (Vec::new(), Vec::new());
        for authorization in authorizations.iter().filter(|a| a.state == AuthorizationState::Pending) {
            let name = authorization.name.clone();
            match &authorization.proof {
                Some(Proof::Value(value)) => {
                    records.push(Txt { base: name.base().to_owned(), value: value.clone() });
                }
                Some(Proof::PersistRecord { issuers }) => {
                    persistent.push(PersistRecord { name, issuers: issuers.clone() })
                }
                None => return self.give_up(GiveUp::NoChallenge(name)),
            }
            self.pending.push(authorization.index);
        }
        if !persistent.is_empty() {
            return self.ask(Action::CheckPersistRecord { wanted: persistent });
        }
        if records.is_empty() {
            return self.wait_anew(now);
        }
        // Sorted so that the values of one name are together: an apex and its wildcard share a name.
        records.sort();
        records.dedup();
        self.ask(Action::Publish { records })
    }

    fn finalize(&mut self, now: Timestamp) -> Vec<Action> {
        self.signing = true;
        self.finalizes = 1;
        self.since = now;
        self.pause_ms = FIRST_PAUSE_MS;
        let mut actions = Vec::new();
        if !self.noted {
            self.noted = true;
            actions.push(Action::NoteFinalize);
        }
        actions.extend(self.ask(Action::Finalize));
        actions
    }

    fn polled(&mut self, status: Status, retry_after_ms: Option<u64>, now: Timestamp) -> Vec<Action> {
        let waited = now.duration_since(self.since);
        match status {
            Status::Ready if !self.signing => self.finalize(now),
            Status::Valid => self.ask(Action::Download),
            Status::Invalid => self.ask(Action::FetchErrors),
            _ if self.signing && waited > SIGNING_BOUND => self.leave(GiveUp::StillProcessing, now),
            _ if !self.signing && waited > VALIDATION_BOUND => self.leave(GiveUp::NotValidated, now),
            // A CA that accepts no finalize is left to a later run, which resumes the order.
            Status::Ready if self.finalizes >= ATTEMPTS => self.give_up(GiveUp::Failed),
            // The finalize did not arrive, or came too early: send it once more, for the same order.
            Status::Ready => {
                self.finalizes += 1;
                let ms = self.next_pause(retry_after_ms);
                let mut actions = vec![Action::Pause { ms }];
                actions.extend(self.ask(Action::Finalize));
                actions
            }
            Status::Pending | Status::Processing => {
                let after_ms = self.next_pause(retry_after_ms);
                self.ask(Action::Poll { after_ms })
            }
        }
    }

    fn checked(&mut self, verdict: Verdict, now: Timestamp) -> Vec<Action> {
        match verdict {
            Verdict::Good => vec![Action::Store, Action::Unpublish, Action::Done],
            Verdict::ForeignKey => self.anew(GiveUp::ForeignKey),
            Verdict::Early { until, flaws } => {
                let wait = until.duration_since(now);
                self.attempts += 1;
                if wait > SKEW_BOUND || self.attempts >= ATTEMPTS {
                    return self.checked(Verdict::Flawed(flaws), now);
                }
                let ms = u64::try_from(wait.as_millis()).unwrap_or(0) + FIRST_PAUSE_MS;
                vec![Action::Pause { ms }, Action::Check]
            }
            // The need for a certificate is decided anew, without this order.
            Verdict::Superseded { since } => {
                vec![Action::ClearPending, Action::Unpublish, Action::GiveUp(GiveUp::Superseded { since })]
            }
            // An order made from `anew_from` on ends late enough; until then it would end as early.
            Verdict::EndsEarlier { than, anew_from } if now < anew_from || !self.resumed => {
                self.give_up(GiveUp::EndsEarlier { than, anew_from })
            }
            Verdict::EndsEarlier { than, anew_from } => self.anew(GiveUp::EndsEarlier { than, anew_from }),
            Verdict::Flawed(flaws) => {
                if self.leads_nowhere(now) {
                    return self.anew(GiveUp::Rejected(flaws));
                }
                let mut actions = vec![Action::Reject { flaws: flaws.clone() }];
                actions.extend(self.give_up(GiveUp::Rejected(flaws)));
                actions
            }
        }
    }

    /// Whether the order has been resumed for long enough, or renewal is forced.
    fn leads_nowhere(&self, now: Timestamp) -> bool {
        let old = self.forced || now.duration_since(self.begun_at) >= RESUMED_FOR;
        self.resumed && old && !self.restarted
    }

    fn leave(&mut self, why: GiveUp, now: Timestamp) -> Vec<Action> {
        if self.leads_nowhere(now) { self.anew(why) } else { self.give_up(why) }
    }

    fn failed(&mut self, doing: &Action, error: ErrorClass, now: Timestamp) -> Vec<Action> {
        match (doing, error) {
            // The order is known to be invalid, with or without its errors.
            (Action::FetchErrors, _) => self.errors_fetched(Vec::new()),
            (Action::NewOrder { replaces: Some(_) }, ErrorClass::ReplacesRefused) => {
                self.replaces = None;
                self.check_limits(GiveUp::ReplacesRefused)
            }
            (Action::Fetch { .. }, ErrorClass::Gone) => self.anew(GiveUp::Failed),
            (Action::Fetch { .. } | Action::Download, ErrorClass::Missing) => self.leave(GiveUp::Failed, now),
            (_, ErrorClass::Passing { after_ms: Some(ms) }) if ms > LONGEST_PATIENCE_MS => self.give_up(GiveUp::Failed),
            // Another finalize of the same order is under way, or ours arrived and its answer was lost: poll.
            (Action::Finalize, ErrorClass::NotReady | ErrorClass::Passing { .. }) => {
                let retry_after_ms = if let ErrorClass::Passing { after_ms } = error { after_ms } else { None };
                let after_ms = self.next_pause(retry_after_ms);
                self.ask(Action::Poll { after_ms })
            }
            (_, ErrorClass::Passing { after_ms }) => {
                self.attempts += 1;
                if self.attempts >= ATTEMPTS {
                    return self.give_up(GiveUp::Failed);
                }
                let ms = self.next_pause(after_ms);
                vec![Action::Pause { ms }, self.doing.clone()]
            }
            _ => self.give_up(GiveUp::Failed),
        }
    }

    /// Replaces a dead order with a new one, once.
    fn anew(&mut self, otherwise: GiveUp) -> Vec<Action> {
        if self.restarted {
            let mut actions = vec![Action::ForgetUrl];
            actions.extend(self.give_up(otherwise));
            return actions;
        }
        self.check_limits(otherwise)
    }

    /// The plan checked the limits for one order only, so a second one is checked here: I6.
    fn check_limits(&mut self, why: GiveUp) -> Vec<Action> {
        self.wanted = Some(why);
        self.ask(Action::CheckLimits { replaces: self.replaces.clone() })
    }

    fn limits_checked(&mut self, full: Option<LimitReached>, now: Timestamp) -> Vec<Action> {
        let Some(why) = self.wanted.take() else { return self.give_up(GiveUp::OutOfOrder) };
        if let Some(full) = full {
            return self.give_up(GiveUp::LimitReached { why: Box::new(why), full });
        }
        let order = Action::NewOrder { replaces: self.replaces.clone() };
        if why == GiveUp::ReplacesRefused {
            return self.ask(order);
        }
        self.restarted = true;
        self.noted = false;
        self.signing = false;
        self.begun_at = now;
        self.since = now;
        let mut actions = vec![Action::ForgetUrl, Action::Unpublish];
        actions.extend(self.ask(order));
        actions
    }

    /// The order is invalid. Failed authorizations are noted, once; an order of an earlier run is made anew, if the
    /// limits still allow it.
    fn errors_fetched(&mut self, names: Vec<DnsName>) -> Vec<Action> {
        let mut actions = Vec::new();
        if !names.is_empty() {
            actions.push(Action::NoteFailed { names });
        }
        actions.push(Action::ForgetUrl);
        let again = self.resumed && !self.restarted;
        actions.extend(if again { self.check_limits(GiveUp::Invalid) } else { self.give_up(GiveUp::Invalid) });
        actions
    }

    fn give_up(&mut self, why: GiveUp) -> Vec<Action> {
        vec![Action::Unpublish, Action::GiveUp(why)]
    }

    fn wait_anew(&mut self, now: Timestamp) -> Vec<Action> {
        self.since = now;
        self.pause_ms = FIRST_PAUSE_MS;
        let after_ms = self.next_pause(None);
        self.ask(Action::Poll { after_ms })
    }

    fn ask(&mut self, action: Action) -> Vec<Action> {
        // Polls are bounded by time; an answer to one resets its failures in a row.
        if core::mem::discriminant(&action) != core::mem::discriminant(&self.doing)
            || matches!(action, Action::Poll { .. })
        {
            self.attempts = 0;
        }
        self.doing = action.clone();
        vec![action]
    }

    /// The CA's Retry-After, else a pause that doubles.
    fn next_pause(&mut self, retry_after_ms: Option<u64>) -> u64 {
        let pause = self.pause_ms;
        self.pause_ms = (pause * 2).min(LONGEST_PAUSE_MS);
        retry_after_ms.map_or(pause, |ms| ms.clamp(FIRST_PAUSE_MS, LONGEST_PATIENCE_MS))
    }
}

#[cfg(test)]
mod tests;
