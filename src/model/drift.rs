//! How a node's disk differs from the store, although the node may serve the right certificate: the next reload serves
//! the disk.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cert::Generation;

use crate::model::{Finding, cut};

/// The last comparison of a certificate's paths on one node, kept across runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// When the comparison was made, or failed.
    pub at: Timestamp,
    /// The generation compared with.
    pub generation: Generation,
    /// `None`: no difference.
    pub drift: Option<Drift>,
    /// The node could not be looked at; `drift` is that of the comparison before.
    #[serde(default)]
    pub failure: Option<Finding>,
}

impl Compared {
    pub(crate) fn cut(&mut self, most: usize) {
        self.failure.iter_mut().for_each(|failure| failure.cut(most));
        match &mut self.drift {
            Some(Drift::Overwritten { renewers } | Drift::Changed { renewers }) => {
                renewers.iter_mut().for_each(|name| cut(name, most));
            }
            Some(Drift::Foreign { why }) => cut(why, most),
            _ => {}
        }
    }
}

/// Result of a comparison. Texts come from the node, escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "disk", rename_all = "kebab-case")]
pub enum Drift {
    /// The right content in plain files, where our links were: a backup was restored, or a tool that copies ran.
    Flattened,
    /// Plain files with other content where our links were.
    Overwritten {
        /// Other programs that renew certificates there: the files or units that show it.
        renewers: Vec<String>,
    },
    /// Our links, with other content behind them: somebody wrote through them, or into the generation's folder.
    Changed { renewers: Vec<String> },
    /// Our links lead to an older generation.
    Older { current: String },
    /// Our links lead to a newer generation, which this certd does not have.
    Newer { current: String },
    /// A file is gone.
    Missing,
    /// A foreign link, a folder, or a place that others may write to.
    Foreign { why: String },
}

impl Drift {
    /// Whether a delivery repairs it. What a node refuses by itself (I9, foreign links) needs an operator.
    pub fn can_be_mended(&self) -> bool {
        !matches!(self, Self::Newer { .. } | Self::Foreign { .. })
    }
}
