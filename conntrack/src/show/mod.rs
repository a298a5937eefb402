//! Looking at a recording: which connections, in which order, and as lines for people.

mod lines;
mod services;

use std::{cmp::Reverse, time::SystemTime};

pub use lines::{Clock, Lines};
pub use services::Services;

use crate::{
    connection::{Connection, Direction, Evidence, Protocol, SourcePort},
    record::{Outcome, Record},
};

/// Which connections are wanted. What is empty or `None` leaves nothing out.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// These directions.
    pub directions: Vec<Direction>,
    /// These protocols.
    pub protocols: Vec<Protocol>,
    /// To one of these ports, or from it where the source port is known.
    pub ports: Vec<u16>,
    /// Of one of these units, as people type them.
    pub units: Vec<String>,
    /// Those that nobody answered.
    pub unanswered: bool,
    /// Whose file was made since then.
    pub made_since: Option<SystemTime>,
}

impl Selection {
    /// Whether a record is wanted.
    pub fn includes(&self, record: &Record) -> bool {
        let Record { connection, outcome, made, .. } = record;
        is_one_of(&self.directions, &connection.direction)
            && is_one_of(&self.protocols, &connection.protocol)
            && (self.ports.is_empty() || self.ports.iter().any(|port| has_port(connection, *port)))
            && (self.units.is_empty() || self.units.iter().any(|it| record.units.has(it)))
            && (!self.unanswered || is_unanswered(*outcome))
            && self.made_since.is_none_or(|since| made.is_some_and(|made| made >= since))
    }
}

fn is_one_of<T: PartialEq>(wanted: &[T], found: &T) -> bool {
    wanted.is_empty() || wanted.contains(found)
}

fn has_port(connection: &Connection, port: u16) -> bool {
    connection.destination_port == port || connection.source_port == SourcePort::Number(port)
}

/// What is unknown may have been answered.
const fn is_unanswered(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::None | Outcome::Seen(Evidence::Refused))
}

/// In which order connections are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Direction, protocol, source, destination.
    Connection,
    /// Destination port.
    Port,
    /// Source.
    Source,
    /// Destination.
    Destination,
    /// Last seen, the latest first.
    Seen,
    /// Made, the latest first; what is unknown last.
    Made,
}

/// Puts records into this order. Equal ones stay in the order of their connections.
pub fn sort(records: &mut [Record], order: Order) {
    records.sort_unstable();
    match order {
        Order::Connection => {}
        Order::Port => records.sort_by_key(|it| it.connection.destination_port),
        Order::Source => {
            records.sort_by_key(|it| (it.connection.source, it.connection.source_port));
        }
        Order::Destination => records.sort_by_key(|it| it.connection.destination),
        Order::Seen => records.sort_by_key(|it| Reverse(it.last_seen)),
        Order::Made => records.sort_by_key(|it| Reverse(it.made)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::{connection::Host, unit::Unit};

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// A connection to a port, with a time that tells it from others.
    pub(crate) fn record(direction: Direction, port: u16, outcome: Outcome) -> Record {
        let connection = Connection {
            direction,
            protocol: Protocol::Tcp,
            source: Host::Address([10, 0, 0, 1].into()),
            source_port: SourcePort::Any,
            destination: Host::Address([10, 0, 0, 2].into()),
            destination_port: port,
        };
        let last_seen = at(99_999 - u64::from(port));
        Record { made: Some(at(port.into())), ..Record::of(connection, outcome, last_seen) }
    }

    fn ports(records: &[Record]) -> Vec<u16> {
        records.iter().map(|it| it.connection.destination_port).collect()
    }

    #[test]
    fn each_filter_leaves_something_out() {
        let mut records = [
            record(Direction::In, 1, Outcome::None),
            record(Direction::Out, 2, Outcome::Seen(Evidence::Refused)),
            record(Direction::Else, 3, Outcome::Unknown),
            record(Direction::Out, 4, Outcome::Seen(Evidence::Answered)),
        ];
        records[1].units.add(&Unit::named("nginx.service").expect("a name"));
        let selected = |selection: Selection| {
            let selected = records.iter().filter(|it| selection.includes(it)).cloned();
            ports(&selected.collect::<Vec<_>>())
        };
        let all = Selection::default;
        assert_eq!(selected(all()), [1, 2, 3, 4]);
        let directions = vec![Direction::Out, Direction::Else];
        assert_eq!(selected(Selection { directions, ..all() }), [2, 3, 4]);
        assert_eq!(selected(Selection { ports: vec![4, 1], ..all() }), [1, 4]);
        assert_eq!(selected(Selection { protocols: vec![Protocol::Udp], ..all() }), [0; 0]);
        assert_eq!(
            selected(Selection { unanswered: true, ..all() }),
            [1, 2],
            "unknown is not none"
        );
        assert_eq!(selected(Selection { made_since: Some(at(3)), ..all() }), [3, 4]);
        let units = vec!["nginx".to_owned()];
        assert_eq!(selected(Selection { units, ..all() }), [2]);
        let unknown = Record { made: None, ..records[3].clone() };
        assert!(!Selection { made_since: Some(at(0)), ..all() }.includes(&unknown));
    }

    #[test]
    fn the_latest_comes_first() {
        let mut records = [2, 1, 3].map(|port| record(Direction::In, port, Outcome::None));
        for (order, expected) in [
            (Order::Connection, [1, 2, 3]),
            (Order::Port, [1, 2, 3]),
            (Order::Seen, [1, 2, 3]),
            (Order::Made, [3, 2, 1]),
        ] {
            sort(&mut records, order);
            assert_eq!(ports(&records), expected, "{order:?}");
        }
    }
}
