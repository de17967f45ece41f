//! The operator's program that makes or removes one TXT record, for a provider that certd does not support. It is called as
//! lego calls its `exec` provider (<https://go-acme.github.io/lego/dns/exec/>), so that lego's scripts work here:
//!
//! ```text
//! PROGRAM [ARGUMENT…] present _acme-challenge.www.example.com. VALUE
//! PROGRAM [ARGUMENT…] cleanup _acme-challenge.www.example.com. VALUE
//! ```
//!
//! With `addresses = true` it has tasks for address records too (`addresses.rs`).
//!
//! The name is the end of the CNAMEs. Success is exit status 0. Calls are serialized: such programs read, change and write
//! back, and are rarely safe to run concurrently.

mod addresses;
mod call;
mod error;
mod pipe;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as StdMutex};

use async_trait::async_trait;
use nix::unistd::{AccessFlags, access};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

pub use error::ProgramError;

use super::resolvers::parse;
use super::{DnsError, Handle, Provider, TxtRecord, Zone};
use crate::model::{AddressRecord, Swap};
use crate::mutex::lock;
use addresses::Change;
use call::Call;

/// By command: a pass, failover and a rehearsal each have a provider of their own.
static TURNS: StdMutex<BTreeMap<Vec<String>, Arc<Mutex<()>>>> = StdMutex::new(BTreeMap::new());
/// How long a withdrawal waits for its turn: by then what it was decided by is old.
const PROMPT: Duration = Duration::from_secs(30);

pub struct Exec {
    /// The program and its first arguments.
    command: Vec<String>,
    limit: Duration,
    /// The program can read and change address records.
    addresses: bool,
    one_at_a_time: Arc<Mutex<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Present,
    Cleanup,
}

impl Task {
    fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Cleanup => "cleanup",
        }
    }
}

impl Exec {
    /// `command` must not be empty; `limit` holds for each call.
    pub fn new(command: &[String], limit: Duration) -> Self {
        let one_at_a_time = Arc::clone(lock(&TURNS).entry(command.to_vec()).or_default());
        Self { command: command.to_vec(), limit, addresses: false, one_at_a_time }
    }

    /// For a program that has the tasks for address records. Others may take an unknown task for `cleanup`.
    pub fn with_addresses(self) -> Self {
        Self { addresses: true, ..self }
    }

    fn has_addresses(&self, name: &str) -> Result<(), DnsError> {
        if self.addresses { Ok(()) } else { Err(DnsError::NoAddressRecords { name: name.to_owned() }) }
    }

    async fn prompt_turn(&self) -> Result<MutexGuard<'_, ()>, ProgramError> {
        timeout(PROMPT, self.one_at_a_time.lock())
            .await
            .map_err(|_| ProgramError::Busy { program: self.command[0].clone(), limit: PROMPT })
    }

    /// One result for each record, in order. After a program could not be run, or did not end, it is not called for the
    /// others: each would fail the same way, after the whole time limit.
    async fn each<'r>(
        &self,
        task: Task,
        records: impl Iterator<Item = (&'r str, &'r str)>,
    ) -> Vec<Result<(), DnsError>> {
        let _turn = self.one_at_a_time.lock().await;
        let mut results = Vec::new();
        let mut lasting: Option<ProgramError> = None;
        for (name, value) in records {
            let done = match (&lasting, qualified(name)) {
                (Some(error), _) => Err(error.clone().into()),
                (None, Err(error)) => Err(error),
                (None, Ok(name)) => {
                    let arguments = [task.as_str(), &name, value];
                    let call = Call { command: &self.command, arguments: &arguments, limit: self.limit };
                    let done = call.run().await;
                    lasting = done.as_ref().err().filter(|error| error.affects_every_record()).cloned();
                    done.map_err(DnsError::from)
                }
            };
            results.push(done);
        }
        results
    }
}

#[async_trait]
impl Provider for Exec {
    /// The program finds its zone itself; here a zone only groups records. A program that cannot be run is detected here,
    /// before an order.
    async fn zone(&self, name: &str, apex: Option<&str>) -> Result<Zone, DnsError> {
        qualified(name)?;
        let program = &self.command[0];
        access(program.as_str(), AccessFlags::X_OK)
            .map_err(|error| ProgramError::Start { program: program.clone(), source: Arc::new(error.into()) })?;
        Ok(Zone { id: apex.unwrap_or(name).to_owned(), name: apex.map(str::to_owned) })
    }

    fn knows_its_zones(&self, _name: &str) -> bool {
        false
    }

    async fn publish(&self, zone: &Zone, records: &[TxtRecord]) -> Vec<Result<Handle, DnsError>> {
        let pairs = records.iter().map(|record| (record.name.as_str(), record.value.as_str()));
        let results = self.each(Task::Present, pairs).await;
        let handle = |record: &TxtRecord| Handle {
            zone: zone.id.clone(),
            name: record.name.clone(),
            value: record.value.clone(),
            // Name and value identify the record; set, since the program succeeded.
            record: Some(String::new()),
        };
        records.iter().zip(results).map(|(record, result)| result.map(|()| handle(record))).collect()
    }

    async fn remove(&self, handles: &[Handle]) -> Vec<Result<(), DnsError>> {
        self.each(Task::Cleanup, handles.iter().map(|handle| (handle.name.as_str(), handle.value.as_str()))).await
    }

    async fn address_records(&self, _zone: &Zone, name: &str) -> Result<Vec<AddressRecord>, DnsError> {
        self.has_addresses(name)?;
        let _turn = self.one_at_a_time.lock().await;
        self.read(name).await
    }

    async fn withdraw(&self, _zone: &Zone, record: &AddressRecord, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        self.has_addresses(&record.name)?;
        let _turn = self.prompt_turn().await?;
        self.change(Change::Withdraw, record, all).await
    }

    async fn restore(&self, _zone: &Zone, record: &AddressRecord, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        self.has_addresses(&record.name)?;
        let _turn = self.one_at_a_time.lock().await;
        self.change(Change::Restore, record, all).await
    }

    async fn texts(&self, _zone: &Zone, name: &str) -> Result<Vec<String>, DnsError> {
        self.has_addresses(name)?;
        let _turn = self.one_at_a_time.lock().await;
        self.read_texts(name).await
    }
}

/// `name.` in lower case. A name that DNS cannot hold (from a file that was tampered with) must not reach the program.
fn qualified(name: &str) -> Result<String, DnsError> {
    let name = parse(name)?.to_lowercase().to_ascii();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.*".contains(c);
    if name.starts_with('-') || !name.chars().all(plain) { Err(DnsError::Name { name }) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::qualified;

    #[test]
    fn d14_a_program_gets_the_name_in_lower_case_and_with_its_dot() {
        for name in ["_acme-challenge.WWW.Example.test", "_acme-challenge.www.example.test."] {
            assert_eq!(qualified(name).unwrap(), "_acme-challenge.www.example.test.");
        }
        for name in ["-rf.example.test", "a b.example.test", "$(id).example.test", "a\u{0}b.test", "上海.example.test"]
        {
            assert!(qualified(name).is_err(), "{name}");
        }
    }
}
