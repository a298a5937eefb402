//! Omissions: records without a rule, folded to what fits on a few lines.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{data::Helper, grouping::ends, vocabulary::PortRange};
use crate::{
    connection::{Direction, Host, Protocol},
    record::{Outcome, Record},
};

/// Why a record has no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// UDP to an ephemeral port, which may be a late answer, whatever came of it.
    Ephemeral(Outcome),
    /// Nobody answered.
    Unanswered,
    /// The other end sent an RST.
    Refused,
    /// A data connection, which a helper of connection tracking lets through.
    Data(Helper),
    /// It only ever answered, so netfilter takes it for established.
    Reply,
    /// UDP to multicast or broadcast, which nothing here is bound to; or nobody knows.
    Group(Outcome),
    /// An answer in `else`, told by its request.
    Answer,
    /// In `else`, and no forward chain is asked for.
    Else,
}

/// Records without a rule, for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Omission {
    /// Why.
    pub reason: Reason,
    /// Of all of them.
    pub direction: Direction,
    /// Of all of them.
    pub protocol: Protocol,
    /// The hosts that have the service, or with `out` this host's addresses. For [`Reason::Else`] and
    /// [`Reason::Answer`], there are neither hosts nor ports: the records are only counted.
    pub locals: BTreeSet<IpAddr>,
    /// The hosts at the other end.
    pub peers: Peers,
    /// The ports that the connections are for.
    pub ports: Vec<PortRange>,
    /// How many records.
    pub connections: usize,
}

/// How many hosts are at the other end; for [`Reason::Ephemeral`], of each port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peers {
    /// Whether the internet is among them.
    pub internet: bool,
    /// How many have an address.
    pub addresses: usize,
    /// The address, if all records have the same.
    pub sole: Option<IpAddr>,
}

/// What omissions never mix.
type Kind = (Reason, Direction, Protocol);

/// What records with something in common add up to.
#[derive(Default)]
struct Sum {
    ports: BTreeSet<u16>,
    peers: BTreeSet<Host>,
    connections: usize,
}

/// The host that has the service, and its port; `None` for what is only counted.
type Place = Option<(IpAddr, u16)>;

/// Folds records: first what is about one port, then the ports of a host, then hosts that have the same
/// ports.
pub(super) fn fold(omitted: &[(Reason, &Record)]) -> Vec<Omission> {
    let mut omissions = same_ports(by_host(by_port(omitted)));
    omissions.sort_by_key(|it| urgency(it.reason));
    omissions
}

fn by_port(omitted: &[(Reason, &Record)]) -> BTreeMap<(Kind, Place), Sum> {
    let mut by_port = BTreeMap::<_, Sum>::new();
    for (reason, record) in omitted {
        let connection = &record.connection;
        let kind = (*reason, connection.direction, connection.protocol);
        let ends = ends(connection).filter(|_| is_named(*reason));
        let place = ends.map(|(local, _)| (local, connection.destination_port));
        let sum = by_port.entry((kind, place)).or_default();
        sum.ports.extend(place.map(|(_, port)| port));
        sum.peers.extend(ends.map(|(_, peer)| peer));
        sum.connections += 1;
    }
    by_port
}

type ByHost = BTreeMap<(Kind, Option<IpAddr>, Option<Peers>), Sum>;

fn by_host(by_port: BTreeMap<(Kind, Place), Sum>) -> ByHost {
    let mut by_host = ByHost::new();
    for ((kind, place), of_port) in by_port {
        let local = place.map(|(local, _)| local);
        let sum = by_host.entry((kind, local, each_has(kind, &of_port))).or_default();
        sum.ports.extend(of_port.ports);
        sum.peers.extend(of_port.peers);
        sum.connections += of_port.connections;
    }
    by_host
}

/// Whether it is worth naming hosts and ports.
const fn is_named(reason: Reason) -> bool {
    !matches!(reason, Reason::Else | Reason::Answer)
}

/// How many peers each port has, where that tells a server from late answers.
fn each_has((reason, ..): Kind, of_port: &Sum) -> Option<Peers> {
    let peers = Peers::of(&of_port.peers);
    matches!(reason, Reason::Ephemeral(_)).then_some(Peers { sole: None, ..peers })
}

fn same_ports(by_host: ByHost) -> Vec<Omission> {
    let mut folded = BTreeMap::<_, (BTreeSet<IpAddr>, usize)>::new();
    for ((kind, local, each_has), sum) in by_host {
        let all = Peers::of(&sum.peers);
        let peers = each_has.map_or(all, |each| Peers { sole: all.sole, ..each });
        let (locals, connections) =
            folded.entry((kind, PortRange::all(sum.ports), peers)).or_default();
        locals.extend(local);
        *connections += sum.connections;
    }
    let omission = |(((reason, direction, protocol), ports, peers), (locals, connections))| {
        Omission { reason, direction, protocol, locals, peers, ports, connections }
    };
    folded.into_iter().map(omission).collect()
}

/// A server that is left out comes first: least is the most urgent.
const fn urgency(reason: Reason) -> (bool, Reverse<Option<Outcome>>) {
    match reason {
        Reason::Ephemeral(outcome) => (false, Reverse(Some(outcome))),
        _ => (true, Reverse(None)),
    }
}

impl Peers {
    fn of(hosts: &BTreeSet<Host>) -> Self {
        let addresses = hosts.iter().filter_map(|host| match host {
            Host::Address(address) => Some(*address),
            Host::Internet => None,
        });
        Self {
            internet: hosts.contains(&Host::Internet),
            addresses: addresses.clone().count(),
            sole: addresses.clone().next().filter(|_| hosts.len() == 1),
        }
    }
}
