//! Several providers as one: each record goes to the provider whose section has the record's name, and a record that an
//! earlier run left does so too.
//!
//! Two providers may have equal identifiers of zones (a zone's name at both, say), so that records of "one zone" are
//! divided by their names as well.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{DnsError, Handle, Provider, TxtRecord, Zone};
use crate::config::{DnsSection, section_of};
use crate::model::{AddressRecord, AtProvider, Swap};

pub struct ByZone {
    /// Of all names that no section has.
    own: Arc<dyn Provider>,
    sections: Vec<(DnsSection, Arc<dyn Provider>)>,
}

impl ByZone {
    pub fn new(own: Arc<dyn Provider>, sections: Vec<(DnsSection, Arc<dyn Provider>)>) -> Self {
        Self { own, sections }
    }

    fn section_of(&self, name: &str) -> Option<usize> {
        section_of(self.sections.iter().map(|(section, _)| section), name)
    }

    /// A section's provider, and what its errors get.
    fn provider(&self, section: Option<usize>) -> (&dyn Provider, impl Fn(DnsError) -> DnsError) {
        let section = section.map(|at| &self.sections[at]);
        let name = section.map(|(section, _)| section.name.as_str());
        (section.map_or(&self.own, |(_, provider)| provider).as_ref(), move |error| DnsError::of_section(error, name))
    }

    /// The places of these names, by section.
    fn divide<'n>(&self, names: impl Iterator<Item = &'n str>) -> BTreeMap<Option<usize>, Vec<usize>> {
        let mut divided: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        names.enumerate().for_each(|(at, name)| divided.entry(self.section_of(name)).or_default().push(at));
        divided
    }
}

#[async_trait]
impl Provider for ByZone {
    async fn zone(&self, name: &str, apex: Option<&str>) -> Result<Zone, DnsError> {
        let (provider, named) = self.provider(self.section_of(name));
        provider.zone(name, apex).await.map_err(named)
    }

    async fn publish(&self, zone: &Zone, records: &[TxtRecord]) -> Vec<Result<Handle, DnsError>> {
        let mut results = BTreeMap::new();
        for (section, places) in self.divide(records.iter().map(|record| record.name.as_str())) {
            let (provider, named) = self.provider(section);
            let part: Vec<TxtRecord> = places.iter().map(|at| records[*at].clone()).collect();
            let made = provider.publish(zone, &part).await;
            results.extend(places.into_iter().zip(made.into_iter().map(|made| made.map_err(&named))));
        }
        results.into_values().collect()
    }

    async fn remove(&self, handles: &[Handle]) -> Vec<Result<(), DnsError>> {
        let mut results = BTreeMap::new();
        for (section, places) in self.divide(handles.iter().map(|handle| handle.name.as_str())) {
            let (provider, named) = self.provider(section);
            let part: Vec<Handle> = places.iter().map(|at| handles[*at].clone()).collect();
            let removed = provider.remove(&part).await;
            results.extend(places.into_iter().zip(removed.into_iter().map(|removed| removed.map_err(&named))));
        }
        results.into_values().collect()
    }

    /// What a section's `zones` have, its provider serves.
    fn knows_its_zones(&self, name: &str) -> bool {
        self.section_of(name).is_some() || self.own.knows_its_zones(name)
    }

    /// With an equal identifier in another account, that zone is asked for anew: a request, no more.
    fn forget(&self, zone: &Zone) {
        self.own.forget(zone);
        self.sections.iter().for_each(|(_, provider)| provider.forget(zone));
    }

    async fn addresses(&self, name: &str) -> Result<Vec<AtProvider>, DnsError> {
        let (provider, named) = self.provider(self.section_of(name));
        provider.addresses(name).await.map_err(named)
    }

    async fn address_records(&self, zone: &Zone, name: &str) -> Result<Vec<AddressRecord>, DnsError> {
        let (provider, named) = self.provider(self.section_of(name));
        provider.address_records(zone, name).await.map_err(named)
    }

    async fn unchanged(&self, zone: &Zone, name: &str, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        let (provider, named) = self.provider(self.section_of(name));
        provider.unchanged(zone, name, all).await.map_err(named)
    }

    async fn withdraw(&self, zone: &Zone, record: &AddressRecord, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        let (provider, named) = self.provider(self.section_of(&record.name));
        provider.withdraw(zone, record, all).await.map_err(named)
    }

    async fn restore(&self, zone: &Zone, record: &AddressRecord, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        let (provider, named) = self.provider(self.section_of(&record.name));
        provider.restore(zone, record, all).await.map_err(named)
    }

    async fn texts(&self, zone: &Zone, name: &str) -> Result<Vec<String>, DnsError> {
        let (provider, named) = self.provider(self.section_of(name));
        provider.texts(zone, name).await.map_err(named)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::mutex::lock;

    /// Notes what it is asked.
    #[derive(Default)]
    struct Noting(Mutex<Vec<String>>);

    #[async_trait]
    impl Provider for Noting {
        async fn zone(&self, name: &str, _apex: Option<&str>) -> Result<Zone, DnsError> {
            Err(DnsError::NoZone { name: name.to_owned(), apex: None })
        }

        async fn publish(&self, zone: &Zone, records: &[TxtRecord]) -> Vec<Result<Handle, DnsError>> {
            lock(&self.0).extend(records.iter().map(|record| format!("+{}", record.value)));
            let handle = |it: &TxtRecord| {
                let (zone, name, value) = (zone.id.clone(), it.name.clone(), it.value.clone());
                Ok(Handle { zone, name, value, record: None })
            };
            records.iter().map(handle).collect()
        }

        async fn remove(&self, handles: &[Handle]) -> Vec<Result<(), DnsError>> {
            lock(&self.0).extend(handles.iter().map(|handle| format!("-{}", handle.value)));
            handles.iter().map(|handle| self.zone_error(&handle.value)).collect()
        }

        fn knows_its_zones(&self, _name: &str) -> bool {
            false
        }
    }

    impl Noting {
        /// A record of the value "bad" cannot be removed.
        fn zone_error(&self, value: &str) -> Result<(), DnsError> {
            if value == "bad" { Err(DnsError::Name { name: value.to_owned() }) } else { Ok(()) }
        }

        fn take(&self) -> Vec<String> {
            core::mem::take(&mut lock(&self.0))
        }
    }

    fn section(name: &str, zones: &[&str]) -> DnsSection {
        let (command, timeout) = (vec!["/hook".into()], Default::default());
        let provider = crate::config::Provider::Exec { command, timeout, addresses: false };
        DnsSection { name: name.to_owned(), provider, zones: zones.iter().map(ToString::to_string).collect() }
    }

    #[tokio::test]
    async fn records_of_one_zone_id_are_divided_by_their_names_and_answers_keep_their_order() {
        let [own, org, sub] = [0; 3].map(|_| Arc::new(Noting::default()));
        let sections: Vec<(DnsSection, Arc<dyn Provider>)> = vec![
            (section("org", &["example.org", "example.net"]), Arc::clone(&org) as _),
            (section("sub", &["sub.example.org"]), Arc::clone(&sub) as _),
        ];
        let provider = ByZone::new(Arc::clone(&own) as _, sections);
        let names = [
            ("_acme-challenge.a.SUB.example.org.", "1"),
            ("_acme-challenge.example.com", "2"),
            ("_acme-challenge.example.org", "3"),
            ("_acme-challenge.badexample.org", "4"),
            ("sub.example.org", "bad"),
            ("_acme-challenge.www.example.net", "6"),
        ];
        let records = names.map(|(name, value)| TxtRecord { name: name.to_owned(), value: value.to_owned() });
        let zone = Zone { id: "same".to_owned(), name: None };
        let made: Vec<Handle> = provider.publish(&zone, &records).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(made.iter().map(|made| made.value.as_str()).collect::<Vec<_>>(), names.map(|(_, value)| value));
        assert_eq!([&own, &org, &sub].map(|it| it.take().join(" ")), ["+2 +4", "+3 +6", "+1 +bad"]);

        let removed = provider.remove(&made).await;
        let errors = removed.iter().map(|removed| removed.as_ref().err().and_then(DnsError::section));
        assert_eq!(errors.collect::<Vec<_>>(), [None, None, None, None, Some("sub"), None]);
        assert!(removed[4].is_err());
        assert_eq!([&own, &org, &sub].map(|it| it.take().join(" ")), ["-2 -4", "-3 -6", "-1 -bad"]);
    }

    #[tokio::test]
    async fn an_error_names_its_section_and_a_zone_of_a_section_is_within_reach() {
        let [own, org] = [0; 2].map(|_| Arc::new(Noting::default()));
        let provider = ByZone::new(own, vec![(section("org", &["example.org"]), org)]);
        let error = provider.zone("_acme-challenge.example.org", None).await.unwrap_err();
        assert!(error.to_string().starts_with("dns.org: ") && error.is_out_of_reach(), "{error}");
        let error = provider.zone("_acme-challenge.example.com", None).await.unwrap_err();
        assert_eq!(error.section(), None);
        assert!(provider.knows_its_zones("_acme-challenge.example.org"));
        assert!(!provider.knows_its_zones("_acme-challenge.example.com"));
    }
}
