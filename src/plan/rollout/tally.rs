//! How the nodes stand, kept up with each change of a phase: a look at all of them at each event would cost the square
//! of their number.

use core::cmp::Reverse;
use std::collections::BTreeSet;

use super::{Node, Phase};
use crate::plan::Before;

/// How fit a prepared node is to be the canary: it did not fail before, it passes its test, and what it serves.
type Fitness = (bool, bool, Before);

/// The fitness of a node that is as fit as any.
const FIT: Fitness = (true, true, Before::Valid);

/// By their places in the configuration's order.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    preparing: usize,
    /// The fittest first, and of these the first in order.
    ready: BTreeSet<(Reverse<Fitness>, usize)>,
    /// Nodes on which nothing is changed yet: those that have time, and those whose certificate ends soon.
    patient: BTreeSet<usize>,
    hurried: BTreeSet<usize>,
}

impl Tally {
    pub(super) fn enter(&mut self, place: usize, node: &Node) {
        if node.phase == Phase::Preparing {
            self.preparing += 1;
        }
        if let Some(fitness) = fitness(node) {
            self.ready.insert((Reverse(fitness), place));
        }
        if waits(node) {
            self.waiting_like(node).insert(place);
        }
    }

    pub(super) fn leave(&mut self, place: usize, node: &Node) {
        if node.phase == Phase::Preparing {
            self.preparing -= 1;
        }
        if let Some(fitness) = fitness(node) {
            self.ready.remove(&(Reverse(fitness), place));
        }
        self.waiting_like(node).remove(&place);
    }

    fn waiting_like(&mut self, node: &Node) -> &mut BTreeSet<usize> {
        if node.hurry { &mut self.hurried } else { &mut self.patient }
    }

    pub(super) fn any_preparing(&self) -> bool {
        self.preparing > 0
    }

    /// Prepared, in order.
    pub(super) fn ready(&self) -> Vec<usize> {
        let mut ready: Vec<usize> = self.ready.iter().map(|(_, place)| *place).collect();
        ready.sort_unstable();
        ready
    }

    /// The fittest that is prepared, and whether none can be fitter.
    pub(super) fn fittest(&self) -> Option<(usize, bool)> {
        self.ready.first().map(|(Reverse(fitness), place)| (*place, *fitness == FIT))
    }

    /// On which nothing is changed yet, in order.
    pub(super) fn waiting(&self) -> Vec<usize> {
        self.patient.union(&self.hurried).copied().collect()
    }

    pub(super) fn patient(&self) -> Vec<usize> {
        self.patient.iter().copied().collect()
    }

    pub(super) fn any_hurried(&self) -> bool {
        !self.hurried.is_empty()
    }
}

fn fitness(node: &Node) -> Option<Fitness> {
    match node.phase {
        Phase::Ready { test_ok } => Some((!node.last, test_ok, node.before)),
        _ => None,
    }
}

fn waits(node: &Node) -> bool {
    matches!(node.phase, Phase::Queued | Phase::Preparing | Phase::Ready { .. })
}
