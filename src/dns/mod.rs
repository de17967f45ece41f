//! TXT records for the CA's challenges: made and removed through a provider's API, and visible on every authoritative
//! server before the CA is asked to validate. And the address records of services, which failover withdraws and restores.
//!
//! After an error no validation was attempted, or one of our records is left behind: the journal lists it, and a later run
//! removes it.

mod address_set;
mod answer_size;
mod by_zone;
mod cloudflare;
mod doh;
mod error;
mod exec;
mod inventory;
mod propagation;
mod propagation_tally;
mod provider;
mod resolvers;
mod rfc2136;
mod rotation;
mod txt_lookup;
mod unread;
mod wire;

pub use answer_size::{ONE_DATAGRAM, answer_size};
pub use by_zone::ByZone;
pub use cloudflare::{Cloudflare, Settings, malformed_token};
pub use doh::Doh;
pub use error::DnsError;
pub use exec::{Exec, ProgramError};
pub use inventory::{addresses, has_only_a_wildcard, in_dns, union};
pub use propagation::{Patience, Propagated, WantedTxt, await_seen};
pub use provider::{Handle, Provider, TxtRecord, Zone};
pub use resolvers::{Chain, Resolvers, Server, challenge_name};
pub use rfc2136::{Rfc2136, UpdateError};
pub use rotation::rotation;
pub use txt_lookup::texts;
pub use unread::Unread;
