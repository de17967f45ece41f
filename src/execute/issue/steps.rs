//! Carries out the order machine's actions, one attempt each, and returns the resulting events.

use core::time::Duration;

use tokio::time::{sleep, timeout};

use crate::acme::{Account, AcmeError, Order};
use crate::cert::{CertName, Generation, Pair, PrivateKey};
use crate::config::Acme;
use crate::context::effect_failure::{
    error_class, is_gone, is_limit, of_acme, of_give_up, of_invalid_order, refuses_replaces,
};
use crate::context::{Context, clock, progress};
use crate::execute::issue::Issued;
use crate::execute::issue::chains;
use crate::execute::issue::check::ChainCriteria;
use crate::execute::issue::persist_record::check_persist_records;
use crate::execute::issue::records::Records;
use crate::execute::issue::rehearsal::say;
use crate::model::{Advice, Code, Finding, Intent, LedgerEntry, LedgerEvent, Meta};
use crate::plan::Issue;
use crate::plan::ledger::{self, LimitReached, Question};
use crate::plan::order::{Action, ErrorClass, Event, GiveUp, Verdict};
use crate::store::Rejected;

/// How long the removal of records delays the delivery; the end of the pass removes the rest.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a 429 without a Retry-After: the shortest window of Let's Encrypt's limits.
const LIMITED_FOR: u64 = 3600;

/// The CA of the order, with our account and the profile.
pub(crate) struct Ca<'a> {
    pub(crate) config: &'a Acme,
    pub(crate) account: Account,
    /// Profile of a new order, where the CA offers profiles.
    pub(crate) profile: Option<&'a str>,
}

pub(crate) struct Steps<'a> {
    context: &'a Context,
    pub(crate) task: &'a Issue,
    ca: Ca<'a>,
    pub(crate) intent: Intent,
    key: PrivateKey,
    records: Records,
    order: Option<Order>,
    /// The downloaded chains: the CA's default, then alternates.
    pems: Vec<String>,
    pair: Option<Pair>,
    caveats: Vec<String>,
    /// From the last step that failed.
    failure: Option<Finding>,
    /// Seconds to wait after a 429.
    limited: Option<u64>,
    pub(crate) issued: Option<Issued>,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(
        context: &'a Context,
        task: &'a Issue,
        ca: Ca<'a>,
        intent: Intent,
        key: PrivateKey,
        records: Records,
    ) -> Self {
        let (order, pems, pair, caveats, failure, limited, issued) = Default::default();
        Self { context, task, ca, intent, key, records, order, pems, pair, caveats, failure, limited, issued }
    }

    /// Whether the ledger holds a finalize for this intent: an earlier run noted it and was killed.
    pub(crate) fn finalize_is_noted(&self) -> Result<bool, Finding> {
        let ledger = self.context.store.ledger()?;
        Ok(ledger::holds_finalize(&ledger, &self.intent))
    }

    /// Carries out one action. A failure at the CA or in DNS is an event; a failure of our own disk ends the order.
    pub(crate) async fn perform(&mut self, action: Action) -> Result<Option<Event>, Finding> {
        if is_progress(&action) {
            say(&self.context.progress, &self.task.certificate, action.to_string());
        }
        let event = match action {
            Action::NewOrder { replaces } => self.new_order(replaces).await?,
            Action::CheckLimits { replaces } => Event::LimitsChecked(self.limit_reached(replaces.is_some())?),
            Action::Fetch { url } => self.fetch(&url).await,
            Action::Publish { records } => match self.records.publish(self.context, &records).await {
                Ok(()) => Event::Published,
                Err(failure) => self.lasting(failure),
            },
            Action::AwaitSeen => {
                let (progress, name) = (self.context.progress.clone(), self.task.certificate.clone());
                match self.records.await_seen(move |step| say(&progress, &name, step)).await {
                    Ok(()) => Event::Seen,
                    Err(failure) => self.lasting(failure),
                }
            }
            Action::CheckPersistRecord { wanted } => {
                match check_persist_records(self.context, self.ca.account.url(), &wanted).await {
                    Ok(()) => Event::Seen,
                    Err(failure) => self.lasting(failure),
                }
            }
            Action::Check => Event::Checked(self.check()),
            Action::Authorize
            | Action::Challenge { .. }
            | Action::Poll { .. }
            | Action::Finalize
            | Action::Download
            | Action::FetchErrors => self.ask(action).await?,
            kept => {
                self.note(kept).await?;
                return Ok(None);
            }
        };
        Ok(Some(event))
    }

    /// Removes the records of this run. Leftovers are reported, but no reason to fail: the journal has them.
    pub(crate) async fn unpublish(&mut self) {
        let removal = self.records.unpublish(self.context);
        let removed = match self.issued {
            Some(_) => timeout(PATIENCE, removal).await.unwrap_or(Ok(())),
            None => removal.await,
        };
        if let Err(failure) = removed {
            let step = format!("a TXT record is left for a later run to remove: {}", failure.what);
            say(&self.context.progress, &self.task.certificate, step);
        }
    }

    /// The failure to report when the machine gives up. A limit of the CA's is noted first.
    pub(crate) fn why(&mut self, give_up: &GiveUp) -> Result<Finding, Finding> {
        if let Some(seconds) = self.limited {
            let wait = jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            let until = clock::now().checked_add(wait).unwrap_or(jiff::Timestamp::MAX);
            self.note_ledger(LedgerEvent::Limited { until })?;
        }
        let why = if let GiveUp::LimitReached { why, .. } = give_up { why } else { give_up };
        let of_step = match why {
            GiveUp::Failed | GiveUp::Invalid => self.failure.take(),
            _ => None,
        };
        let failure = of_give_up(&self.task.certificate, give_up);
        Ok(match (of_step, give_up) {
            (None, _) => failure,
            (Some(of_step), GiveUp::LimitReached { full, .. }) => {
                Finding { what: GiveUp::wait_for(&of_step.what, full), ..failure }
            }
            (Some(of_step), _) => of_step,
        })
    }

    async fn new_order(&mut self, replaces: Option<String>) -> Result<Event, Finding> {
        if self.intent.replaces != replaces {
            self.intent.replaces.clone_from(&replaces);
            self.note_intent()?;
        }
        let made = self.ca.account.new_order(&self.task.names, self.ca.profile, replaces.as_deref()).await;
        Ok(match made {
            Ok(mut order) => {
                let (url, status) = (order.url().to_owned(), order.status());
                match self.order_is_of(&url)? {
                    Some(other) => self.lasting(shared(self.task, &other)),
                    None => {
                        self.order = Some(order);
                        Event::Ordered { url, status }
                    }
                }
            }
            Err(error) if replaces.is_some() && refuses_replaces(&error) => {
                say(&self.context.progress, &self.task.certificate, format!("the CA refuses `replaces`: {error}"));
                Event::Failed(ErrorClass::ReplacesRefused)
            }
            Err(error) => self.failed(&error),
        })
    }

    /// The other certificate whose unfinished order this is: only its key can finalize it.
    fn order_is_of(&self, url: &str) -> Result<Option<CertName>, Finding> {
        let certificates = self.context.config.certificates.iter().map(|certificate| &certificate.name);
        for name in certificates.filter(|name| **name != self.task.certificate) {
            let pending = self.context.store.stored(name)?.pending;
            if pending.is_some_and(|intent| intent.order_url.as_deref() == Some(url)) {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }

    fn limit_reached(&self, replaces: bool) -> Result<Option<LimitReached>, Finding> {
        let entries = self.context.store.ledger()?;
        let (ca, names, emergency) = (&self.intent.ca, &self.intent.names, self.task.emergency);
        let per_week = self.ca.config.certificates_per_week;
        let (exempt, alike) = (replaces && self.task.exempt, ledger::alike(&self.context.config, names));
        let question = Question { ca, names, per_week, emergency, exempt, alike, planned: 0, planned_alike: 0 };
        Ok(ledger::check_limits(&entries, question, clock::now()).err())
    }

    async fn fetch(&mut self, url: &str) -> Event {
        match self.ca.account.order(url, &self.task.names).await {
            Ok(mut order) => {
                let status = order.status();
                self.order = Some(order);
                Event::Fetched { status }
            }
            Err(error) if is_gone(&error) => {
                self.failed(&error);
                Event::Failed(ErrorClass::Gone)
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Requests about an existing order.
    async fn ask(&mut self, action: Action) -> Result<Event, Finding> {
        let Some(order) = &mut self.order else { return Ok(Event::Failed(ErrorClass::Lasting)) };
        let asked = match action {
            Action::Authorize => order.authorizations(self.ca.config.challenge).await.map(Event::Authorizations),
            Action::Challenge { indexes } => order.set_ready(&indexes).await.map(|()| Event::Challenged),
            Action::Poll { after_ms } => {
                // RFC 8555 section 7.4: an order is polled; there is no other notification.
                sleep(Duration::from_millis(after_ms)).await;
                order.refresh().await.map(|polled| Event::Polled {
                    status: polled.status,
                    retry_after_ms: polled.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
                })
            }
            Action::Finalize => {
                let csr = self.key.request(&self.task.names).map_err(|error| bug(self.task, &error))?;
                order.finalize(&csr).await.map(|status| Event::Finalized { status })
            }
            Action::Download => match order.certificate().await {
                Ok(download) => {
                    let say = |step| say(&self.context.progress, &self.task.certificate, step);
                    let criteria = criteria(self.context, self.task, self.ca.config, &self.key);
                    self.pems = chains::fetch(order, download, &criteria, say).await;
                    Ok(Event::Downloaded)
                }
                Err(error) => Err(error),
            },
            _ => order.errors().await.map(|(named, own)| {
                self.failure = Some(of_invalid_order(&self.task.certificate, &named, own.as_ref()));
                Event::ErrorsFetched { names: named.into_iter().map(|(name, _)| name).collect() }
            }),
        };
        Ok(asked.unwrap_or_else(|error| self.failed(&error)))
    }

    fn check(&mut self) -> Verdict {
        let (progress, name) = (&self.context.progress, &self.task.certificate);
        let checked = criteria(self.context, self.task, self.ca.config, &self.key).check(&self.pems);
        if let Some(choice) = checked.choice.filter(|choice| self.pems.len() > 1 || choice.is_second_best()) {
            say(progress, name, format!("of the CA's chains: {choice}"));
        }
        for found in checked.found {
            progress.say(progress::Event::Checked { certificate: name.clone(), found });
        }
        for caveat in &checked.caveats {
            say(progress, name, format!("the chain is kept, with a caveat: {caveat}"));
        }
        if let Verdict::Early { until, .. } = &checked.verdict {
            say(progress, name, format!("the certificate begins at {until}, which is ahead of this clock"));
        }
        (self.pair, self.caveats) = (checked.pair, checked.caveats);
        match (checked.verdict, &self.pair) {
            (Verdict::Good, Some(pair)) => Verdict::of(&pair.chain().leaf, self.task, &self.intent),
            (verdict, _) => verdict,
        }
    }

    /// Actions without an event: writing to disk, removing, waiting.
    async fn note(&mut self, action: Action) -> Result<(), Finding> {
        let name = &self.task.certificate;
        match action {
            Action::NoteUrl { url } => {
                self.intent.order_url = Some(url);
                self.note_intent()
            }
            Action::ForgetUrl => {
                self.order = None;
                self.intent.order_url = None;
                self.intent.begun_at = clock::now();
                self.note_intent()
            }
            Action::ClearPending => self.context.store.drop_intent(name).map_err(Finding::from),
            Action::NoteFinalize => {
                let exempt = self.task.exempt && self.intent.replaces.is_some();
                self.note_ledger(LedgerEvent::Finalize { exempt })
            }
            Action::NoteFailed { names } => {
                names.into_iter().try_for_each(|name| self.note_ledger(LedgerEvent::AuthorizationFailed { name }))
            }
            Action::Reject { flaws } => {
                let order_url = self.intent.order_url.clone().unwrap_or_default();
                let rejected = Rejected { at: clock::now(), order_url, flaws };
                self.context
                    .store
                    .reject(name, self.pems.first().map_or("", String::as_str), &rejected)
                    .map_err(Finding::from)
            }
            Action::Store => self.keep(),
            Action::Unpublish => {
                self.unpublish().await;
                Ok(())
            }
            Action::Pause { ms } => {
                sleep(jittered(ms)).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn keep(&mut self) -> Result<(), Finding> {
        let Some(pair) = self.pair.take() else { return Ok(()) };
        let (store, name, now) = (&self.context.store, &self.task.certificate, clock::now());
        let seen = store.stored(name)?.greatest.max(self.task.seen);
        let leaf = pair.chain().leaf.clone();
        let generation = Generation::issued(now, seen, &leaf.serial).map_err(|error| bug(self.task, &error))?;
        let meta = Meta {
            key_type: self.task.key_type,
            profile: self.task.profile.clone(),
            ca: self.intent.ca.clone(),
            issued_at: now,
        };
        let generation = store.keep(name, &generation, &pair, &meta)?;
        store.drop_intent(name)?;
        self.issued = Some(Issued { generation, leaf, caveats: core::mem::take(&mut self.caveats) });
        Ok(())
    }

    fn note_intent(&self) -> Result<(), Finding> {
        self.context.store.note_intent(&self.task.certificate, &self.intent).map_err(Finding::from)
    }

    fn note_ledger(&self, event: LedgerEvent) -> Result<(), Finding> {
        let order = self.intent.order_url.clone().filter(|_| matches!(event, LedgerEvent::Finalize { .. }));
        let (ca, names) = (self.intent.ca.clone(), self.intent.names.clone());
        let entry = LedgerEntry { at: clock::now(), ca, names, event, order };
        self.context.store.note_ledger(&entry).map_err(Finding::from)
    }

    fn failed(&mut self, error: &AcmeError) -> Event {
        if is_limit(error) {
            self.limited = Some(error.retry_after().map_or(LIMITED_FOR, |wait| wait.as_secs()));
        }
        self.failure = Some(of_acme(&self.task.certificate, error));
        Event::Failed(error_class(error))
    }

    fn lasting(&mut self, failure: Finding) -> Event {
        self.failure = Some(failure);
        Event::Failed(ErrorClass::Lasting)
    }
}

fn criteria<'w>(context: &'w Context, task: &'w Issue, ca: &'w Acme, key: &'w PrivateKey) -> ChainCriteria<'w> {
    let (names, roots, now) = (&task.names, &context.roots, clock::now());
    ChainCriteria { preferred_root: ca.preferred_chain.as_deref(), key, names, roots, now }
}

fn shared(task: &Issue, other: &CertName) -> Finding {
    let what = format!("the CA answers with the unfinished order of {other}, which has the same names");
    let next = format!("nothing: this one is ordered when that of {other} is finished or has expired");
    Finding::new(Code::AcmeOrderShared, &task.certificate, what, next, Advice::Retry { after_seconds: None })
}

fn bug(task: &Issue, error: &dyn core::error::Error) -> Finding {
    Finding::new(Code::Bug, &task.certificate, error.to_string(), "report this", Advice::Bug)
}

/// Up to a quarter more, so that orders that failed together do not return together.
fn jittered(ms: u64) -> Duration {
    let mut byte = [0];
    // Without randomness the pause is unchanged.
    let share = aws_lc_rs::rand::fill(&mut byte).map_or(0, |()| u64::from(byte[0]));
    Duration::from_millis(ms + ms * share / (4 * 256))
}

/// Whether the action is worth a line of progress.
fn is_progress(action: &Action) -> bool {
    matches!(
        action,
        Action::NewOrder { .. }
            | Action::Fetch { .. }
            | Action::Publish { .. }
            | Action::AwaitSeen
            | Action::CheckPersistRecord { .. }
            | Action::Challenge { .. }
            | Action::Finalize
            | Action::Download
            | Action::Store
            | Action::Reject { .. }
    )
}
