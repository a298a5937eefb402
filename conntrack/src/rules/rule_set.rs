//! A rule set: what a firewall has to accept so that everything recorded still works, in no
//! firewall's language. The printers ([`crate::print`]) put it into one.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ipnet::IpNet;

pub use super::group::Aggregation;
use super::{
    addresses::Family,
    group,
    internet::{Internet, is_group},
    warnings,
};
use crate::{
    connection::{Direction, Host, Protocol},
    recording::{Record, Recording, utc::Utc},
};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Refuse what no rule accepts; else only count and log it.
    pub enforce: bool,
    /// Make a chain of what others say to each other.
    pub forward: bool,
    /// How peers are folded to networks.
    pub aggregation: Aggregation,
    /// Networks that are not the internet.
    pub internal: Vec<IpNet>,
    /// The one device that the rules are about.
    pub device: Option<String>,
    /// How long ago a connection may have been seen last; for the header only.
    pub since: Option<Duration>,
}

/// Chains of rules, and what has to be said about them.
#[derive(Clone, Debug)]
pub struct RuleSet {
    /// What was asked for.
    pub options: Options,
    /// What `INTERNET` matches.
    pub internet: Internet,
    /// One for each direction in which something was seen.
    pub chains: Vec<Chain>,
    /// What stands behind all rules; `None` if there are none.
    pub window: Option<Window>,
    /// What is easily forgotten.
    pub warnings: Vec<String>,
    /// What has no rule on purpose.
    pub left_out: Vec<String>,
}

/// The rules of one direction.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Whose connections.
    pub direction: Direction,
    /// In order of their ports. None is empty.
    pub rules: Vec<Rule>,
}

/// Accepts every combination of a source, a destination and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Of both ends.
    pub family: Family,
    /// Who opens the connection.
    pub source: Side,
    /// Who it is for.
    pub destination: Side,
    /// The ports it is for.
    pub ports: Vec<PortRange>,
    /// What stands behind it.
    pub facts: Facts,
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// These hosts or networks; they do not overlap.
    Networks(BTreeSet<IpNet>),
    /// Unicast addresses outside the internal networks.
    Internet,
    /// The multicast and broadcast addresses that the tree folds into `INTERNET`.
    FoldedGroups,
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
    /// As few ranges as hold exactly these ports.
    pub(crate) fn all(ports: &BTreeSet<u16>) -> Vec<Self> {
        let mut ranges = Vec::<Self>::new();
        for &port in ports {
            match ranges.last_mut() {
                Some(range) if range.last.checked_add(1) == Some(port) => range.last = port,
                _ => ranges.push(Self { first: port, last: port }),
            }
        }
        ranges
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

/// What stands behind a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// How many connections.
    pub connections: usize,
    /// When the last of them was seen.
    pub last_seen: SystemTime,
}

impl Default for Facts {
    fn default() -> Self {
        Self { connections: 0, last_seen: UNIX_EPOCH }
    }
}

impl Facts {
    pub(crate) const fn of(record: &Record) -> Self {
        Self { connections: 1, last_seen: record.last_seen }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.last_seen = self.last_seen.max(other.last_seen);
    }
}

impl Rule {
    /// What it stands for, in words that every firewall takes as a comment.
    pub(crate) fn comment(&self) -> String {
        let Facts { connections, last_seen } = self.facts;
        match (&self.destination, connections) {
            (Side::FoldedGroups, _) => "INTERNET may have been multicast or broadcast".to_owned(),
            (_, 1) => format!("1 connection, last seen {}", Utc(last_seen)),
            (_, _) => format!("{connections} connections, last seen {}", Utc(last_seen)),
        }
    }
}

/// How many connections stand behind the rules, and between which times each was seen last.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub(crate) connections: usize,
    pub(crate) first: SystemTime,
    pub(crate) last: SystemTime,
}

impl RuleSet {
    /// The rules that accept what was recorded.
    pub fn of(recording: &Recording, options: Options) -> Self {
        let internet = Internet::without(&options.internal);
        let (wanted, left_out) = choose(recording, options.forward);
        let chains = chains(&wanted, options.aggregation);
        let warnings = warnings::about(recording, &chains, &options);
        let window = window(&wanted);
        Self { options, internet, chains, window, warnings, left_out }
    }

    /// Whether a rule needs the set of what `side` means, in this family.
    pub(crate) fn uses(&self, side: &Side, family: Family) -> bool {
        let mut rules = self.chains.iter().flat_map(|chain| &chain.rules);
        rules.any(|rule| {
            rule.family == family && (rule.source == *side || rule.destination == *side)
        })
    }
}

/// The records that rules are made of, and what is to be said about the others.
pub(crate) fn choose(recording: &Recording, forward: bool) -> (Vec<&Record>, Vec<String>) {
    let is_others = |record: &&Record| record.connection.direction == Direction::Else;
    let (others, mut wanted): (Vec<_>, Vec<_>) = recording.records.iter().partition(is_others);
    let mut left_out = Vec::new();
    let mut leave_out = |count: usize, why: &str| {
        if count > 0 {
            left_out.push(format!("{} {why}", count_of(count, "connection")));
        }
    };
    if !forward {
        leave_out(others.len(), "of others (else) left out; rules --forward makes a chain of them");
        return (wanted, left_out);
    }
    let (groups, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|it| is_to_group(it));
    leave_out(groups.len(), "of others to multicast or broadcast left out: not forwarded");
    let requests = group::without_answers(&others);
    leave_out(others.len() - requests.len(), "of others left out: UDP answers to others of them");
    wanted.extend(requests);
    (wanted, left_out)
}

/// Whether a record is addressed to many hosts at once.
pub(crate) fn is_to_group(record: &Record) -> bool {
    matches!(record.connection.destination, Host::Address(address) if is_group(address))
}

/// "1 connection", "2 connections".
pub fn count_of(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn chains(records: &[&Record], aggregation: Aggregation) -> Vec<Chain> {
    let chain = |direction: Direction| {
        let own = records.iter().copied().filter(|it| it.connection.direction == direction);
        let mut rules = group::rules(direction, own, aggregation);
        let folded: Vec<_> = rules.iter().filter_map(for_folded_groups).collect();
        rules.extend(folded);
        (!rules.is_empty()).then_some(Chain { direction, rules })
    };
    Direction::ALL.into_iter().filter_map(chain).collect()
}

/// The tree does not tell whether UDP to `INTERNET` went to a multicast or broadcast address. The
/// rule about the internet leaves them out, so there is one of their own.
fn for_folded_groups(rule: &Rule) -> Option<Rule> {
    let may_be = rule.destination == Side::Internet
        && (rule.protocol, rule.family) == (Protocol::Udp, Family::V4);
    may_be.then(|| Rule { destination: Side::FoldedGroups, ..rule.clone() })
}

fn window(records: &[&Record]) -> Option<Window> {
    let times = || records.iter().map(|record| record.last_seen);
    Some(Window { connections: records.len(), first: times().min()?, last: times().max()? })
}
