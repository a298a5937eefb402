//! Who stands for `INTERNET`: addresses of it that nobody names, from each large part that rules treat
//! alike; and beside them some that rules name.

use std::{
    cmp::Reverse,
    collections::BTreeSet,
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
/// Of each family: addresses that rules name, such as those of a list of bad ones.
const NAMED: usize = 16;
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
    /// Of both families.
    named: Vec<IpAddr>,
}

impl Representatives {
    /// For a tree and rules that name these addresses.
    pub(super) fn of(internet: &Internet, in_tree: &[Interval], in_rules: &[Interval]) -> Self {
        let named = [in_tree, in_rules].concat();
        let of = |version| largest_parts(&somewhere(internet, version), version, &named);
        let (v4, v6) = (of(IpVersion::V4), of(IpVersion::V6));
        let others = [(IpVersion::V4, &v4), (IpVersion::V6, &v6)].into_iter();
        let named = others.flat_map(|(version, general)| {
            let internet = somewhere(internet, version);
            few(in_rules.iter().filter_map(move |it| named_in(*it, version, &internet, general)))
        });
        let named = named.collect();
        Self { v4, v6, named }
    }

    /// Addresses of one family that rules name: not all of them have to get through.
    pub(super) fn named_like(&self, address: IpAddr) -> impl Iterator<Item = &IpAddr> {
        self.named.iter().filter(move |it| it.is_ipv4() == address.is_ipv4())
    }

    /// Whether it is one that rules name.
    pub(super) fn is_named(&self, address: IpAddr) -> bool {
        self.named.contains(&address)
    }

    /// Those of one family.
    pub(super) fn like(&self, address: IpAddr) -> &[IpAddr] {
        match address {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        }
    }
}

/// What of the internet is in use.
fn somewhere(internet: &Internet, version: IpVersion) -> AddressSet {
    let mut internet = internet.addresses(version);
    for network in NOWHERE.iter().filter_map(|text| text.parse::<IpNet>().ok()) {
        internet.remove(network.into());
    }
    internet
}

/// An address of the internet in what rules name, if nobody stands for it yet.
fn named_in(
    interval: Interval,
    version: IpVersion,
    internet: &AddressSet,
    general: &[IpAddr],
) -> Option<IpAddr> {
    let (first, last) = (interval.first(), interval.last());
    let is_stood_for = general.iter().any(|it| (first..=last).contains(it));
    if interval.version() != version || is_stood_for {
        return None;
    }
    let middle = address(middle(bits(first), bits(last)), version);
    [middle, first, last].into_iter().find(|it| internet.contains(*it))
}

/// Some of them, from the first to the last.
fn few(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let addresses: Vec<_> = addresses.collect::<BTreeSet<_>>().into_iter().collect();
    let step = addresses.len().div_ceil(NAMED).max(1);
    addresses.into_iter().step_by(step).collect()
}

fn largest_parts(internet: &AddressSet, version: IpVersion, named: &[Interval]) -> Vec<IpAddr> {
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
        Representatives::of(&Internet::without(&[]), &[], &named)
    }

    #[test]
    fn what_rules_name_has_somebody_too() {
        let all = of(&[
            "203.0.113.9/32",
            "198.51.100.0/24",
            "10.0.0.0/8",
            "2001:db8::1/128",
            "0.0.0.0/0",
        ]);
        let mut named: Vec<_> = all.named.iter().map(ToString::to_string).collect();
        named.sort_unstable();
        assert_eq!(named, ["198.51.100.77", "2001:db8::1", "203.0.113.9"]);
        let many: Vec<_> = (0..200).map(|it| format!("203.0.113.{it}/32")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!((2..=NAMED).contains(&of(&many).named.len()));
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
