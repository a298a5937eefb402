//! Doubts about records that have a rule: warnings that are told beside the rule, with the connections.

use std::collections::{BTreeMap, BTreeSet};

use crate::connection::Connection;

/// More connections are only counted.
const NAMED: usize = 3;

/// What the user has to know about a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// It lets others in, and nobody knows what came of this.
    UnknownEvidence,
    /// Outgoing UDP to an ephemeral port, of which nobody knows what came: it may have been an answer.
    MayBeAnswer,
    /// Outgoing UDP that may have been for many, and no answer was seen.
    UnansweredRequest,
    /// DNS over UDP, and none over TCP.
    NoDnsOverTcp,
    /// It holds for an address of this host that will be another one some day.
    ChangingAddress,
    /// To a port that this host takes source ports from, too.
    EphemeralPort,
}

/// The doubts about a rule, and the connections that they are about.
pub type Doubts = BTreeMap<Doubt, Named>;

/// Some connections: the first by name, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The first.
    pub first: BTreeSet<Connection>,
    /// Of all.
    pub count: usize,
}

impl Named {
    pub(super) fn one(connection: Connection) -> Self {
        Self { first: [connection].into(), count: 1 }
    }

    /// Takes in others.
    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.first.extend(&other.first);
        while self.first.len() > NAMED {
            self.first.pop_last();
        }
    }
}

/// Adds the doubts of another record.
pub(super) fn add(doubts: &mut Doubts, others: &Doubts) {
    for (doubt, named) in others {
        doubts.entry(*doubt).or_default().add(named);
    }
}
