//! TXT records for the CA's challenges: made and removed through a provider's API, and seen on every authoritative server
//! before the CA is asked to look.
//!
//! Finding means: no validation was attempted, or a record of ours is left, in the journal, to be removed by a later run.

mod board;
mod cloudflare;
mod crowd;
mod doh;
mod error;
mod exec;
mod inventory;
mod propagation;
mod provider;
mod resolvers;
mod rfc2136;
mod standing;
mod wire;

pub use cloudflare::{Cloudflare, Settings};
pub use crowd::{ONE_DATAGRAM, answer_size};
pub use doh::Doh;
pub use error::DnsError;
pub use exec::{Exec, ProgramError};
pub use inventory::{addresses, in_dns, union};
pub use propagation::{Patience, Wanted, await_seen};
pub use provider::{Handle, Provider, TxtRecord, Zone};
pub use resolvers::{Resolvers, Server, challenge_name};
pub use rfc2136::{Rfc2136, UpdateError};
pub use standing::texts;
