//! Addresses as networks, for firewalls that know neither ranges nor sets of their own.

use std::net::{IpAddr, Ipv4Addr};

use crate::{
    connection::IpVersion,
    rules::{
        addresses::{AddressSet, Interval},
        rule_set::RuleSet,
        vocabulary::PortRange,
    },
};

/// The fewest networks; one with a single address without its length.
pub(super) fn networks(intervals: impl Iterator<Item = Interval>) -> Vec<String> {
    intervals.flat_map(Interval::networks).map(|it| Interval::from(it).to_string()).collect()
}

/// The networks of the internet. Between 240.0.0.0/4 and the limited broadcast address there are 28, so that
/// address is taken in: no connection comes from it, and what goes there has a rule of its own.
pub(super) fn internet(rule_set: &RuleSet, version: IpVersion) -> Vec<String> {
    let mut addresses = rule_set.internet(version);
    let before = Ipv4Addr::from_bits(Ipv4Addr::BROADCAST.to_bits() - 1);
    if addresses.contains(before.into()) {
        let broadcast = AddressSet::from(IpAddr::from(Ipv4Addr::BROADCAST));
        addresses = addresses.intervals().chain(broadcast.intervals()).collect();
    }
    networks(addresses.intervals())
}

/// Without port 0, which these firewalls do not take.
pub(super) fn without_0(ranges: &[PortRange]) -> Vec<PortRange> {
    let ranges = ranges.iter().filter(|range| range.last > 0);
    ranges.map(|range| PortRange { first: range.first.max(1), last: range.last }).collect()
}

/// How many rules have a part for port 0.
pub(super) fn for_port_0(rule_set: &RuleSet) -> usize {
    let rules = rule_set.chains.iter().flat_map(|chain| &chain.rules);
    rules.filter(|rule| rule.ports.iter().any(|range| range.contains(0))).count()
}
