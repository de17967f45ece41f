//! TXT records for the CA's challenges: made and removed through a provider's API, and seen on every authoritative server
//! before the CA is asked to look.
//!
//! Failure means: no validation was attempted, or a record of ours is left, in the journal, to be removed by a later run.

mod cloudflare;
mod error;
mod propagation;
mod provider;
mod resolvers;
mod standing;
mod wire;

pub use cloudflare::Cloudflare;
pub use error::DnsError;
pub use propagation::{SEEN_BOUND, Wanted, await_seen};
pub use provider::{Handle, Provider, TxtRecord, Zone};
pub use resolvers::{Resolvers, Server, challenge_name};
pub use standing::texts;
