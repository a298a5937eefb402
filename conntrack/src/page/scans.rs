//! Who tried many ports in vain, folded to one line each.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use super::tally::{Class, Tally};
use crate::{
    connection::{Direction, Host, Protocol},
    record::Record,
    rules::internet::is_group,
};

/// From so many ports at addresses on that nobody answered it is a scan.
pub(super) const PORTS: usize = 10;

/// One source's tries.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub(super) source: Host,
    /// What was tried.
    pub(super) ports: BTreeMap<Protocol, BTreeSet<u16>>,
    /// Where.
    pub(super) targets: BTreeSet<Host>,
    pub(super) sum: Tally,
}

/// Whether a record may be part of a scan: somebody else asked one host, and nobody answered.
fn is_try(record: &Record) -> bool {
    let connection = &record.connection;
    let is_to_group = matches!(connection.destination, Host::Address(it) if is_group(it));
    Class::of(record.outcome) == Class::Unanswered
        && connection.direction != Direction::Out
        && !is_to_group
}

/// Parts scans from all else; those with most tries first.
pub(super) fn part(records: &[Record]) -> (Vec<Scan>, Vec<&Record>) {
    let mut tried = HashMap::<Host, BTreeSet<_>>::new();
    for record in records.iter().filter(|it| is_try(it)) {
        let it = &record.connection;
        let there = (it.destination, it.protocol, it.destination_port);
        tried.entry(it.source).or_default().insert(there);
    }
    tried.retain(|_, tried| tried.len() >= PORTS);
    let (of_scans, others): (Vec<&Record>, Vec<&Record>) =
        records.iter().partition(|it| is_try(it) && tried.contains_key(&it.connection.source));
    let mut scans = BTreeMap::<Host, Scan>::new();
    for record in of_scans {
        let it = &record.connection;
        let tally = Tally::of(record);
        let scan = scans.entry(it.source).and_modify(|scan| scan.sum.add(&tally));
        let scan = scan.or_insert_with(|| Scan {
            source: it.source,
            ports: BTreeMap::new(),
            targets: BTreeSet::new(),
            sum: tally,
        });
        scan.ports.entry(it.protocol).or_default().insert(it.destination_port);
        scan.targets.insert(it.destination);
    }
    let mut scans: Vec<_> = scans.into_values().collect();
    scans.sort_by_key(|it| (Reverse(it.sum.total()), it.source));
    (scans, others)
}
