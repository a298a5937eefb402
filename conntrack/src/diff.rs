//! The difference between two trees: which connections are new, which are gone, and how many are in
//! both. Times do not count.

use std::{cmp::Ordering, fmt};

use serde::Serialize;

use crate::{
    print::{json, words::count_of},
    record::Record,
    recording::Recording,
    tree,
    utc::Utc,
};

/// What became of a connection from one tree to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the other tree has it.
    New,
    /// Only the one tree has it.
    Gone,
    /// Both have it.
    Unchanged,
}

/// Two trees, compared.
#[derive(Clone, Debug)]
pub struct Diff {
    /// In order of the connections; what is unchanged with the time of the other tree.
    changes: Vec<(Change, Record)>,
    show_unchanged: bool,
}

impl Diff {
    /// What is different in `other`.
    pub fn between(one: &Recording, other: &Recording, show_unchanged: bool) -> Self {
        let mut changes = Vec::new();
        let mut one = one.records.iter().peekable();
        let mut other = other.records.iter().peekable();
        loop {
            let order = match (one.peek(), other.peek()) {
                (Some(one), Some(other)) => one.connection.cmp(&other.connection),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Self { changes, show_unchanged },
            };
            let gone = if order == Ordering::Greater { None } else { one.next() };
            let new = if order == Ordering::Less { None } else { other.next() };
            changes.extend(match (gone, new) {
                (Some(_), Some(record)) => Some((Change::Unchanged, record.clone())),
                (Some(record), None) => Some((Change::Gone, record.clone())),
                (None, Some(record)) => Some((Change::New, record.clone())),
                (None, None) => None,
            });
        }
    }

    /// Whether the trees hold the same connections.
    pub fn is_empty(&self) -> bool {
        self.count(Change::Unchanged) == self.changes.len()
    }

    fn count(&self, what: Change) -> usize {
        self.changes.iter().filter(|(change, _)| *change == what).count()
    }
}

impl Diff {
    /// The same for programs.
    pub const fn json(&self) -> Json<'_> {
        Json(self)
    }
}

/// A difference as one object: what is new, gone, and with `show_unchanged` the rest, then how many.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a>(&'a Diff);

#[derive(Serialize)]
struct Object {
    new: Vec<json::Object>,
    gone: Vec<json::Object>,
    /// `null` where it was not asked for.
    unchanged: Option<Vec<json::Object>>,
    counts: Counts,
}

#[derive(Serialize)]
struct Counts {
    new: usize,
    gone: usize,
    unchanged: usize,
}

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(diff) = self;
        let of = |wanted| {
            let changes = diff.changes.iter().filter(move |(change, _)| *change == wanted);
            changes.map(|(_, record)| record.into()).collect()
        };
        let object = Object {
            new: of(Change::New),
            gone: of(Change::Gone),
            unchanged: diff.show_unchanged.then(|| of(Change::Unchanged)),
            counts: Counts {
                new: diff.count(Change::New),
                gone: diff.count(Change::Gone),
                unchanged: diff.count(Change::Unchanged),
            },
        };
        let text = serde_json::to_string_pretty(&object).map_err(|_| fmt::Error)?;
        writeln!(f, "{text}")
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (change, record) in &self.changes {
            let sign = match change {
                Change::New => '+',
                Change::Gone => '-',
                Change::Unchanged if self.show_unchanged => ' ',
                Change::Unchanged => continue,
            };
            let path = tree::path(&record.connection);
            writeln!(f, "{sign} {path}  {}", Utc(record.last_seen))?;
        }
        let [new, gone, unchanged] =
            [Change::New, Change::Gone, Change::Unchanged].map(|change| self.count(change));
        writeln!(
            f,
            "{}: {new} new, {gone} gone, {unchanged} unchanged",
            count_of(self.changes.len(), "connection")
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::{
        connection::{Connection, Direction, Host, Protocol, SourcePort},
        record::Outcome,
    };

    fn recording(ports: &[u16]) -> Recording {
        let connection = |port: &u16| Connection {
            direction: Direction::Out,
            protocol: Protocol::Tcp,
            source: Host::Address([10, 0, 0, 1].into()),
            source_port: SourcePort::Any,
            destination: Host::Internet,
            destination_port: *port,
        };
        let record = |port: &u16| Record::of(connection(port), Outcome::Unknown, UNIX_EPOCH);
        Recording { records: ports.iter().map(record).collect(), ..Recording::default() }
    }

    fn changes(one: &[u16], other: &[u16]) -> Vec<(Change, u16)> {
        let diff = Diff::between(&recording(one), &recording(other), false);
        let port =
            |(change, record): &(Change, Record)| (*change, record.connection.destination_port);
        diff.changes.iter().map(port).collect()
    }

    #[test]
    fn each_connection_is_new_or_gone_or_unchanged() {
        use Change::{Gone, New, Unchanged};
        assert_eq!(
            changes(&[1, 2, 4], &[2, 3, 4]),
            [(Gone, 1), (Unchanged, 2), (New, 3), (Unchanged, 4)]
        );
        assert_eq!(changes(&[], &[1]), [(New, 1)]);
        assert_eq!(changes(&[1], &[]), [(Gone, 1)]);
    }

    #[test]
    fn the_same_connections_are_no_difference() {
        let tree = recording(&[1, 2]);
        let mut later = tree.clone();
        later.records[0].last_seen += std::time::Duration::from_secs(1);
        assert!(Diff::between(&tree, &later, false).is_empty());
        assert!(!Diff::between(&tree, &recording(&[1]), false).is_empty());
    }
}
