//! `state.json`: the state that outlives a run. It carries the schema's version for the whole directory.

use std::path::Path;
use std::sync::Mutex;

use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};

use super::{Damage, Store, StoreError, atomic};
use crate::model::PersistedState;
use crate::mutex::lock;

/// The schema that this version writes. A change that an older certd would misread raises it.
const SCHEMA: u64 = 1;

/// Held while the file is read, and made if it is not there.
static BEGINNING: Mutex<()> = Mutex::new(());

/// Characters of a text, where all of them would not fit.
const BRIEF: usize = 100;

#[derive(Serialize, Deserialize)]
struct StateFile<T> {
    version: u64,
    #[serde(rename = "tried")]
    state: T,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

impl Store {
    /// What was tried before; a new installation draws its seed here. A file that cannot be read is set aside and begun
    /// anew: it holds back-off and cached answers, never a certificate.
    pub fn state(&self) -> Result<PersistedState, StoreError> {
        // Two that begin it side by side, as a first pass and failover do, would take it from one another.
        let _turn = lock(&BEGINNING);
        let path = self.root.join("state.json");
        let (is_there, read) = match atomic::read(&path) {
            Ok(bytes) => (
                bytes.is_some(),
                bytes.and_then(|bytes| serde_json::from_slice::<StateFile<PersistedState>>(&bytes).ok()),
            ),
            Err(StoreError::TooLong { .. }) => (true, None),
            Err(error) => return Err(error),
        };
        if let Some(state) = read {
            return Ok(state.state);
        }
        let mut what = "it cannot be read; certd goes on as if nothing had been tried".to_owned();
        if self.looking {
            self.noted(is_there.then_some(Damage { path, what }));
            return Ok(PersistedState::default());
        }
        if is_there {
            let aside = atomic::set_aside(&path)?;
            what = format!("it could not be read and was set aside as {}", aside.display());
            self.noted([Damage { path, what }]);
        }
        let state = PersistedState { seed: seed(), ..PersistedState::default() };
        self.write_state(&state)?;
        Ok(state)
    }

    pub fn write_state(&self, state: &PersistedState) -> Result<(), StoreError> {
        let path = self.writable()?.join("state.json");
        let write =
            |state: &PersistedState| atomic::write(&path, &super::json(&path, &StateFile { version: SCHEMA, state })?);
        match write(state) {
            // What is decided by stays; the words of nodes and CAs are what can fill it.
            Err(StoreError::TooLong { .. }) => write(&state.with_texts_of(BRIEF)),
            written => written,
        }
    }
}

/// # Errors
/// The directory belongs to a newer certd.
pub(super) fn check_schema(root: &Path) -> Result<(), StoreError> {
    let path = root.join("state.json");
    let bytes = match atomic::read(&path) {
        Ok(Some(bytes)) => bytes,
        // One that is too long is begun anew where it is needed.
        Ok(None) | Err(StoreError::TooLong { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    match serde_json::from_slice::<Version>(&bytes) {
        Ok(Version { version }) if version > SCHEMA => {
            Err(StoreError::NewerSchema { path, found: version, known: SCHEMA })
        }
        _ => Ok(()),
    }
}

/// Without randomness the installation still works: it only shares its renewal instants with others.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_or(0, |()| u64::from_le_bytes(bytes))
}
