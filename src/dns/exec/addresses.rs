//! The program's tasks for address records, which lego's convention does not have:
//!
//! ```text
//! PROGRAM [ARGUMENT…] addresses NAME.                        prints each A and AAAA record: ADDRESS TTL [NOTE]
//! PROGRAM [ARGUMENT…] withdraw NAME. ADDRESS TTL [NOTE]
//! PROGRAM [ARGUMENT…] restore NAME. ADDRESS TTL [NOTE]
//! PROGRAM [ARGUMENT…] texts NAME.                            prints each TXT record: its value
//! ```
//!
//! A note is whatever the program needs to make the record again as it was. The records are read again before each change,
//! and after one that failed. A line that cannot be read is an error: a record that is overlooked would count as removed.

use core::net::IpAddr;

use super::{Call, Exec, qualified};
use crate::dns::DnsError;
use crate::dns::address_set::{has, not_to_restore, not_to_withdraw};
use crate::dns::txt_lookup::unquoted;
use crate::model::{AddressRecord, Swap};
use crate::text::escape;

const MOST_RECORDS: usize = 1000;
/// Bytes; it becomes an argument, and is kept in the state directory.
const LONGEST_NOTE: usize = 500;

#[derive(Clone, Copy)]
pub(super) enum Change {
    Withdraw,
    Restore,
}

impl Exec {
    /// The caller has the turn.
    pub(super) async fn read(&self, name: &str) -> Result<Vec<AddressRecord>, DnsError> {
        self.lines("addresses", name, |line| record(name, line)).await
    }

    pub(super) async fn read_texts(&self, name: &str) -> Result<Vec<String>, DnsError> {
        self.lines("texts", name, |line| Ok(unquoted(line))).await
    }

    /// Compares, and changes one record.
    pub(super) async fn change(
        &self,
        change: Change,
        record: &AddressRecord,
        all: &[AddressRecord],
    ) -> Result<Swap, DnsError> {
        let now = self.read(&record.name).await?;
        let (task, changed) = match change {
            Change::Withdraw => ("withdraw", not_to_withdraw(record, all, &now)),
            Change::Restore => ("restore", not_to_restore(record, all, &now)),
        };
        if let Some(changed) = changed {
            return Ok(changed);
        }
        let name = qualified(&record.name)?;
        let (address, ttl) = (record.address.to_string(), record.ttl.to_string());
        let mut arguments = vec![task, name.as_str(), address.as_str(), ttl.as_str()];
        // One of another provider, from before the configuration changed, is left out.
        if fits(&record.settings) {
            arguments.push(&record.settings);
        }
        let call = Call { command: &self.command, arguments: &arguments, limit: self.limit };
        let ended = call.run().await;
        let is_done = self.read(&record.name).await.map(|now| has(&now, record) == matches!(change, Change::Restore));
        match (ended, is_done) {
            (_, Ok(true)) => Ok(Swap::Done),
            (Err(error), _) => Err(error.into()),
            (Ok(()), Err(error)) => Err(error),
            (Ok(()), Ok(false)) => {
                Err(call.malformed("no error, and `addresses` shows what was there before".to_owned()).into())
            }
        }
    }

    async fn lines<T>(
        &self,
        task: &str,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, DnsError> {
        let owner = qualified(name)?;
        let arguments = [task, owner.as_str()];
        let call = Call { command: &self.command, arguments: &arguments, limit: self.limit };
        let output = call.read().await?;
        let lines: Vec<&str> = output.lines().collect();
        let malformed = |what: String| call.malformed(what);
        if lines.len() > MOST_RECORDS {
            return Err(malformed(format!("more than {MOST_RECORDS} lines")).into());
        }
        lines.into_iter().map(read).collect::<Result<_, String>>().map_err(|what| malformed(what).into())
    }
}

fn record(name: &str, line: &str) -> Result<AddressRecord, String> {
    let malformed = || format!("{:?} is not ADDRESS TTL [NOTE]", escape(line, 100));
    let mut words = line.splitn(3, ' ');
    let address: IpAddr = words.next().and_then(|word| word.parse().ok()).ok_or_else(malformed)?;
    let digits = words.next().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    let ttl = digits.and_then(|word| word.parse().ok()).ok_or_else(malformed)?;
    let note = words.next().unwrap_or_default();
    if !note.is_empty() && !fits(note) {
        return Err(format!("a note of {address} that is too long, or not of printable characters"));
    }
    Ok(AddressRecord {
        id: String::new(),
        name: name.trim_end_matches('.').to_ascii_lowercase(),
        address,
        ttl,
        proxied: false,
        comment: None,
        settings: note.to_owned(),
        changed: String::new(),
    })
}

fn fits(note: &str) -> bool {
    !note.is_empty() && note.len() <= LONGEST_NOTE && !note.contains(char::is_control) && !note.starts_with(['{', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_address_a_ttl_and_a_note() {
        let read = record("WWW.example.test.", "192.0.2.1 300").unwrap();
        assert_eq!((read.name.as_str(), read.ttl, read.settings.as_str()), ("www.example.test", 300, ""));
        let read = record("www.example.test", "2001:db8::1 60 id=7 line=default").unwrap();
        assert_eq!((read.address.to_string().as_str(), read.settings.as_str()), ("2001:db8::1", "id=7 line=default"));
    }

    #[test]
    fn a_line_that_is_something_else_is_an_error() {
        for line in [
            "",
            "192.0.2.1",
            "192.0.2.1 ",
            "192.0.2.1  300",
            " 192.0.2.1 300",
            "192.0.2.1 +300",
            "192.0.2.1 -1",
            "192.0.2.1 4294967296",
            "192.0.2.1\t300",
            "192.0.2.01 300",
            "A 192.0.2.1 300",
            "192.0.2.1 300 a\tb",
            "192.0.2.1 300 --all",
            &format!("192.0.2.1 300 {}", "n".repeat(501)),
        ] {
            assert!(record("www.example.test", line).is_err(), "{line}");
        }
    }
}
