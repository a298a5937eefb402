//! Who stands for `INTERNET`: addresses of it that nobody names, from each large part that rules treat
//! alike.

use std::{
    cmp::Reverse,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use crate::{
    connection::IpVersion,
    rules::{
        addresses::{AddressSet, Interval},
        internet::Internet,
    },
};

/// Parts of each family that have somebody to stand for them.
const PARTS: usize = 8;
/// What is smaller than the largest part by this is named for a reason: a peer, a list of bad ones.
const MUCH_SMALLER: u128 = 1 << 8;

/// Not in the internet, whatever the tree folds: this host, loopback, link-local, for benchmarks, and
/// reserved (RFC 6890).
const NOWHERE: [&str; 6] =
    ["0.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "198.18.0.0/15", "240.0.0.0/4"];

/// The addresses that stand for `INTERNET`, of both families.
#[derive(Clone, Debug)]
pub(super) struct Representatives {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

impl Representatives {
    /// For rules and a tree that name these addresses.
    pub(super) fn of(internet: &Internet, named: &[Interval]) -> Self {
        let of = |version| largest_parts(internet.addresses(version), version, named);
        Self { v4: of(IpVersion::V4), v6: of(IpVersion::V6) }
    }

    /// Those of one family.
    pub(super) fn like(&self, address: IpAddr) -> &[IpAddr] {
        match address {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        }
    }
}

fn largest_parts(mut internet: AddressSet, version: IpVersion, named: &[Interval]) -> Vec<IpAddr> {
    for network in NOWHERE.iter().filter_map(|text| text.parse::<IpNet>().ok()) {
        internet.remove(network.into());
    }
    let mut cuts: Vec<u128> = named
        .iter()
        .filter(|interval| interval.version() == version)
        .flat_map(|interval| [bits(interval.first()), bits(interval.last()).saturating_add(1)])
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut parts: Vec<_> = internet.intervals().flat_map(|it| parts(it, &cuts)).collect();
    parts.sort_by_key(|(first, last)| (Reverse(last - first), *first));
    let largest = parts.first().map_or(0, |(first, last)| last - first);
    parts.retain(|(first, last)| last - first >= largest / MUCH_SMALLER);
    parts.truncate(PARTS);
    parts.sort_unstable();
    parts.iter().map(|(first, last)| address(middle(*first, *last), version)).collect()
}

/// What cuts make of an interval.
fn parts(interval: Interval, cuts: &[u128]) -> Vec<(u128, u128)> {
    let mut first = bits(interval.first());
    let last = bits(interval.last());
    let mut parts = Vec::new();
    let from = cuts.partition_point(|cut| *cut <= first);
    for cut in cuts[from..].iter().take_while(|cut| **cut <= last) {
        parts.push((first, cut - 1));
        first = *cut;
    }
    parts.push((first, last));
    parts
}

/// Somewhere in the middle; no address that looks like a network or a broadcast.
fn middle(first: u128, last: u128) -> u128 {
    const LIKE_A_HOST: u128 = 77;
    let middle = first + (last - first) / 2;
    let host = (middle & !0xff) | LIKE_A_HOST;
    if (first..=last).contains(&host) { host } else { middle }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address(bits: u128, version: IpVersion) -> IpAddr {
    match version {
        IpVersion::V4 => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or_default()).into(),
        IpVersion::V6 => Ipv6Addr::from_bits(bits).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(named: &[&str]) -> Representatives {
        let named: Vec<_> =
            named.iter().map(|text| text.parse::<IpNet>().expect("a network").into()).collect();
        Representatives::of(&Internet::without(&[]), &named)
    }

    #[test]
    fn each_stands_for_a_part_and_none_is_named() {
        let all = of(&[]);
        assert!((1..=PARTS).contains(&all.v4.len()), "{all:?}");
        assert_eq!(all.v6.len(), 1);
        let internet = Internet::without(&[]);
        let named = ["203.0.113.9/32", "8.0.0.0/8", "2001:db8::/32"];
        let few = of(&named);
        for address in few.v4.iter().chain(&few.v6) {
            let version = crate::rules::addresses::version(*address);
            assert!(internet.addresses(version).contains(*address), "{address}");
        }
        let half = of(&["0.0.0.0/1"]);
        assert!(half.v4.iter().any(|it| bits(*it) < 1 << 31));
        assert!(half.v4.iter().any(|it| bits(*it) >= 1 << 31));
    }

    #[test]
    fn the_middle_is_inside() {
        for (first, last) in [(0, 0), (5, 6), (0, 255), (256, 70_000), (78, 300)] {
            assert!((first..=last).contains(&middle(first, last)));
        }
    }

    #[test]
    fn cuts_make_parts_without_gaps() {
        let interval: Interval = "10.0.0.0/24".parse::<IpNet>().expect("a network").into();
        let at = bits(interval.first());
        assert_eq!(
            parts(interval, &[at - 1, at, at + 4, at + 256]),
            [(at, at + 3), (at + 4, at + 255)]
        );
        assert_eq!(parts(interval, &[]), [(at, at + 255)]);
    }
}
