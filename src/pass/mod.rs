//! The loop: observe, plan, execute, fold, at most three rounds. The only place that joins several effects.

pub mod clock;
pub mod issue;
pub mod progress;

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::cert::Roots;
use crate::config::Config;
use crate::ssh::Identity;
use crate::store::Store;

/// What every step of a pass works with. Secrets were read at its start.
pub struct Context {
    pub config: Arc<Config>,
    pub store: Store,
    pub roots: Roots,
    pub secrets: Secrets,
    pub progress: progress::Progress,
}

/// Read before privileges are dropped, once a pass.
pub struct Secrets {
    pub dns_token: Zeroizing<String>,
    pub eab_hmac: Option<Zeroizing<String>>,
    /// By file.
    pub identities: Vec<Identity>,
    /// PEM of the CA's own API root, when configured. Not a secret; read in the same breath.
    pub acme_ca: Option<String>,
}
