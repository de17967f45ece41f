//! The health of every place, which the service's checks note and its passes report.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::model::{Health, HealthPlace};
use crate::mutex::lock;
use crate::plan::health::{self, Answered, Standing, Thresholds};

/// What an answer has changed.
pub(crate) struct HealthChanges {
    /// Since when the backend answers no node: before and now.
    pub(crate) backend: (Option<Timestamp>, Option<Timestamp>),
    /// All of the certificate, where that has changed; else empty.
    pub(crate) of_certificate: Vec<Health>,
    /// Each with its standing before, if it was known, and now.
    pub(crate) places: Vec<(Health, Option<Standing>, Standing)>,
}

/// The health of every place. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Healths(Arc<Mutex<BTreeMap<HealthPlace, Health>>>);

impl Healths {
    pub fn new(known: impl IntoIterator<Item = Health>) -> Self {
        let by_place = known.into_iter().map(|health| (health.place.clone(), health)).collect();
        Self(Arc::new(Mutex::new(by_place)))
    }

    pub fn all(&self) -> Vec<Health> {
        lock(&self.0).values().cloned().collect()
    }

    /// Takes an answer in. What has changed by it, at whatever place of the certificate.
    pub(crate) fn note(&self, answered: Answered, thresholds: Thresholds) -> HealthChanges {
        let mut all = lock(&self.0);
        let (place, now) = (answered.place.clone(), answered.at);
        let known = all.remove(&place);
        let is_new = known.is_none();
        // The usual case, which a thousand nodes must not make expensive: judging looks at each of them.
        let was_well = known.as_ref().is_some_and(|known| known.is_well() && known.is_fresh(now));
        if was_well && answered.answer.is_well() == Some(true) {
            all.insert(place, health::after(known, answered, thresholds));
            return HealthChanges { backend: (None, None), of_certificate: Vec::new(), places: Vec::new() };
        }
        // Its own last answer is news until this one, however old it is; of the others nothing has changed by this.
        if let Some(known) = &known {
            all.insert(place.clone(), Health { stale_at: None, ..known.clone() });
        }
        let before = health::judge_at(of_certificate(&all, &place), now);
        all.insert(place.clone(), health::after(known, answered, thresholds));
        let after = health::judge_at(of_certificate(&all, &place), now);
        let own = all.values_mut().filter(|health| health.place.certificate == place.certificate);
        health::keep_backend(own, &after);
        let mut standings = before.standings.into_iter();
        let mut places = Vec::new();
        for (health, now) in of_certificate(&all, &place).zip(after.standings) {
            let before = if is_new && health.place == place { None } else { standings.next() };
            if before != Some(now) {
                places.push((health.clone(), before, now));
            }
        }
        let backend = (before.backend, after.backend);
        let changed = backend.0.is_some() != backend.1.is_some();
        let of_certificate = of_certificate(&all, &place).filter(|_| changed).cloned().collect();
        HealthChanges { backend, of_certificate, places }
    }

    pub(crate) fn retain(&self, keep: impl Fn(&HealthPlace) -> bool) {
        lock(&self.0).retain(|place, _| keep(place));
    }
}

fn of_certificate<'a>(
    all: &'a BTreeMap<HealthPlace, Health>,
    place: &'a HealthPlace,
) -> impl Iterator<Item = &'a Health> {
    all.values().filter(|health| health.place.certificate == place.certificate)
}
