//! Grouping: records to as few rules as say exactly the same. What has the same peers shares a
//! rule: first the local addresses of a port, then the ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{
    addresses::Family,
    internet::is_group,
    rule_set::{Facts, PortRange, Rule, Side},
};
use crate::{
    connection::{Connection, Direction, Host, Protocol, SourcePort},
    recording::Record,
};

/// Prefix lengths that peers are folded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregation {
    /// Of IPv4 peers.
    pub v4: u8,
    /// Of IPv6 peers.
    pub v6: u8,
}

impl Aggregation {
    /// Every address on its own.
    pub const NONE: Self = Self { v4: 32, v6: 128 };

    fn network(self, address: IpAddr) -> IpNet {
        let length = match Family::of(address) {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        };
        IpNet::new(address, length).map_or_else(|_| address.into(), |network| network.trunc())
    }
}

/// Peers of different kinds do not share a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Internet,
    Unicast,
    /// Multicast and broadcast.
    Group,
}

type Peers = BTreeSet<Option<IpNet>>;
/// A record as a rule of its own: what it is about, its peer, and what stands behind it.
type Single = ((Class, IpAddr, u16), Option<IpNet>, Facts);
/// What rules never mix.
type Class = (Protocol, Family, Kind);

/// The rules that accept exactly these records of one direction, in order of their ports.
pub(super) fn rules<'a>(
    direction: Direction,
    records: impl Iterator<Item = &'a Record>,
    aggregation: Aggregation,
) -> Vec<Rule> {
    let single = records.filter_map(|record| single(record, aggregation));
    let by_port = merge(single);
    let by_peers = merge(
        by_port
            .into_iter()
            .map(|((class, local, port), (peers, facts))| ((class, port, peers), local, facts)),
    );
    let by_ends = merge(
        by_peers
            .into_iter()
            .map(|((class, port, peers), (locals, facts))| ((class, locals, peers), port, facts)),
    );
    let rule = |((class, locals, peers), (ports, facts))| {
        rule(direction, class, &locals, peers, &ports, facts)
    };
    let mut rules: Vec<Rule> = by_ends.into_iter().map(rule).collect();
    rules.sort_by_key(|rule| (rule.protocol, rule.ports.first().copied(), rule.family));
    rules
}

fn single(record: &Record, aggregation: Aggregation) -> Option<Single> {
    let (local, peer) = ends(&record.connection)?;
    let (kind, peer) = match peer {
        Host::Internet => (Kind::Internet, None),
        Host::Address(peer) if is_group(peer) => (Kind::Group, Some(peer.into())),
        Host::Address(peer) => (Kind::Unicast, Some(aggregation.network(peer))),
    };
    let class = (record.connection.protocol, Family::of(local), kind);
    Some(((class, local, record.connection.destination_port), peer, Facts::of(record)))
}

/// The end that has the address of a host of ours, and the other one. Of what others say to each
/// other, the destination is where the service is.
fn ends(connection: &Connection) -> Option<(IpAddr, Host)> {
    let (local, peer) = match connection.direction {
        Direction::Out => (connection.source, connection.destination),
        Direction::In | Direction::Else => (connection.destination, connection.source),
    };
    match local {
        Host::Address(local) => Some((local, peer)),
        Host::Internet => None,
    }
}

/// Collects what has the same key.
fn merge<K: Ord, V: Ord>(
    entries: impl Iterator<Item = (K, V, Facts)>,
) -> BTreeMap<K, (BTreeSet<V>, Facts)> {
    let mut merged = BTreeMap::<K, (BTreeSet<V>, Facts)>::new();
    for (key, value, facts) in entries {
        let (values, sum) = merged.entry(key).or_default();
        values.insert(value);
        sum.add(facts);
    }
    merged
}

fn rule(
    direction: Direction,
    (protocol, family, kind): Class,
    locals: &BTreeSet<IpAddr>,
    peers: Peers,
    ports: &BTreeSet<u16>,
    facts: Facts,
) -> Rule {
    let local = Side::Networks(locals.iter().copied().map(IpNet::from).collect());
    let peer = match kind {
        Kind::Internet => Side::Internet,
        Kind::Unicast | Kind::Group => Side::Networks(peers.into_iter().flatten().collect()),
    };
    let (source, destination) =
        if direction == Direction::Out { (local, peer) } else { (peer, local) };
    Rule { protocol, family, source, destination, ports: PortRange::all(ports), facts }
}

/// Of what others say to each other over UDP, answers look like requests. One that has its request
/// in the tree as well needs no rule: it belongs to a connection.
pub(super) fn without_answers<'a>(records: &[&'a Record]) -> Vec<&'a Record> {
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
