//! How answers of DNS rotate.

use core::net::IpAddr;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The answers of one server, or of all of a zone's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    pub server: String,
    #[serde(rename = "type")]
    pub kind: RecordKind,
    pub questions: u32,
    pub answers: u32,
    /// How often each address was the first of an answer.
    pub first: BTreeMap<IpAddr, u32>,
    /// The time was over before the last question.
    #[serde(default)]
    pub cut_short: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordKind {
    #[default]
    A,
    Aaaa,
}

impl RecordKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
        }
    }
}
