//! Sets of addresses, of both families: as intervals and as networks.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Subnets};
use rangemap::{RangeInclusiveSet, StepFns};

use crate::connection::IpVersion;

/// The version of an address.
pub(crate) const fn version(address: IpAddr) -> IpVersion {
    match address {
        IpAddr::V4(_) => IpVersion::V4,
        IpAddr::V6(_) => IpVersion::V6,
    }
}

/// From the first to the last of some addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    first: IpAddr,
    last: IpAddr,
}

impl Interval {
    /// From `first` to `last`; `None` if they are of two families or the wrong way round.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let is_one = first.is_ipv4() == last.is_ipv4() && first <= last;
        is_one.then_some(Self { first, last })
    }

    /// The version of its addresses.
    pub const fn version(self) -> IpVersion {
        version(self.first)
    }

    /// The first address.
    pub const fn first(self) -> IpAddr {
        self.first
    }

    /// The last address.
    pub const fn last(self) -> IpAddr {
        self.last
    }

    /// The fewest networks that hold exactly its addresses, in order.
    pub fn networks(self) -> impl Iterator<Item = IpNet> {
        match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                IpSubnets::V4(Ipv4Subnets::new(first, last, 0))
            }
            (first, last) => IpSubnets::V6(Ipv6Subnets::new(to_v6(first), to_v6(last), 0)),
        }
    }

    /// The network that it is; `None` if it is none.
    pub fn network(self) -> Option<IpNet> {
        self.networks().next().filter(|network| network.broadcast() == self.last)
    }
}

/// Never IPv4 here: both ends of an interval are of one family.
const fn to_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

impl From<IpNet> for Interval {
    fn from(network: IpNet) -> Self {
        Self { first: network.network(), last: network.broadcast() }
    }
}

impl fmt::Display for Interval {
    /// An address alone, a network, or two addresses with a dash between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network() {
            _ if self.first == self.last => write!(f, "{}", self.first),
            Some(network) => write!(f, "{network}"),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// A set of addresses.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AddressSet(RangeInclusiveSet<IpAddr, NextAddress>);

impl AddressSet {
    /// All addresses of these networks.
    pub fn of(networks: impl IntoIterator<Item = IpNet>) -> Self {
        networks.into_iter().map(Interval::from).collect()
    }

    /// Takes the addresses of `interval` out.
    pub fn remove(&mut self, interval: Interval) {
        self.0.remove(range(interval));
    }

    /// What is left of it without what is in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = self.clone();
        for common in self.0.iter().flat_map(|range| other.0.overlapping(range)) {
            left.0.remove(common.clone());
        }
        left
    }

    /// Its addresses of one version.
    #[must_use]
    pub fn of_version(&self, version: IpVersion) -> Self {
        self.intervals().filter(|it| it.version() == version).collect()
    }

    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Whether no address is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fewest intervals that hold exactly its addresses, in order.
    pub fn intervals(&self) -> impl Iterator<Item = Interval> {
        self.0.iter().map(|range| Interval { first: *range.start(), last: *range.end() })
    }
}

fn range(interval: Interval) -> RangeInclusive<IpAddr> {
    interval.first..=interval.last
}

impl FromIterator<Interval> for AddressSet {
    fn from_iter<T: IntoIterator<Item = Interval>>(intervals: T) -> Self {
        let mut set = Self::default();
        intervals.into_iter().for_each(|interval| set.0.insert(range(interval)));
        set
    }
}

impl fmt::Debug for AddressSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.intervals()).finish()
    }
}

impl From<IpAddr> for AddressSet {
    fn from(address: IpAddr) -> Self {
        Self::of([address.into()])
    }
}

/// Which address comes next, within a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct NextAddress;

impl StepFns<IpAddr> for NextAddress {
    fn add_one(address: &IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(it) => Ipv4Addr::from_bits(it.to_bits().saturating_add(1)).into(),
            IpAddr::V6(it) => Ipv6Addr::from_bits(it.to_bits().saturating_add(1)).into(),
        }
    }

    fn sub_one(address: &IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(it) => Ipv4Addr::from_bits(it.to_bits().saturating_sub(1)).into(),
            IpAddr::V6(it) => Ipv6Addr::from_bits(it.to_bits().saturating_sub(1)).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    fn set(networks: &[&str]) -> AddressSet {
        AddressSet::of(networks.iter().map(|it| network(it)))
    }

    fn text(set: &AddressSet) -> String {
        set.intervals().map(|it| it.to_string()).collect::<Vec<_>>().join(" ")
    }

    fn left_of(whole: &str, without: &[&str]) -> String {
        let mut left = set(&[whole]);
        for other in without {
            left.remove(network(other).into());
        }
        assert_eq!(left, set(&[whole]).without(&set(without)));
        text(&left)
    }

    #[test]
    fn taking_away_leaves_what_is_below_and_above() {
        assert_eq!(left_of("10.0.0.0/24", &[]), "10.0.0.0/24");
        assert_eq!(left_of("10.0.0.0/24", &["10.0.0.0/25"]), "10.0.0.128/25");
        assert_eq!(left_of("10.0.0.0/24", &["10.0.0.1/32"]), "10.0.0.0 10.0.0.2-10.0.0.255");
        assert_eq!(left_of("10.0.0.0/24", &["10.0.1.0/24"]), "10.0.0.0/24");
        assert_eq!(left_of("10.0.0.0/24", &["::/0"]), "10.0.0.0/24");
        assert_eq!(left_of("10.0.0.0/24", &["0.0.0.0/0"]), "");
        assert_eq!(left_of("0.0.0.0/0", &["255.255.255.255/32"]), "0.0.0.0-255.255.255.254");
        assert_eq!(left_of("::/0", &["::/1"]), "8000::/1");
        assert_eq!(left_of("::/0", &[]), "::/0");
        let left = "2000::-2001:db7:ffff:ffff:ffff:ffff:ffff:ffff \
            2001:db9::-3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        assert_eq!(left_of("2000::/3", &["2001:db8::/32"]), left);
    }

    #[test]
    fn sets_are_taken_from_sets() {
        let one = set(&["10.0.0.0/24", "10.0.2.0/24"]);
        let other = set(&["10.0.2.128/25", "10.0.0.0/26", "10.0.0.128/25", "10.0.0.192/26"]);
        assert_eq!(one.without(&other), set(&["10.0.0.64/26", "10.0.2.0/25"]));
        assert_eq!(one.without(&AddressSet::default()), one);
        assert!(one.without(&one).is_empty());
        for (address, is_in) in [("10.0.0.255", true), ("10.0.1.0", false), ("10.0.3.0", false)] {
            assert_eq!(one.contains(address.parse().expect("an address")), is_in, "{address}");
        }
    }

    #[test]
    fn neighbours_are_one_interval_but_not_across_families() {
        assert_eq!(text(&set(&["10.0.0.0/32", "10.0.0.1/32"])), "10.0.0.0/31");
        let all = set(&["::/0", "255.255.255.255/32", "255.255.255.254/32"]);
        assert_eq!(text(&all), "255.255.255.254/31 ::/0");
        assert_eq!(text(&all.of_version(IpVersion::V6)), "::/0");
    }

    #[test]
    fn an_interval_is_networks_too() {
        let networks = |first: &str, last: &str| {
            let [first, last] = [first, last].map(|it| it.parse().expect("an address"));
            let interval = Interval::new(first, last).expect("an interval");
            interval.networks().map(|it| it.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(networks("10.0.0.1", "10.0.0.4"), ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32"]);
        assert_eq!(networks("0.0.0.0", "255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(networks("fd00::", "fd00::1"), ["fd00::/127"]);
    }

    #[test]
    fn an_interval_has_two_ends_of_one_family() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(Interval::new(address("10.0.0.1"), address("10.0.0.2")).is_some());
        assert!(Interval::new(address("10.0.0.2"), address("10.0.0.1")).is_none());
        assert!(Interval::new(address("10.0.0.2"), address("::1")).is_none());
    }
}
