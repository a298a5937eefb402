//! Folds what is too much for a column: peers into networks, the rest into one bar of others.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
};

use ipnet::IpNet;

use super::bar::Bar;
use crate::{
    connection::Host,
    page::text::{self, count_of},
};

/// Bars of a column, the one of the others included.
pub(super) const BARS: usize = 14;

/// Prefix lengths that peers are folded to, IPv4 and IPv6.
const LEVELS: [(u8, u8); 3] = [(32, 128), (24, 64), (16, 48)];

/// A column may have so many times what it has room for before its peers are folded further.
const SLACK: usize = 3;

/// A column: those with most connections have bars of their own, others share the last one.
pub(super) struct Column<K> {
    /// With their connections.
    own: Vec<(K, usize)>,
    places: HashMap<K, usize>,
    others: Vec<(K, usize)>,
}

impl<K: Copy + Eq + Hash + Ord> Column<K> {
    /// Of the ends of flows.
    pub(super) fn of(ends: impl IntoIterator<Item = K>) -> Self {
        let mut counts = HashMap::<K, usize>::new();
        for end in ends {
            *counts.entry(end).or_default() += 1;
        }
        let mut own: Vec<_> = counts.into_iter().collect();
        own.sort_unstable_by_key(|(key, count)| (Reverse(*count), *key));
        let fitting = if own.len() > BARS { BARS - 1 } else { own.len() };
        let others = own.split_off(fitting);
        let places = own.iter().enumerate().map(|(place, (key, _))| (*key, place)).collect();
        Self { own, places, others }
    }

    /// The bar of an end.
    pub(super) fn bar(&self, end: K) -> usize {
        self.places.get(&end).copied().unwrap_or(self.own.len())
    }

    /// All bars.
    pub(super) fn bars(
        &self,
        name: impl Fn(K) -> (String, Option<String>),
        others: impl Fn(&[(K, usize)]) -> String,
    ) -> Vec<Bar> {
        let own = self.own.iter().map(|(key, count)| {
            let (name, aside) = name(*key);
            Bar { name, aside, is_others: false, connections: *count }
        });
        let of_others = (!self.others.is_empty()).then(|| Bar {
            name: others(&self.others),
            aside: None,
            is_others: true,
            connections: self.others.iter().map(|(_, count)| count).sum(),
        });
        own.chain(of_others).collect()
    }
}

/// A peer, folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Peer {
    Internet,
    Network(IpNet),
}

impl Peer {
    fn of(host: Host, (v4, v6): (u8, u8)) -> Self {
        let Host::Address(address) = host else { return Self::Internet };
        let length = if address.is_ipv4() { v4 } else { v6 };
        // Every length of LEVELS fits.
        let network = IpNet::new(address, length).unwrap_or_else(|_| address.into());
        Self::Network(network.trunc())
    }
}

/// The peers of one side.
pub(super) struct Peers {
    column: Column<Peer>,
    level: (u8, u8),
    /// Who is in a network.
    hosts: BTreeMap<Peer, BTreeSet<Host>>,
}

impl Peers {
    /// Of the far ends of flows.
    pub(super) fn of(ends: &[Host]) -> Self {
        let folded = |level| ends.iter().map(move |host| (Peer::of(*host, level), *host));
        let fits = |level: &(u8, u8)| {
            let peers: BTreeSet<_> = folded(*level).map(|(peer, _)| peer).collect();
            let slack = if *level == LEVELS[0] { 1 } else { SLACK };
            peers.len() <= BARS * slack
        };
        let level = LEVELS.into_iter().find(fits).unwrap_or(LEVELS[LEVELS.len() - 1]);
        let mut hosts = BTreeMap::<Peer, BTreeSet<Host>>::new();
        for (peer, host) in folded(level) {
            hosts.entry(peer).or_default().insert(host);
        }
        let column = Column::of(folded(level).map(|(peer, _)| peer));
        Self { column, level, hosts }
    }

    /// The bar of a host.
    pub(super) fn bar(&self, host: Host) -> usize {
        self.column.bar(Peer::of(host, self.level))
    }

    /// All bars.
    pub(super) fn bars(&self) -> Vec<Bar> {
        let hosts = |peer: &Peer| self.hosts.get(peer).map_or(0, BTreeSet::len);
        let others = |others: &[(Peer, usize)]| {
            let hosts = others.iter().map(|(peer, _)| hosts(peer)).sum();
            count_of(hosts, "other host")
        };
        self.column.bars(|peer| self.name(peer), others)
    }

    /// One host alone is no network.
    fn name(&self, peer: Peer) -> (String, Option<String>) {
        let hosts = self.hosts.get(&peer);
        let sole = hosts.filter(|it| it.len() == 1).and_then(BTreeSet::first);
        match (peer, sole) {
            (Peer::Internet, _) => (text::host(Host::Internet), None),
            (_, Some(host)) => (text::host(*host), None),
            (Peer::Network(network), None) => {
                let hosts = count_of(hosts.map_or(0, BTreeSet::len), "host");
                (network.to_string(), Some(format!(", {hosts}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn bars(addresses: impl Iterator<Item = String>) -> Vec<String> {
        let host = |address: String| Host::Address(address.parse::<IpAddr>().expect("an address"));
        let hosts: Vec<_> = addresses.map(host).chain([Host::Internet]).collect();
        let peers = Peers::of(&hosts);
        let bars = peers.bars();
        for host in hosts {
            assert!(peers.bar(host) < bars.len());
        }
        assert!(bars.len() <= BARS);
        bars.iter().map(Bar::whole).collect()
    }

    #[test]
    fn few_peers_keep_their_names() {
        let names = bars((1..BARS).map(|it| format!("10.0.{it}.1")));
        assert_eq!(names.len(), BARS);
        assert!(names.contains(&"INTERNET".to_owned()) && names.contains(&"10.0.13.1".to_owned()));
    }

    #[test]
    fn many_peers_are_networks_and_one_alone_is_none() {
        let many = (1..=60).map(|it| format!("10.0.1.{it}"));
        let names = bars(many.chain(["2001:db8::1".to_owned()]));
        assert_eq!(names, ["10.0.1.0/24, 60 hosts", "INTERNET", "2001:db8::1"]);
    }

    #[test]
    fn what_does_not_fit_is_others() {
        let names = bars((0..10_000).map(|it| format!("10.{}.{}.7", it / 250, it % 250)));
        assert_eq!(names.len(), BARS);
        assert_eq!(names[0], "10.0.0.0/16, 250 hosts");
        assert_eq!(names[BARS - 1], "6,751 other hosts");
    }
}
