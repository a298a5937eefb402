//! What rules consist of, in no firewall's language. Says nothing of how they are made.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ipnet::IpNet;
use rangemap::RangeInclusiveSet;

use super::{
    addresses::{AddressSet, Interval, version},
    doubts::{self, Doubts},
    internet::folded_groups,
};
use crate::{
    connection::{Evidence, IpVersion, Protocol},
    record::{Outcome, Record},
    unit::{Unit, Units},
};

/// What the user asks of the rules.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Request {
    /// Where the rules stand.
    pub standing: Standing,
    /// Leaving packets are judged before their source is translated, so it is not what was recorded.
    pub source_unknown: bool,
    /// For iptables: sets of `ipset` for many peers, and for what no rule accepts.
    pub ipset: bool,
    /// Drop what no rule accepts; else only count and log it.
    pub enforce: bool,
    /// Make a forward chain of `else`.
    pub forward: bool,
    /// Take in what was refused or never answered.
    pub unanswered: bool,
    /// Do not fold what is forwarded from and to the internet.
    pub no_internet_forward: bool,
    /// Make rules of data connections too, instead of having helpers let them through.
    pub no_helpers: bool,
    /// UDP ports of servers, besides those that the tree names.
    pub udp_in: BTreeSet<u16>,
    /// What different units need is not folded together, and has their names above it.
    pub by_unit: bool,
    /// Leave the own address out.
    pub any_local_address: bool,
    /// Addresses of this machine that will be others some day.
    pub changing: BTreeSet<IpAddr>,
    /// Groups that this machine has joined, each with a port that a program listens to, where the recording is
    /// of this machine.
    pub joined: BTreeSet<SocketAddr>,
    /// How peers are folded into networks.
    pub aggregation: Aggregation,
    /// Networks that are not the internet.
    pub internal: Vec<IpNet>,
    /// The rules are for these devices; none is every device.
    pub devices: Vec<String>,
    /// How long ago a connection may have been seen last; for the header only.
    pub since: Option<Duration>,
}

/// Where rules stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Where this host's programs receive and send, behind and before the translation of addresses.
    #[default]
    Host,
    /// Where the recording stood.
    Wire,
}

/// Prefix lengths that peers are folded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregation {
    /// Of IPv4 peers.
    pub v4: u8,
    /// Of IPv6 peers.
    pub v6: u8,
}

impl Default for Aggregation {
    fn default() -> Self {
        Self::NONE
    }
}

impl Aggregation {
    /// Each address alone.
    pub const NONE: Self = Self { v4: 32, v6: 128 };

    /// The network that this address is folded into.
    pub(super) fn network(self, address: IpAddr) -> IpNet {
        let length = match version(address) {
            IpVersion::V4 => self.v4,
            IpVersion::V6 => self.v6,
        };
        IpNet::new(address, length).map_or_else(|_| address.into(), |network| network.trunc())
    }
}

/// Where netfilter hands a packet to a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BaseChain {
    /// What arrives for this host.
    Input,
    /// What leaves it.
    Output,
    /// What passes through it.
    Forward,
}

impl BaseChain {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Input, Self::Output, Self::Forward];
}

/// The rules of one base chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Which.
    pub base: BaseChain,
    /// Ordered by port.
    pub rules: Vec<Rule>,
}

/// Accepts every combination of a source, a destination and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Of both ends.
    pub version: IpVersion,
    /// Who opens the connection.
    pub source: Side,
    /// Who it is for.
    pub destination: Side,
    /// The ports it is for.
    pub ports: Vec<PortRange>,
    /// What it was made from.
    pub facts: Facts,
    /// Whose it is, where the units have rules of their own; none is known of what others share.
    pub units: Vec<Unit>,
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// These hosts or networks; they do not overlap.
    Networks(BTreeSet<IpNet>),
    /// Whatever address this host has.
    Any,
    /// Unicast addresses outside the internal networks.
    Internet,
    /// The multicast and broadcast addresses that the tree folds into `INTERNET`.
    FoldedGroups,
}

impl Side {
    /// The fewest intervals that hold exactly its addresses; `None` for any, and for the internet, which
    /// depends on what is internal.
    pub(crate) fn intervals(&self) -> Option<Vec<Interval>> {
        let addresses = match self {
            Self::Any | Self::Internet => return None,
            Self::FoldedGroups => folded_groups(),
            Self::Networks(networks) => AddressSet::of(networks.iter().copied()),
        };
        Some(addresses.intervals().collect())
    }
}

/// Ports from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

impl PortRange {
    /// The fewest ranges that hold exactly these ports.
    pub(crate) fn all(ports: impl IntoIterator<Item = u16>) -> Vec<Self> {
        let ports: RangeInclusiveSet<u16> = ports.into_iter().map(|port| port..=port).collect();
        ports.iter().map(|range| Self { first: *range.start(), last: *range.end() }).collect()
    }

    /// Whether a port is one of them.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Its text, with what the firewall puts between two ports.
    pub(crate) fn text(self, dash: &str) -> String {
        let Self { first, last } = self;
        if first == last { first.to_string() } else { format!("{first}{dash}{last}") }
    }
}

/// The records that a rule was made from, summed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// How many connections.
    pub connections: usize,
    /// How many of them nobody answered, as far as that was recorded.
    pub unanswered: usize,
    /// When the last of them was seen.
    pub last_seen: SystemTime,
    /// The units that they are of, as far as that is known.
    pub units: Units,
    /// What is doubtful about them.
    pub doubts: Doubts,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            connections: 0,
            unanswered: 0,
            last_seen: UNIX_EPOCH,
            units: Units::default(),
            doubts: Doubts::new(),
        }
    }
}

impl Facts {
    pub(super) fn of(record: &Record, doubts: Doubts) -> Self {
        let is_unanswered =
            matches!(record.outcome, Outcome::None | Outcome::Seen(Evidence::Refused));
        Self {
            connections: 1,
            unanswered: is_unanswered.into(),
            last_seen: record.last_seen,
            units: record.units.clone(),
            doubts,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.unanswered += other.unanswered;
        self.last_seen = self.last_seen.max(other.last_seen);
        self.units.add_all(&other.units);
        doubts::add(&mut self.doubts, &other.doubts);
    }
}

/// How many connections the rules were made from, and between which times each was seen last.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// How many.
    pub connections: usize,
    /// The earliest of their times.
    pub first: SystemTime,
    /// The latest of their times.
    pub last: SystemTime,
}
