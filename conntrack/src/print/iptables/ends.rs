//! The ends of a packet as matches.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::{
    connection::IpVersion,
    rules::{
        addresses::{AddressSet, Interval},
        vocabulary::{Rule, Side},
    },
};

/// Addresses in one line; iptables makes a rule of each.
const ADDRESSES_IN_LINE: usize = 8;

/// One end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

impl End {
    pub(super) const ALL: [Self; 2] = [Self::Source, Self::Destination];

    /// The end of a rule that is the internet.
    pub(super) fn internet(rule: &Rule) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.side(rule) == &Side::Internet)
    }

    pub(super) const fn side(self, rule: &Rule) -> &Side {
        match self {
            Self::Source => &rule.source,
            Self::Destination => &rule.destination,
        }
    }

    pub(super) fn has_rules(self, rules: &[Rule]) -> bool {
        rules.iter().any(|rule| Self::internet(rule) == Some(self))
    }

    pub(super) fn matching(self, interval: Interval) -> String {
        let (flag, range) = match self {
            Self::Source => ("-s", "--src-range"),
            Self::Destination => ("-d", "--dst-range"),
        };
        match interval.network() {
            Some(_) => format!("{flag} {interval}"),
            None => format!("-m iprange {range} {interval}"),
        }
    }

    /// This end of a rule as matches, one for each line. Any needs none, and the internet is a chain.
    pub(super) fn matches(self, rule: &Rule) -> Vec<String> {
        match self.side(rule).intervals() {
            Some(intervals) => self.lines(intervals),
            None => vec![String::new()],
        }
    }

    fn lines(self, intervals: Vec<Interval>) -> Vec<String> {
        let (networks, ranges): (Vec<_>, Vec<_>) =
            intervals.into_iter().partition(|it| it.network().is_some());
        let flag = if self == Self::Source { "-s" } else { "-d" };
        let networks = networks.chunks(ADDRESSES_IN_LINE).map(|line| {
            let line: Vec<_> = line.iter().map(ToString::to_string).collect();
            format!(" {flag} {}", line.join(","))
        });
        let ranges = ranges.iter().map(|range| format!(" {}", self.matching(*range)));
        networks.chain(ranges).collect()
    }

    /// These networks at this end, one match for each line; none if there are none.
    pub(super) fn among(self, networks: &BTreeSet<IpNet>) -> Vec<String> {
        self.lines(AddressSet::of(networks.iter().copied()).intervals().collect())
    }
}

/// The families that a line is for.
pub(super) const fn option(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "-4",
        IpVersion::V6 => "-6",
    }
}
