//! What programs here listen to that is sent to many: groups that this machine has joined, with the port of a
//! socket that takes it. The kernel does not tell which socket has joined which group, so a socket for all
//! addresses counts for groups that its port belongs to by a standard.

use std::{collections::BTreeSet, io, net::SocketAddr};

use super::{
    groups,
    netlink::Connection,
    sockets::{Arrival, Listening},
};
use crate::connection::Protocol;

/// Groups and their ports: multicast DNS (RFC 6762), LLMNR (RFC 4795), SSDP, WS-Discovery, `DHCPv6` (RFC 8415), NTP
/// (RFC 5905), PTP, RIP (RFC 2453) and `RIPng` (RFC 2080).
const KNOWN: [&str; 18] = [
    "224.0.0.251:5353",
    "[ff02::fb]:5353",
    "224.0.0.252:5355",
    "[ff02::1:3]:5355",
    "239.255.255.250:1900",
    "[ff02::c]:1900",
    "[ff05::c]:1900",
    "239.255.255.250:3702",
    "[ff02::c]:3702",
    "[ff02::1:2]:547",
    "[ff05::1:3]:547",
    "224.0.1.1:123",
    "[ff02::101]:123",
    "224.0.1.129:319",
    "224.0.1.129:320",
    "224.0.0.107:319",
    "224.0.0.9:520",
    "[ff02::9]:521",
];

/// The groups and ports that programs of this network namespace listen to now.
///
/// # Errors
/// The kernel's refusal to list groups or sockets.
pub(crate) fn listened_to() -> io::Result<BTreeSet<SocketAddr>> {
    let listening = Listening::now(&mut Connection::to_sock_diag()?, Protocol::Udp)?;
    let groups = groups::joined(|_| true)?;
    let known = KNOWN.iter().filter_map(|text| text.parse::<SocketAddr>().ok());
    let known = known.filter(|it| groups.contains(&it.ip()));
    let mut all: BTreeSet<_> =
        known.filter(|it| listening.takes(*it, &Arrival::Anywhere)).collect();
    for group in groups {
        all.extend(listening.ports_of(group).map(|port| SocketAddr::new(group, port)));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;

    #[test]
    fn each_known_group_is_one() {
        for text in KNOWN {
            let group: SocketAddr = text.parse().expect("an address and a port");
            assert!(group.ip().is_multicast(), "{text}");
        }
    }

    #[test]
    fn a_group_with_a_socket_is_found_and_one_without_is_not() {
        let group = Ipv4Addr::new(239, 77, 1, 2);
        let bound = UdpSocket::bind((group, 0)).expect("bound to the group");
        let port = bound.local_addr().expect("bound").port();
        let of_group = SocketAddr::new(group.into(), port);
        assert!(!listened_to().expect("listed").contains(&of_group), "not joined");
        bound.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).expect("joined");
        let for_all = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bound");
        let other = for_all.local_addr().expect("bound").port();
        let found = listened_to().expect("listed");
        assert!(found.contains(&of_group), "{found:?}");
        assert!(!found.contains(&SocketAddr::new(group.into(), other)), "{found:?}");
    }
}
