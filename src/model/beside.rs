//! What a server has beside what certd delivers.

use serde::{Deserialize, Serialize};

use super::Served;
use crate::cert::KeyAlgorithm;

/// A certificate with a key of the other algorithm, which a server has for the same name beside ours, and which no
/// certificate of the configuration is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Beside {
    pub served: Served,
    pub algorithm: KeyAlgorithm,
    /// Clients that take every algorithm get this one.
    pub preferred: bool,
}
