//! Addresses as sets: sorted intervals of one family, what is left when others are taken away, and
//! their text.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    const fn width(self) -> u32 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The address that this number stands for.
    fn address(self, bits: u128) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
            Self::V6 => Ipv6Addr::from_bits(bits).into(),
        }
    }
}

/// The number that an address stands for.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// From the first to the last of some addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    family: Family,
    first: u128,
    last: u128,
}

impl Interval {
    /// From `first` to `last`; `None` if they are of two families or the wrong way round.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let family = Family::of(first);
        (family == Family::of(last) && first <= last).then(|| Self {
            family,
            first: bits(first),
            last: bits(last),
        })
    }

    /// Of its addresses.
    pub const fn family(self) -> Family {
        self.family
    }

    /// All addresses of a network.
    pub fn of(network: IpNet) -> Self {
        let family = Family::of(network.addr());
        Self { family, first: bits(network.network()), last: bits(network.broadcast()) }
    }

    /// What is left of it without `other`: below and above.
    fn without(self, other: Self) -> impl Iterator<Item = Self> {
        let apart =
            self.family != other.family || other.last < self.first || self.last < other.first;
        let below = other.first.checked_sub(1).filter(|last| !apart && self.first <= *last);
        let above = other.last.checked_add(1).filter(|first| !apart && *first <= self.last);
        let below = below.map(|last| Self { last, ..self });
        let above = above.map(|first| Self { first, ..self });
        apart.then_some(self).into_iter().chain(below).chain(above)
    }

    /// The prefix length of the network that it is; `None` if it is none.
    pub(crate) fn prefix_length(self) -> Option<u32> {
        let span = self.last - self.first;
        let is_network = span & span.wrapping_add(1) == 0 && self.first & span == 0;
        is_network.then(|| self.family.width() - span.count_ones())
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.family.address(self.first);
        match self.prefix_length() {
            Some(length) if length == self.family.width() => write!(f, "{first}"),
            Some(length) => write!(f, "{first}/{length}"),
            None => write!(f, "{first}-{}", self.family.address(self.last)),
        }
    }
}

/// Addresses of one family, in intervals that are in order and do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet(Vec<Interval>);

impl AddressSet {
    /// All addresses of these networks.
    pub fn of(networks: impl IntoIterator<Item = IpNet>) -> Self {
        networks.into_iter().map(Interval::of).collect()
    }

    /// What is left of it without `interval`.
    pub fn remove(&mut self, interval: Interval) {
        self.0 = self.0.iter().flat_map(|it| it.without(interval)).collect();
    }

    /// What is left of it without what is in `other`, which is of the same family.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.iter().flat_map(|interval| other.left_of(*interval)).collect())
    }

    /// What is left of `interval` without what is in here.
    fn left_of(&self, interval: Interval) -> Vec<Interval> {
        let mut left = vec![interval];
        for other in self.from(interval.first).iter().take_while(|it| it.first <= interval.last) {
            // They are in order, so only the uppermost piece can overlap.
            let uppermost = left.pop();
            left.extend(uppermost.into_iter().flat_map(|piece| piece.without(*other)));
        }
        left
    }

    /// Whether an address of the same family is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = bits(address);
        self.from(address).first().is_some_and(|interval| interval.first <= address)
    }

    /// Its intervals but those below an address.
    fn from(&self, first: u128) -> &[Interval] {
        &self.0[self.0.partition_point(|interval| interval.last < first)..]
    }

    /// Whether no address is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its intervals.
    pub fn intervals(&self) -> &[Interval] {
        &self.0
    }
}

impl FromIterator<Interval> for AddressSet {
    fn from_iter<T: IntoIterator<Item = Interval>>(intervals: T) -> Self {
        let mut sorted: Vec<_> = intervals.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup_by(|next, kept| {
            let overlaps = next.first <= kept.last;
            kept.last = if overlaps { kept.last.max(next.last) } else { kept.last };
            overlaps
        });
        Self(sorted)
    }
}

impl From<IpAddr> for AddressSet {
    fn from(address: IpAddr) -> Self {
        Self::of([address.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(network: &str, without: &[&str]) -> String {
        let mut set = AddressSet::of([network.parse().expect("a network")]);
        for network in without {
            set.remove(Interval::of(network.parse().expect("a network")));
        }
        set.intervals().iter().map(Interval::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn taking_away_leaves_what_is_below_and_above() {
        assert_eq!(set("10.0.0.0/24", &[]), "10.0.0.0/24");
        assert_eq!(set("10.0.0.0/24", &["10.0.0.0/25"]), "10.0.0.128/25");
        assert_eq!(set("10.0.0.0/24", &["10.0.0.1/32"]), "10.0.0.0 10.0.0.2-10.0.0.255");
        assert_eq!(set("10.0.0.0/24", &["10.0.1.0/24"]), "10.0.0.0/24");
        assert_eq!(set("10.0.0.0/24", &["::/0"]), "10.0.0.0/24");
        assert_eq!(set("10.0.0.0/24", &["0.0.0.0/0"]), "");
        assert_eq!(set("::/0", &["::/1"]), "8000::/1");
        assert_eq!(set("::/0", &[]), "::/0");
        let left = "2000::-2001:db7:ffff:ffff:ffff:ffff:ffff:ffff \
            2001:db9::-3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        assert_eq!(set("2000::/3", &["2001:db8::/32"]), left);
    }

    #[test]
    fn sets_are_taken_from_sets() {
        let set = |networks: &[&str]| {
            AddressSet::of(networks.iter().map(|it| it.parse::<IpNet>().expect("a network")))
        };
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
    fn an_interval_has_two_ends_of_one_family() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(Interval::new(address("10.0.0.1"), address("10.0.0.2")).is_some());
        assert!(Interval::new(address("10.0.0.2"), address("10.0.0.1")).is_none());
        assert!(Interval::new(address("10.0.0.2"), address("::1")).is_none());
    }
}
