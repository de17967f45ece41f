//! `state.json`: what was tried before. It carries the schema's version for the whole directory.

use std::path::Path;

use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};

use super::{Damage, Store, StoreError, atomic};
use crate::observed::Tried;

/// The schema that this version writes. A change that an older certd would misread raises it.
const SCHEMA: u64 = 1;

#[derive(Serialize, Deserialize)]
struct State<T> {
    version: u64,
    tried: T,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

impl Store {
    /// What was tried before; a new installation draws its seed here. A file that cannot be read is set aside and begun
    /// anew: it holds back-off and cached answers, never a certificate.
    pub fn tried(&self) -> Result<Tried, StoreError> {
        let path = self.root.join("state.json");
        let bytes = atomic::read(&path)?;
        let read = bytes.as_ref().and_then(|bytes| serde_json::from_slice::<State<Tried>>(bytes).ok());
        if let Some(state) = read {
            return Ok(state.tried);
        }
        let mut what = "it cannot be read; certd goes on as if nothing had been tried".to_owned();
        if self.looking {
            self.noted(bytes.iter().map(|_| Damage { path: path.clone(), what: what.clone() }));
            return Ok(Tried::default());
        }
        if bytes.is_some() {
            let aside = atomic::set_aside(&path)?;
            what = format!("it could not be read and was set aside as {}", aside.display());
            self.noted([Damage { path, what }]);
        }
        let tried = Tried { seed: seed(), ..Tried::default() };
        self.write_tried(&tried)?;
        Ok(tried)
    }

    pub fn write_tried(&self, tried: &Tried) -> Result<(), StoreError> {
        let path = self.writable()?.join("state.json");
        atomic::write(&path, &super::json(&path, &State { version: SCHEMA, tried })?)
    }
}

/// # Errors
/// The directory belongs to a newer certd.
pub(super) fn check_schema(root: &Path) -> Result<(), StoreError> {
    let path = root.join("state.json");
    let Some(bytes) = atomic::read(&path)? else {
        return Ok(());
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
