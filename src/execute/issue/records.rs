//! TXT records with their journal: noted before they are made, struck after they are removed (I10).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use tokio::task::JoinSet;

use crate::context::effect_failure::{of_dns, of_task};
use crate::context::provider::{ProviderCache, keep_zones, of_long_answer, provider, resolvers};
use crate::context::{Context, clock};
use crate::dns::{
    Chain, DnsError, Handle, Patience, Propagated, Provider, Resolvers, Server, TxtRecord, WantedTxt, Zone,
    answer_size, await_seen, challenge_name,
};
use crate::model::{Code, Finding, Severity};
use crate::plan::order::Txt;
use crate::store::TxtNote;

/// After this no abandoned call is still under way at an API (the call itself has half a minute).
const UNDER_WAY: SignedDuration = SignedDuration::from_mins(5);

/// The records of one certificate's order, or of a rehearsal.
pub(crate) struct Records {
    provider: Arc<dyn Provider>,
    provider_cache: Arc<ProviderCache>,
    bypass_cache: bool,
    resolvers: Resolvers,
    patience: Patience,
    /// By base name.
    places: BTreeMap<String, Place>,
    /// By record name.
    servers: BTreeMap<String, Vec<Server>>,
    /// Records made, or perhaps made, by this run.
    notes: Vec<TxtNote>,
}

/// Where the record for a base name goes.
#[derive(Clone, Debug)]
struct Place {
    /// After CNAMEs.
    owner: String,
    zone: Zone,
}

impl Records {
    /// `bypass_cache`: rely on nothing that earlier runs saw.
    pub(crate) fn new(context: &Context, bypass_cache: bool) -> Result<Self, Finding> {
        let dns = &context.config.dns;
        let (resolvers, doh) = resolvers(context)?;
        let (limit, silent_servers) = (dns.timeout, dns.silent_servers);
        let patience = Patience { limit, silent_servers, doh, resolvers: resolvers.addresses().to_vec() };
        let (provider, provider_cache) = (provider(context, bypass_cache)?, Arc::clone(&context.dns));
        let (places, servers, notes) = Default::default();
        Ok(Self { provider, provider_cache, bypass_cache, resolvers, patience, places, servers, notes })
    }

    /// Finds the zone of each name's record, for all names at once, and whether the token may write there.
    pub(crate) async fn locate(&mut self, bases: BTreeSet<String>) -> Result<(), Finding> {
        let mut asked = JoinSet::new();
        for base in bases.into_iter().filter(|base| !self.places.contains_key(base)) {
            let (resolvers, provider) = (self.resolvers.clone(), Arc::clone(&self.provider));
            asked.spawn(async move {
                let place = locate(&resolvers, provider.as_ref(), &base).await;
                (base, place)
            });
        }
        while let Some(joined) = asked.join_next().await {
            let (base, place) = joined.map_err(|error| of_task(&error))?;
            let place = place.map_err(|error| of_dns(challenge_name(&base), &error))?;
            self.places.insert(base, place);
        }
        Ok(())
    }

    /// Makes all records at once, and finds their zones' name servers meanwhile.
    pub(crate) async fn publish(&mut self, context: &Context, records: &[Txt]) -> Result<(), Finding> {
        self.locate(records.iter().map(|record| record.base.clone()).collect()).await?;
        let mut zones: BTreeMap<String, (Zone, Vec<usize>)> = BTreeMap::new();
        let mut looking = JoinSet::new();
        let mut owners = BTreeSet::new();
        for record in records {
            let place = self.places[&record.base].clone();
            let note = TxtNote {
                at: clock::now(),
                name: place.owner.clone(),
                value: record.value.clone(),
                zone: Some(place.zone.id.clone()),
                record: None,
            };
            context.store.note_txt(&note)?;
            self.notes.push(note);
            if owners.insert(place.owner.clone()) && !self.servers.contains_key(&place.owner) {
                let (resolvers, owner) = (self.resolvers.clone(), place.owner.clone());
                looking.spawn(async move { (resolvers.authorities(&owner).await, owner) });
            }
            zones.entry(place.zone.id.clone()).or_insert((place.zone, Vec::new())).1.push(self.notes.len() - 1);
        }
        let mut making = JoinSet::new();
        for (zone, notes) in zones.into_values() {
            let record =
                |at: &usize| TxtRecord { name: self.notes[*at].name.clone(), value: self.notes[*at].value.clone() };
            let (provider, records) = (Arc::clone(&self.provider), notes.iter().map(record).collect::<Vec<_>>());
            making.spawn(async move { (notes, provider.publish(&zone, &records).await) });
        }
        // All answers are awaited, so that every record that was made is known by its id.
        let mut failure = None;
        while let Some(joined) = making.join_next().await {
            let (notes, made) = joined.map_err(|error| of_task(&error))?;
            for (at, made) in notes.into_iter().zip(made) {
                let note = &mut self.notes[at];
                match made {
                    Ok(handle) => {
                        (note.zone, note.record) = (Some(handle.zone), handle.record);
                        context.store.note_txt(note)?;
                    }
                    Err(error) => failure = Some(of_dns(&note.name, &error)),
                }
            }
        }
        keep_zones(context, self.bypass_cache);
        while let Some(joined) = looking.join_next().await {
            let (servers, owner) = joined.map_err(|error| of_task(&error))?;
            match servers {
                Ok(servers) => _ = self.servers.insert(owner, servers),
                Err(error) => failure = Some(of_dns(&owner, &error)),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Waits until every name server shows all published values. `say` gets the servers that are waited for.
    pub(crate) async fn await_seen(&self, say: impl Fn(String) + Clone + Send + Sync + 'static) -> Result<(), Finding> {
        let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for note in &self.notes {
            values.entry(note.name.clone()).or_default().insert(note.value.clone());
        }
        let mut waiting = JoinSet::new();
        for (name, values) in values {
            let servers = self.servers.get(&name).cloned().unwrap_or_default();
            let (wanted, patience, say) = (WantedTxt { name, values }, self.patience.clone(), say.clone());
            let provider_cache = Arc::clone(&self.provider_cache);
            waiting.spawn(async move {
                let seen = await_seen(&servers, &wanted, &patience, &say).await;
                let Propagated { passed_over, unseen } = seen.map_err(|error| of_dns(&wanted.name, &error))?;
                if !passed_over.is_empty() {
                    say(format!("passed over, since they never answered: {}", passed_over.join(", ")));
                }
                let size = answer_size(&servers, &wanted.name).await;
                if let Some(failure) = size.and_then(|(records, bytes)| of_long_answer(&wanted.name, records, bytes)) {
                    say(format!("{}: {}", failure.object, failure.what));
                    provider_cache.warn(failure);
                }
                if let Some(unseen) = &unseen {
                    let unseen = of_dns(&wanted.name, unseen).of_severity(Severity::Warning);
                    say(format!("{}; the CA is asked all the same", unseen.what));
                    provider_cache.warn(unseen);
                }
                Ok::<bool, Finding>(unseen.is_none())
            });
        }
        while let Some(joined) = waiting.join_next().await {
            let seen = joined.map_err(|error| of_task(&error))?;
            if !matches!(seen, Ok(true)) {
                // The API's zone may not be the one that is served (any more).
                self.places.values().for_each(|place| self.provider.forget(&place.zone));
            }
            seen?;
        }
        Ok(())
    }

    /// Removes this run's records. What cannot be removed stays in the journal, for a later run.
    pub(crate) async fn unpublish(&mut self, context: &Context) -> Result<(), Finding> {
        let notes = core::mem::take(&mut self.notes);
        let removed = remove(context, &self.provider, notes).await;
        keep_zones(context, self.bypass_cache);
        removed
    }
}

/// Removes the records that earlier runs left. Must not run during an order.
pub async fn clean_txt(context: &Context) -> Result<(), Finding> {
    context.store.shorten_txt_journal()?;
    let left = context.store.txt_journal()?;
    if left.is_empty() {
        return Ok(());
    }
    remove(context, &provider(context, false)?, left).await
}

/// Makes permanent records. They are not in the journal, so that nothing removes them; an existing equal record will
/// do.
pub(crate) async fn publish_for_good(context: &Context, records: Vec<TxtRecord>) -> Result<(), Finding> {
    let ((resolvers, _), provider) = (resolvers(context)?, provider(context, false)?);
    for TxtRecord { name, value } in records {
        let place = place(&resolvers, provider.as_ref(), &name).await.map_err(|error| of_dns(&name, &error))?;
        let made = provider.publish(&place.zone, &[TxtRecord { name: place.owner, value }]).await;
        made.into_iter().try_for_each(|made| made.map(drop)).map_err(|error| of_dns(&name, &error))?;
    }
    Ok(())
}

async fn locate(resolvers: &Resolvers, provider: &dyn Provider, base: &str) -> Result<Place, DnsError> {
    place(resolvers, provider, &challenge_name(base)).await
}

async fn place(resolvers: &Resolvers, provider: &dyn Provider, name: &str) -> Result<Place, DnsError> {
    let Chain { names, broken } = resolvers.chain(name).await?;
    let end = names.last().map_or(name, String::as_str);
    let apex = resolvers.apex(end).await.ok();
    let found = match broken {
        Some(error) => Err(error),
        None => provider.zone(end, apex.as_deref()).await,
    };
    let reached = found.as_ref().map_or_else(|error| !error.is_out_of_reach(), |_| provider.knows_its_zones(end));
    if !reached
        && names.len() > 1
        && let Some(place) = before_wildcard(resolvers, provider, &names, apex.as_deref()).await
    {
        return Ok(place);
    }
    Ok(Place { owner: end.to_owned(), zone: found? })
}

/// The last name whose CNAME is made by a wildcard alone, where the provider serves its zone: a wildcard leads every name
/// to the same place, and nobody who delegates challenges writes one. `apex`: the zone of the CNAMEs' end.
async fn before_wildcard(
    resolvers: &Resolvers,
    provider: &dyn Provider,
    names: &[String],
    apex: Option<&str>,
) -> Option<Place> {
    for link in names.windows(2).rev() {
        let [owner, target] = link else { continue };
        let Some(zone) = resolvers.wildcard_zone(owner, target).await.filter(|zone| Some(zone.as_str()) != apex) else {
            continue;
        };
        if let Ok(zone) = provider.zone(owner, Some(&zone)).await {
            return Some(Place { owner: owner.clone(), zone });
        }
    }
    None
}

async fn remove(context: &Context, provider: &Arc<dyn Provider>, notes: Vec<TxtNote>) -> Result<(), Finding> {
    let mut zones: BTreeMap<Option<String>, Vec<TxtNote>> = BTreeMap::new();
    for note in notes {
        zones.entry(note.zone.clone()).or_default().push(note);
    }
    let mut removing = JoinSet::new();
    for (zone, notes) in zones {
        let provider = Arc::clone(provider);
        removing.spawn(async move {
            let removed = remove_from(provider.as_ref(), zone, &notes).await;
            notes.into_iter().zip(removed).collect::<Vec<_>>()
        });
    }
    let mut failure = None;
    while let Some(joined) = removing.join_next().await {
        for (note, removed) in joined.unwrap_or_default() {
            match removed {
                // The record's creation may still be under way at the API: a later run looks again.
                Ok(()) if note.record.is_none() && clock::now().duration_since(note.at).abs() < UNDER_WAY => {}
                Ok(()) => context.store.strike_txt(&note.name, &note.value)?,
                Err(error) => failure = Some(of_dns(&note.name, &error).coded(Code::TxtLeft)),
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// `zone`: `None` for records noted before their zone was known; each is looked up by itself.
async fn remove_from(provider: &dyn Provider, zone: Option<String>, notes: &[TxtNote]) -> Vec<Result<(), DnsError>> {
    let handle = |note: &TxtNote, zone: String| {
        let (name, value, record) = (note.name.clone(), note.value.clone(), note.record.clone());
        Handle { zone, name, value, record }
    };
    if let Some(zone) = zone {
        let handles: Vec<Handle> = notes.iter().map(|note| handle(note, zone.clone())).collect();
        return provider.remove(&handles).await;
    }
    let mut removed = Vec::new();
    for note in notes {
        removed.push(match provider.zone(&note.name, None).await {
            Ok(zone) => provider.remove(&[handle(note, zone.id)]).await.pop().unwrap_or(Ok(())),
            Err(error) => Err(error),
        });
    }
    removed
}
