//! Choosing: the records that rules are made of, and how many are left out for which reason.

use std::collections::BTreeSet;

use super::internet::is_group;
use crate::{
    connection::{Connection, Direction, Host, Protocol, SourcePort},
    record::Record,
    recording::Recording,
};

/// Records that have no rule, all for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omission {
    /// So many in `else`, without `--forward`.
    Else(usize),
    /// So many in `else` to multicast or broadcast: routers do not forward them.
    Groups(usize),
    /// So many in `else` that answer others over UDP: the request has the rule.
    Answers(usize),
}

/// The records that rules are made of, and those that are left out.
pub(crate) fn choose(recording: &Recording, forward: bool) -> (Vec<&Record>, Vec<Omission>) {
    let is_else = |record: &&Record| record.connection.direction == Direction::Else;
    let (others, mut chosen): (Vec<&Record>, Vec<&Record>) =
        recording.records.iter().partition(is_else);
    let mut omissions = Vec::new();
    if forward {
        let (groups, others): (Vec<&Record>, Vec<&Record>) =
            others.into_iter().partition(|it| is_to_group(it));
        let requests = without_answers(&others);
        omissions.push(Omission::Groups(groups.len()));
        omissions.push(Omission::Answers(others.len() - requests.len()));
        chosen.extend(requests);
    } else {
        omissions.push(Omission::Else(others.len()));
    }
    omissions.retain(|omission| omission.count() > 0);
    (chosen, omissions)
}

impl Omission {
    /// How many records.
    const fn count(self) -> usize {
        match self {
            Self::Else(count) | Self::Groups(count) | Self::Answers(count) => count,
        }
    }
}

/// Whether a record is addressed to many hosts at once.
pub(super) fn is_to_group(record: &Record) -> bool {
    matches!(record.connection.destination, Host::Address(address) if is_group(address))
}

/// Over UDP, answers in `else` look like requests. One whose request is recorded too needs no rule:
/// it belongs to a connection.
fn without_answers<'a>(records: &[&'a Record]) -> Vec<&'a Record> {
    let known: BTreeSet<Connection> = records.iter().map(|record| record.connection).collect();
    let is_answer = |connection: &Connection| {
        let request = reversed(connection).filter(|_| connection.protocol == Protocol::Udp);
        request.is_some_and(|request| {
            request.destination_port < connection.destination_port && known.contains(&request)
        })
    };
    records.iter().copied().filter(|record| !is_answer(&record.connection)).collect()
}

fn reversed(connection: &Connection) -> Option<Connection> {
    let SourcePort::Number(destination_port) = connection.source_port else { return None };
    Some(Connection {
        source: connection.destination,
        source_port: SourcePort::Number(connection.destination_port),
        destination: connection.source,
        destination_port,
        ..*connection
    })
}
