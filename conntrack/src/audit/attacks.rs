//! The other side: whether rules would let in what nobody answered, and what nobody ever asked for.

use std::{collections::BTreeSet, net::SocketAddr};

use super::{
    bench::Bench,
    error::AuditError,
    trial::{self, Outcome as Came, Trial},
};
use crate::{
    connection::{Connection, Direction, Evidence, Host, Protocol, SourcePort},
    record::{Outcome, Record},
    recording::Recording,
};

/// Ports that scanners like, and some that nobody has a reason to ask for.
const SAMPLE: [u16; 24] = [
    7, 21, 22, 23, 25, 53, 80, 111, 135, 139, 161, 389, 443, 445, 1_433, 2_049, 3_306, 3_389,
    5_432, 5_900, 6_379, 8_080, 11_211, 31_337,
];
/// Addresses of this host that the sample is tried at.
const ADDRESSES: usize = 16;

/// Connections that should not be let in, and whether they are.
#[derive(Debug)]
pub struct Attacks {
    /// What was recorded and not answered; true is let in.
    pub unanswered: Vec<(Connection, bool)>,
    /// A sample of ports that were never seen.
    pub never_seen: Vec<(Connection, bool)>,
}

impl Attacks {
    pub(super) fn of(recording: &Recording, bench: &Bench) -> Result<Self, AuditError> {
        let is_attack = |record: &&Record| {
            let nobody = matches!(record.outcome, Outcome::None | Outcome::Seen(Evidence::Refused));
            record.connection.direction == Direction::In && nobody
        };
        let unanswered: Vec<_> =
            recording.records.iter().filter(is_attack).map(|it| it.connection).collect();
        let never_seen = sample(recording);
        let connections: Vec<_> = unanswered.iter().chain(&never_seen).copied().collect();
        let trials = connections.iter().enumerate().map(|(number, it)| attack(bench, it, number));
        let trials: Vec<_> = trials.collect();
        let possible: Vec<_> = trials.iter().flatten().copied().collect();
        let chosen: Vec<_> = (0..possible.len()).collect();
        let (came, _) = trial::pass(&possible, &chosen, &bench.layout, &bench.ruleset)?;
        let mut came = came.into_iter();
        let let_in =
            trials.iter().map(|trial| trial.is_some() && came.next() == Some(Came::Accepted));
        let mut judged: Vec<_> = connections.iter().copied().zip(let_in).collect();
        let never_seen = judged.split_off(unanswered.len());
        Ok(Self { unanswered: judged, never_seen })
    }

    /// Whether nothing of the sample is refused.
    pub(super) fn let_everything_in(&self) -> bool {
        !self.never_seen.is_empty() && self.never_seen.iter().all(|(_, is_let_in)| *is_let_in)
    }
}

/// From somebody on the internet to ports of this host that were never seen.
fn sample(recording: &Recording) -> Vec<Connection> {
    let incoming = || {
        let connections = recording.records.iter().map(|record| &record.connection);
        connections.filter(|connection| connection.direction == Direction::In)
    };
    let seen: BTreeSet<_> =
        incoming().map(|it| (it.destination, it.protocol, it.destination_port)).collect();
    let own: BTreeSet<_> = incoming().map(|it| it.destination).collect();
    let protocols = [Protocol::Tcp, Protocol::Udp];
    let places = own.into_iter().take(ADDRESSES).flat_map(|own| {
        protocols.into_iter().flat_map(move |protocol| SAMPLE.map(|port| (own, protocol, port)))
    });
    let unseen = places.filter(|place| !seen.contains(place));
    unseen
        .map(|(destination, protocol, destination_port)| Connection {
            direction: Direction::In,
            protocol,
            source: Host::Internet,
            source_port: SourcePort::Any,
            destination,
            destination_port,
        })
        .collect()
}

/// Its first packet alone.
fn attack(bench: &Bench, connection: &Connection, number: usize) -> Option<Trial> {
    let Host::Address(destination) = connection.destination else { return None };
    let source = match connection.source {
        Host::Address(address) => address,
        Host::Internet => *bench.representatives.like(destination).first()?,
    };
    Some(Trial {
        protocol: connection.protocol,
        source: SocketAddr::new(source, bench.ephemeral_port(number)),
        destination: SocketAddr::new(destination, connection.destination_port),
        way: bench.layout.way(Direction::In, source, destination),
        is_answered: false,
    })
}
