//! Records folded by port: the services of this machine, and those that it uses.

use std::{cmp::Reverse, collections::BTreeMap};

use super::tally::Tally;
use crate::{
    connection::{Connection, Host, Protocol},
    record::Record,
    unit::Units,
};

/// What is asked: a port, at one address or at any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Asked {
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    /// Where; nothing is anywhere.
    pub(super) at: Option<Host>,
}

impl Asked {
    /// The port at its address.
    pub(super) const fn there(connection: &Connection) -> Self {
        Self { at: Some(connection.destination), ..Self::anywhere(connection) }
    }

    /// The port wherever it is.
    pub(super) const fn anywhere(connection: &Connection) -> Self {
        let Connection { protocol, destination_port: port, .. } = *connection;
        Self { protocol, port, at: None }
    }
}

/// What is asked, by whom or where, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) asked: Asked,
    /// The other ends.
    pub(super) peers: BTreeMap<Host, Tally>,
    pub(super) sum: Tally,
    /// The units of this machine whose it is, as far as they are known.
    pub(super) units: Units,
}

impl Group {
    fn add(&mut self, peer: Host, tally: &Tally) {
        self.sum.add(tally);
        let more = self.peers.entry(peer);
        more.and_modify(|sum| sum.add(tally)).or_insert_with(|| tally.clone());
    }

    /// Those with most connections first.
    pub(super) fn peers(&self) -> Vec<(Host, &Tally)> {
        let mut peers: Vec<_> = self.peers.iter().map(|(host, tally)| (*host, tally)).collect();
        peers.sort_by_key(|(host, tally)| (Reverse(tally.total()), *host));
        peers
    }
}

/// Folds records by what is asked; those with most peers first.
pub(super) fn fold(
    records: &[&Record],
    asked: impl Fn(&Connection) -> Asked,
    peer: impl Fn(&Connection) -> Host,
) -> Vec<Group> {
    let mut groups = BTreeMap::<Asked, Group>::new();
    for record in records {
        let (asked, peer, tally) =
            (asked(&record.connection), peer(&record.connection), Tally::of(record));
        if let Some(group) = groups.get_mut(&asked) {
            group.add(peer, &tally);
            group.units.add_all(&record.units);
        } else {
            let peers = BTreeMap::from([(peer, tally.clone())]);
            groups.insert(asked, Group { asked, peers, sum: tally, units: record.units.clone() });
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|it| (Reverse(it.peers.len()), Reverse(it.sum.total()), it.asked));
    groups
}
