//! Settings and packets for tests of coarsening: few addresses and ports, on either side of every
//! border in the rules.

use std::net::{IpAddr, SocketAddr};

use conntrack::tracker::{Family, Scope, Settings, Tracker, UdpDirection};
use conntrack_common::{
    address::Address,
    flow::{FlowKey, Protocol},
    policy::Policy,
};
use proptest::{prelude::any, sample::select, strategy::Strategy};

use super::frames;

/// Addresses that a device may have, private and public.
const OWN: [&str; 5] = ["192.168.200.230", "203.0.113.9", "0.0.0.0", "2001:db8::9", "fe80::9"];

/// Of the internet, of private networks, of configured networks.
const OTHERS: [&str; 12] = [
    "8.8.8.8",
    "9.9.9.9",
    "198.51.100.1",
    "10.0.0.1",
    "172.31.255.255",
    "172.32.0.0",
    "224.0.0.251",
    "2a00::1",
    "2a00::2",
    "2001:db8:7::1",
    "fd00::1",
    "ff02::fb",
];

/// Around port 0, the end of the system ports, and the values of cleared ports.
const PORTS: [u16; 12] = [0, 1, 53, 123, 514, 1023, 1024, 5353, 40_000, 45_390, 65_534, u16::MAX];

const NETWORKS: [&str; 6] =
    ["198.51.100.0/24", "0.0.0.0/8", "2001:db8::/32", "0.0.0.0/0", "2a00::2/128", "::/0"];

/// Flags and local addresses.
#[derive(Clone, Debug)]
pub struct Given {
    pub settings: Settings,
    pub local: Vec<IpAddr>,
}

impl Given {
    pub fn policy(&self) -> Policy {
        self.tracker().policy(&self.local.iter().copied().collect())
    }

    pub fn tracker(&self) -> Tracker {
        let mut tracker = Tracker::new(self.settings.clone(), []);
        tracker.set_local_addresses(&self.local.iter().copied().collect());
        tracker
    }
}

pub fn settings() -> impl Strategy<Value = Given> {
    let some = |all: &'static [&'static str]| proptest::sample::subsequence(all, 0..=all.len());
    let family = select(vec![Family::Any, Family::Any, Family::Any, Family::V4, Family::V6]);
    let ports = proptest::sample::subsequence(&PORTS[1..], 0..4);
    let flags = any::<[bool; 3]>();
    let udp_direction = select(vec![UdpDirection::Ports, UdpDirection::Pairs]);
    ((family, udp_direction), flags, ports, some(&NETWORKS), some(&OWN)).prop_map(
        |(
            (family, udp_direction),
            [skip_else, no_internet_in, no_internet_out],
            ports,
            networks,
            local,
        )| Given {
            settings: Settings {
                family,
                skip_else,
                no_internet_in,
                no_internet_out,
                udp_servers: ports.into_iter().collect(),
                udp_direction,
                scope: Scope::new(networks.iter().map(|text| text.parse().expect("a network"))),
            },
            local: local.iter().map(|text| text.parse().expect("an address")).collect(),
        },
    )
}

/// An opening packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    protocol: Protocol,
    src: SocketAddr,
    dst: SocketAddr,
}

impl Packet {
    pub fn key(&self) -> FlowKey {
        let end = |end: SocketAddr| (Address::from(end.ip()), end.port());
        FlowKey::new(self.protocol, end(self.src), end(self.dst))
    }

    pub fn frame(&self) -> Vec<u8> {
        match self.protocol {
            Protocol::Tcp => frames::tcp(self.src, self.dst, frames::Tcp::Syn),
            Protocol::Udp => frames::udp(self.src, self.dst),
        }
    }
}

pub fn packet() -> impl Strategy<Value = Packet> {
    let protocol = select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Udp]);
    let addresses = select(vec![true, false]).prop_flat_map(|v4| {
        let all = || OWN.into_iter().chain(OTHERS).map(|text| text.parse().expect("an address"));
        let of_family: Vec<IpAddr> = all().filter(|it: &IpAddr| it.is_ipv4() == v4).collect();
        (select(of_family.clone()), select(of_family))
    });
    let port = || select(PORTS.to_vec());
    (protocol, addresses, port(), port()).prop_map(|(protocol, (src, dst), src_port, dst_port)| {
        Packet {
            protocol,
            src: SocketAddr::new(src, src_port),
            dst: SocketAddr::new(dst, dst_port),
        }
    })
}
