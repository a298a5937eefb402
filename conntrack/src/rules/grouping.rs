//! Grouping: the fewest rules that accept exactly the records. What has the same peers shares a rule:
//! first the local addresses of a port, then the ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{
    addresses::version,
    doubts::Doubts,
    internet::{Internet, is_group},
    vocabulary::{BaseChain, Facts, PortRange, Request, Rule, Side},
};
use crate::{
    connection::{Connection, Direction, Host, IpVersion, Protocol},
    record::Record,
    unit::Unit,
};

/// Peers of different kinds do not share a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Internet,
    Unicast,
    /// Multicast and broadcast.
    Group,
    /// Forwarded to the internet.
    ToInternet,
}

type Peers = BTreeSet<Option<IpNet>>;
/// A record as a rule of its own: what it is about, its peer, and what it was made from.
type Single = ((Class, Option<IpAddr>, u16), Option<IpNet>, Facts);
/// What rules never mix. The units, where they have rules of their own, in alphabetical order.
type Class = (Protocol, IpVersion, Kind, Vec<Unit>);

/// The rules that accept exactly these records in one chain, but that what is forwarded from and to the
/// internet is folded; in the order of [`place`].
pub(super) fn rules<'a>(
    chain: BaseChain,
    records: impl Iterator<Item = &'a Record>,
    request: &Request,
    doubts: impl Fn(&Record) -> Doubts,
) -> Vec<Rule> {
    let internet = (chain == BaseChain::Forward && !request.no_internet_forward)
        .then(|| Internet::without(&request.internal));
    let single = records.filter_map(|record| {
        let facts = Facts::of(record, doubts(record));
        single(record, facts, request, internet.as_ref())
    });
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
    let rule =
        |((class, locals, peers), (ports, facts))| rule(chain, class, &locals, peers, ports, facts);
    let mut rules: Vec<Rule> = by_ends.into_iter().map(rule).collect();
    rules.sort_by_cached_key(|rule| {
        let units = (rule.units.is_empty(), rule.units.clone());
        (units, place(rule), rule.protocol, rule.ports.first().copied(), rule.version)
    });
    rules
}

/// What people look for first: ssh, then the web, then the rest.
fn place(rule: &Rule) -> usize {
    const SSH: &[u16] = &[22];
    const WEB: &[u16] = &[80, 443];
    let has = |ports: &&[u16]| {
        ports.iter().any(|port| rule.ports.iter().any(|range| range.contains(*port)))
    };
    match [SSH, WEB].iter().position(has) {
        Some(0) if rule.protocol == Protocol::Udp => 2,
        found => found.unwrap_or(2),
    }
}

/// With `internet`, the end that is in it is folded into it, unless both are.
fn single(
    record: &Record,
    facts: Facts,
    request: &Request,
    internet: Option<&Internet>,
) -> Option<Single> {
    let (local, peer) = ends(&record.connection)?;
    let is_outside = |address| internet.is_some_and(|internet| internet.contains(address));
    let (kind, peer) = match peer {
        Host::Address(peer) if is_outside(peer) && !is_outside(local) => (Kind::Internet, None),
        Host::Address(peer) if is_outside(local) && !is_outside(peer) => {
            (Kind::ToInternet, Some(request.aggregation.network(peer)))
        }
        Host::Internet => (Kind::Internet, None),
        Host::Address(peer) if is_group(peer) => (Kind::Group, Some(peer.into())),
        Host::Address(peer) => (Kind::Unicast, Some(request.aggregation.network(peer))),
    };
    let class = (record.connection.protocol, version(local), kind, units(record, request));
    let is_own = record.connection.direction != Direction::Else;
    let is_out = record.connection.direction == Direction::Out;
    let is_left_out = (is_own && request.any_local_address) || (is_out && request.source_unknown);
    let is_named = kind != Kind::ToInternet && !is_left_out;
    let local = Some(local).filter(|_| is_named);
    Some(((class, local, record.connection.destination_port), peer, facts))
}

fn units(record: &Record, request: &Request) -> Vec<Unit> {
    let mut units: Vec<_> = record.units.iter().filter(|_| request.by_unit).cloned().collect();
    units.sort_unstable();
    units
}

/// The end that has the service, or with `out` the host itself; and the other end, its peer.
pub(super) fn ends(connection: &Connection) -> Option<(IpAddr, Host)> {
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
        sum.add(&facts);
    }
    merged
}

fn rule(
    chain: BaseChain,
    (protocol, version, kind, units): Class,
    locals: &BTreeSet<Option<IpAddr>>,
    peers: Peers,
    ports: BTreeSet<u16>,
    facts: Facts,
) -> Rule {
    let local = if kind == Kind::ToInternet {
        Side::Internet
    } else if locals.contains(&None) {
        Side::Any
    } else {
        Side::Networks(locals.iter().flatten().copied().map(IpNet::from).collect())
    };
    let peer = match kind {
        Kind::Internet => Side::Internet,
        Kind::Unicast | Kind::Group | Kind::ToInternet => {
            Side::Networks(peers.into_iter().flatten().collect())
        }
    };
    let (source, destination) =
        if chain == BaseChain::Output { (local, peer) } else { (peer, local) };
    Rule { protocol, version, source, destination, ports: PortRange::all(ports), facts, units }
}
