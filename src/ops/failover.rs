//! The records of failover by hand: what there is, and bringing one back. It works without the service, and in every mode.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;

use crate::cert::{DnsName, NodeName};
use crate::config::FailoverMode;
use crate::context::{Context, clock, provider};
use crate::execute::failover::{Made, Place, Reading, decide_by_route};
use crate::model::{AddressRecord, Code, Finding, Health, Marker, Scope, Withdrawal};
use crate::observe::failover::{Group, groups};
use crate::observe::witness::{WayOut, way_out};
use crate::observe::{discover, health};
use crate::plan::failover::{Change, Decision, Hold, Member, Records, Scene, decide};
use crate::plan::markers;
use crate::plan::members::{Known, Refused, members, policy};
use crate::report::{FailoverName, FailoverScene, FailoverStatus, Restored};
use crate::store::StoreError;

/// The service writes what it knows of health this often.
const WRITTEN: SignedDuration = SignedDuration::from_secs(75);

/// What was asked for: names of the configuration, and owners of withdrawn records.
#[derive(Debug, Default)]
pub struct Asked {
    pub names: BTreeMap<DnsName, FailoverMode>,
    pub owners: BTreeSet<String>,
}

/// Changes nothing.
///
/// # Errors
/// The state directory cannot be read.
pub async fn status(context: &Context, asked: Asked) -> Result<FailoverStatus, Finding> {
    let (context, mut failures) = discover::for_a_look(context).await?;
    let config = &context.config;
    let journal = context.store.withdrawals()?;
    let ((groups, unlocated), healths, way_out) =
        tokio::join!(groups(&context, asked.names, asked.owners), healths(&context), async {
            let has_any = !config.witnesses().is_empty();
            let withdrawn = journal.open.iter().map(|entry| entry.record.address);
            if has_any { Some(way_out(config, withdrawn).await) } else { None }
        },);
    failures.extend(unlocated);
    failures.extend(crate::observe::damages(&context.store).failures);
    let healths = healths?;
    let known =
        Known { healths: &healths, refused: &Refused::new(), begins: jiff::Timestamp::UNIX_EPOCH, age: WRITTEN };
    let opened = Opened::new(&context)?;
    let mut names = Vec::new();
    for group in groups.values() {
        let now = clock::now();
        let mut open = journal.of_name(&group.owner);
        let members = members(config, &group.names, known, &open, now);
        let (reading, mut findings) = match opened.place(&context, group).read().await {
            Ok(reading) => (Some(reading), Vec::new()),
            Err(error) => (None, vec![crate::execute::failover::unread(&group.owner, &error)]),
        };
        if let Some(Reading { records, texts: Some(texts) }) = &reading {
            let found = markers::settle(&group.owner, texts, &records.all, &open, &members, now);
            let unbelieved = found.unbelieved.iter();
            findings.extend(unbelieved.map(|marker| crate::execute::failover::of_unbelieved(&group.owner, marker)));
            open.extend(found.rebuilt);
        }
        let records = reading.as_ref().map(|reading| &reading.records);
        let last_change = journal.last_change(&group.owner, clock::now());
        let way_out = way_out.clone().unwrap_or_else(WayOut::everywhere);
        let scene = Scene { members: &members, records, journal: &open, last_change, way_out: true };
        let decisions = decide_by_route(&policy(config, group.mode), &scene, &way_out, clock::now());
        let scene = FailoverScene {
            owner: &group.owner,
            names: &group.names,
            mode: group.mode,
            members: &members,
            records: records.map(|records| records.all.as_slice()),
            journal: &open,
            decisions: &decisions,
            findings,
        };
        names.push(FailoverName::of(config, scene));
    }
    Ok(FailoverStatus::new(clock::now(), way_out.map(|way_out| way_out.is_any()), names, failures))
}

/// As the service noted it; where it does not run, by one request to each place.
async fn healths(context: &Context) -> Result<Vec<Health>, StoreError> {
    let (noted, now) = (context.store.health()?, clock::now());
    let is_fresh = |health: &Health| {
        let certificate = context.config.certificate(&health.place.certificate);
        let own = certificate.zip(context.config.node(&health.place.node));
        let own = own.and_then(|(certificate, node)| context.config.health(certificate, node));
        let limit = own.and_then(|own| SignedDuration::try_from(own.interval * 2 + own.timeout).ok());
        limit.is_some_and(|limit| now.duration_since(health.at).abs() <= limit + WRITTEN)
    };
    Ok(if noted.iter().any(is_fresh) { noted } else { health::look(context, &Scope::default()).await })
}

/// Clients for the records.
struct Opened {
    provider: Arc<dyn crate::dns::Provider>,
    resolvers: crate::dns::Resolvers,
}

impl Opened {
    fn new(context: &Context) -> Result<Self, Finding> {
        let (resolvers, _) = provider::resolvers(context)?;
        Ok(Self { provider: provider::provider(context, false)?, resolvers })
    }

    fn place<'a>(&'a self, context: &'a Context, group: &'a Group) -> Place<'a> {
        Place {
            store: &context.store,
            provider: self.provider.as_ref(),
            resolvers: Some(&self.resolvers),
            owner: &group.owner,
            zone: &group.zone,
            clock: &clock::now,
        }
    }
}

/// Brings back what is withdrawn of these names, or one address of them. The caller holds the lock of the withdrawals.
///
/// # Errors
/// Nothing is withdrawn there; or records of a name could not be located, read or changed: those of the others are brought back.
pub async fn restore(
    context: &Context,
    asked: Asked,
    address: Option<IpAddr>,
    mut done: impl FnMut(Restored),
) -> Result<(), Finding> {
    let called = asked.names.keys().map(ToString::to_string).chain(asked.owners.iter().cloned());
    let called: Vec<String> = called.collect();
    let (groups, unlocated) = groups(context, asked.names, asked.owners).await;
    // One name holds up no other.
    let mut failed = unlocated;
    let opened = Opened::new(context)?;
    let mut count = 0;
    for group in groups.values() {
        let place = opened.place(context, group);
        let members = members_of(context, group)?;
        let entries = match entries(&place, &members).await {
            Ok(entries) => entries,
            Err(finding) => {
                failed.push(finding);
                continue;
            }
        };
        for entry in entries.iter().filter(|entry| address.is_none_or(|address| entry.record.address == address)) {
            match restore_one(context, group, &place, &members, entry).await {
                Ok(restored) => {
                    done(restored);
                    count += 1;
                }
                Err(finding) => failed.push(finding),
            }
        }
    }
    if let Some(finding) = failed.into_iter().next() {
        return Err(finding);
    }
    if count > 0 {
        return Ok(());
    }
    let of = address.map(|address| format!("{address} of ")).unwrap_or_default();
    let name = called.join(", ");
    let what = format!("{of}{name} is not withdrawn: neither the journal nor a TXT record beside it has an entry");
    Err(Finding::for_a_person(Code::DnsName, name, what, "see what is there: `certd dns status`"))
}

fn members_of(context: &Context, group: &Group) -> Result<Vec<Member>, StoreError> {
    let (healths, refused, now) = (context.store.health()?, Refused::new(), clock::now());
    let known = Known { healths: &healths, refused: &refused, begins: jiff::Timestamp::UNIX_EPOCH, age: WRITTEN };
    let journal = context.store.withdrawals()?.of_name(&group.owner);
    Ok(members(&context.config, &group.names, known, &journal, now))
}

/// Of the journal, and of markers that it has lost. A person who names a record believes its marker, whoever's it is.
async fn entries(place: &Place<'_>, members: &[Member]) -> Result<Vec<Withdrawal>, Finding> {
    let reading = place.read().await.map_err(|error| crate::execute::failover::unread(place.owner, &error))?;
    let (mut all, _) = place.journal()?;
    let texts = reading.texts.as_deref().unwrap_or_default();
    let mut known = members.to_vec();
    for marker in texts.iter().filter_map(|text| Marker::parse(text)) {
        let node = marker.node.clone().unwrap_or_else(|| marker.address.to_string());
        if let Ok(node) = NodeName::parse(&node) {
            let condition = crate::plan::failover::Condition::Unknown;
            known.push(Member { node, address: marker.address, condition });
        }
    }
    let found = markers::settle(place.owner, texts, &reading.records.all, &all, &known, place.now());
    all.extend(found.rebuilt);
    Ok(all)
}

async fn restore_one(
    context: &Context,
    group: &Group,
    place: &Place<'_>,
    members: &[Member],
    entry: &Withdrawal,
) -> Result<Restored, Finding> {
    let record = &entry.record;
    let reading = place.read().await.map_err(|error| crate::execute::failover::unread(place.owner, &error))?;
    let (mut all, last_change) = place.journal()?;
    let restored =
        |done, notes| Restored { name: record.name.clone(), address: record.address, ttl: record.ttl, done, notes };
    if has(&reading.records, record.address) {
        let scene = Scene { members, records: Some(&reading.records), journal: &all, last_change, way_out: true };
        end_shown(context, place, &scene, entry).await?;
        place.close(&reading, &mut all, entry, true).await?;
        return Ok(restored("in-dns", Vec::new()));
    }
    let mut notes = Vec::new();
    let noted = if all.iter().any(|open| open.record.address == record.address) {
        Ok(())
    } else {
        let before = all.clone();
        all.push(entry.clone());
        context.store.keep_withdrawals(&before, &all, clock::now())
    };
    let made = match noted {
        Ok(()) => place.make(&reading, &mut all, &Change::Restore(entry.clone()), "", None).await,
        Err(error) => Err(error),
    };
    // A full disk keeps no record out of DNS.
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            notes.push(format!("the state directory has no note of it, and still calls it withdrawn: {error}"));
            place.put_back_unnoted(entry).await
        }
    };
    match made {
        Made::Done => {}
        Made::Without(what) => notes.push(format!("it came back without {what}: set that by hand")),
        Made::Changed(what) => {
            let what = format!("{} of {} was not brought back: {what}", record.address, record.name);
            let next = "see the records (`certd dns status`), and run this again if it is still wanted";
            return Err(Finding::for_a_person(Code::FailoverFailed, &record.name, what, next));
        }
        Made::Failed(finding) => return Err(finding),
    }
    if entry.why == markers::FROM_A_MARKER {
        notes.push(format!("known by its TXT record alone: {}", "a comment and settings that it had are lost"));
    }
    let fails = |member: &Member| {
        let failing = matches!(member.condition, crate::plan::failover::Condition::Failing { .. });
        failing && member.address == record.address
    };
    if group.mode == FailoverMode::Act && members.iter().any(fails) {
        notes.push(
            "its node fails now: `certd run` withdraws the record again after failover.interval, unless failover is \"off\""
                .to_owned(),
        );
    }
    Ok(restored("restored", notes))
}

/// Whether an entry may end whose record is shown: as the service judges it.
async fn end_shown(context: &Context, place: &Place<'_>, scene: &Scene<'_>, entry: &Withdrawal) -> Result<(), Finding> {
    let AddressRecord { name, address, .. } = &entry.record;
    let decided = |mode| decide(&policy(&context.config, mode), scene, place.now());
    let mut ends = decided(FailoverMode::Off).into_iter();
    let mut next = "run this again in some minutes".to_owned();
    if ends.any(|decision| matches!(decision, Decision::Close(other) if other.record.address == *address)) {
        let all = scene.records.map(|records| records.all.as_slice()).unwrap_or_default();
        match place.is_as_shown(all, entry).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => return Err(crate::execute::failover::unread(place.owner, &error)),
        }
    } else {
        let until = decided(FailoverMode::Advise).into_iter().find_map(|decision| match decision {
            Decision::Hold { address: of, why: Hold::Unsettled(until), .. } if of == *address => Some(until),
            _ => None,
        });
        next = until.map_or(next, |until| format!("run this again after {}", until.strftime("%H:%M:%S UTC")));
    }
    let what =
        format!("{address} of {name} is shown, which may be a view from before it was withdrawn: its entry stays");
    Err(Finding::for_a_person(Code::FailoverHeld, name, what, next))
}

fn has(records: &Records, address: IpAddr) -> bool {
    records.all.iter().any(|record| record.address == address)
}
