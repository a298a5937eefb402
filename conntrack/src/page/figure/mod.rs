//! Who talks to whom as a Sankey diagram: peers that ask here, ports, peers that are asked. Here it is told
//! which bars there are and what flows between them; `layout` tells where they are drawn.
//!
//! What does not fit is folded, and said by its bar. A bar is as high as it has connections, so each connection
//! is in exactly one flow.

mod bar;
mod folding;
pub(super) mod layout;

use std::collections::{BTreeMap, HashMap};

pub(super) use self::bar::Bar;
use self::folding::{Column, Peers};
use super::{
    tally::Class,
    text::{self, count_of},
};
use crate::{
    connection::{Direction, Evidence, Host, Protocol},
    record::{Outcome, Record},
    show::Services,
    unit::Units,
};

/// Which way a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Side {
    /// From a peer to a port of this machine.
    Arriving,
    /// From this machine to a port of a peer.
    Leaving,
}

/// What flows between bars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Figure {
    /// Peers that ask here.
    pub(super) asking: Vec<Bar>,
    /// What they ask for, and what this machine asks for.
    pub(super) ports: Vec<Bar>,
    /// Peers that are asked.
    pub(super) asked: Vec<Bar>,
    /// In order of their bars.
    pub(super) flows: Vec<Flow>,
}

/// A flow between two bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Flow {
    pub(super) side: Side,
    /// Of `ports`.
    pub(super) port: usize,
    /// Of `asking`, or of `asked`.
    pub(super) peer: usize,
    /// What came of it.
    pub(super) class: Class,
    pub(super) connections: usize,
}

/// A port in the middle, and which way it is asked.
type Port = (Side, Protocol, u16);

/// A record that is in the figure.
struct Shown {
    port: Port,
    peer: Host,
    class: Class,
}

impl Figure {
    /// Of these records, but for those that are between others or only answered.
    pub(super) fn of(records: &[&Record], services: &Services) -> Self {
        let units = units(records);
        let shown: Vec<_> = records.iter().filter_map(|it| Shown::of(it)).collect();
        let ports = Column::of(shown.iter().map(|it| it.port));
        let asking = Peers::of(&ends(&shown, Side::Arriving));
        let asked = Peers::of(&ends(&shown, Side::Leaving));
        let mut sums = BTreeMap::new();
        for Shown { port, peer, class } in shown {
            let side = port.0;
            let peers = if side == Side::Arriving { &asking } else { &asked };
            *sums.entry((side, ports.bar(port), peers.bar(peer), class)).or_default() += 1;
        }
        let flows = sums.into_iter().map(|((side, port, peer, class), connections)| Flow {
            side,
            port,
            peer,
            class,
            connections,
        });
        Self {
            ports: ports.bars(
                |port_key @ (_, of, port)| {
                    let name = format!("{} {port}", text::protocol(of));
                    let unit = units.get(&port_key).map(|it| format!(" {it}"));
                    (name, unit.or_else(|| text::service(of, port, services)))
                },
                |others| count_of(others.len(), "other port"),
            ),
            asking: asking.bars(),
            asked: asked.bars(),
            flows: flows.collect(),
        }
    }

    /// The peers of one side.
    pub(super) fn peers(&self, side: Side) -> &[Bar] {
        match side {
            Side::Arriving => &self.asking,
            Side::Leaving => &self.asked,
        }
    }

    /// How many connections it shows.
    pub(super) fn total(&self) -> usize {
        self.flows.iter().map(|it| it.connections).sum()
    }
}

impl Shown {
    fn of(record: &Record) -> Option<Self> {
        let connection = &record.connection;
        let (side, peer) = match connection.direction {
            Direction::In => (Side::Arriving, connection.source),
            Direction::Out => (Side::Leaving, connection.destination),
            Direction::Else => return None,
        };
        let port = (side, connection.protocol, connection.destination_port);
        let class = Class::of(record.outcome);
        (record.outcome != Outcome::Seen(Evidence::Reply)).then_some(Self { port, peer, class })
    }
}

/// Whose ports are, as far as that is known.
fn units(records: &[&Record]) -> HashMap<Port, Units> {
    let mut units = HashMap::<Port, Units>::new();
    for record in records.iter().filter(|it| !it.units.is_empty()) {
        if let Some(Shown { port, .. }) = Shown::of(record) {
            units.entry(port).or_default().add_all(&record.units);
        }
    }
    units
}

/// The peers of one side, one for each connection.
fn ends(shown: &[Shown], side: Side) -> Vec<Host> {
    shown.iter().filter(|it| it.port.0 == side).map(|it| it.peer).collect()
}
