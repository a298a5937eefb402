//! What can be told of a packet, however far it can be read: for people who want to know why it is no
//! flow. Nothing is decided by it.

use super::{
    IPV4, IPV6, LinkLayer, Network, PacketBytes, Skip, announced, encapsulation, ipv4, ipv6, udp,
};
use crate::address::{Address, IpVersion};

/// What could be read of a packet; what could not is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glimpse {
    /// The `EtherType` at which reading ended, IP's or another; [`encapsulation::NO_TYPE`] if a length
    /// stood there.
    pub ether_type: Option<u16>,
    /// Source and destination.
    pub addresses: Option<(Address, Address)>,
    /// The number of what IP carries.
    pub protocol: Option<u8>,
    /// Source and destination port, host byte order.
    pub ports: Option<(u16, u16)>,
}

impl Glimpse {
    /// Reads as far as it can.
    pub fn of<P: PacketBytes + ?Sized>(packet: &P, link: LinkLayer) -> Self {
        let Ok((first, offset)) = announced(packet, link) else { return Self::default() };
        let (last, found) = encapsulation::walk(packet, first, offset);
        let ether_type = Some(encapsulation::named(last));
        let frame = Self { ether_type, ..Self::default() };
        match found {
            Ok((IPV4, offset)) if starts_as(packet, offset, IpVersion::V4) => Self {
                addresses: ipv4::addresses(packet, offset).ok(),
                protocol: ipv4::protocol(packet, offset),
                ports: ports(packet, ipv4::parse(packet, offset)).ok(),
                ..frame
            },
            Ok((IPV6, offset)) if starts_as(packet, offset, IpVersion::V6) => Self {
                addresses: ipv6::addresses(packet, offset).ok(),
                protocol: ipv6::protocol(packet, offset),
                ports: ports(packet, ipv6::parse(packet, offset)).ok(),
                ..frame
            },
            _ => frame,
        }
    }
}

/// Whether there is an IP header of this version: nothing else of another one can be told.
fn starts_as<P: PacketBytes + ?Sized>(packet: &P, offset: usize, version: IpVersion) -> bool {
    packet.load(offset).is_some_and(|[first]| first >> 4 == version as u8)
}

/// Of a transport header that lies within its packet.
fn ports<P: PacketBytes + ?Sized>(
    packet: &P,
    network: Result<Network, Skip>,
) -> Result<(u16, u16), Skip> {
    let Network { payload, end, .. } = network?;
    if payload + udp::NEEDED > end {
        return Err(Skip::Truncated);
    }
    udp::ports(packet, payload)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use core::net::IpAddr;

    use super::*;

    /// A datagram from 192.0.2.1:1000 to 198.51.100.2:53, with its IP header first.
    const DATAGRAM: [u8; 28] = [
        0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2, 0x03, 0xe8, 0, 53,
        0, 8, 0, 0,
    ];

    const UDP: Option<u8> = Some(17);
    const PORTS: Option<(u16, u16)> = Some((1000, 53));

    /// Addresses, protocol and ports.
    type Seen = (Option<[IpAddr; 2]>, Option<u8>, Option<(u16, u16)>);

    fn seen(packet: &[u8]) -> Seen {
        let Glimpse { addresses, protocol, ports, .. } = Glimpse::of(packet, LinkLayer::Ip);
        (addresses.map(|(src, dst)| [src.ip(), dst.ip()]), protocol, ports)
    }

    fn with(at: usize, value: u8) -> [u8; 28] {
        let mut packet = DATAGRAM;
        packet[at] = value;
        packet
    }

    /// Its addresses.
    fn ends() -> [IpAddr; 2] {
        [[192, 0, 2, 1], [198, 51, 100, 2]].map(IpAddr::from)
    }

    #[test]
    fn as_far_as_the_packet_goes() {
        for length in 0..=DATAGRAM.len() {
            let expected = match length {
                0..=9 => (None, None, None),
                10..20 => (None, UDP, None),
                20..24 => (Some(ends()), UDP, None),
                _ => (Some(ends()), UDP, PORTS),
            };
            assert_eq!(seen(&DATAGRAM[..length]), expected, "{length}");
        }
    }

    #[test]
    fn no_further_than_can_be_trusted() {
        assert_eq!(seen(&with(0, 0x75)), (None, None, None), "another version");
        assert_eq!(seen(&with(0, 0x44)), (Some(ends()), UDP, None), "a short header");
        assert_eq!(seen(&with(3, 23)), (Some(ends()), UDP, None), "it ends before its ports");
        assert_eq!(seen(&with(7, 1)), (Some(ends()), UDP, None), "a later fragment has no ports");
        assert_eq!(seen(&with(9, 1)), (Some(ends()), Some(1), None), "nor has ICMP");
    }

    #[test]
    fn extension_headers_are_stepped_over() {
        let mut packet = [0; 56];
        packet[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 16, 0, 64]);
        packet[8..40].fill(0x20);
        packet[40] = 58;
        let ip = IpAddr::from([0x20; 16]);
        assert_eq!(seen(&packet), (Some([ip; 2]), Some(58), None));
        packet[40] = 17;
        assert_eq!(seen(&packet), (Some([ip; 2]), UDP, Some((0, 0))));
        assert_eq!(seen(&packet[..40]), (Some([ip; 2]), Some(0), None), "hop-by-hop is cut off");
    }

    #[test]
    fn of_a_frame_without_ip_its_type() {
        let frame = |ether_type: [u8; 2]| [&[2; 12][..], &ether_type, &[0; 28]].concat();
        let ether_type = |frame: &[u8]| Glimpse::of(frame, LinkLayer::Ethernet).ether_type;
        assert_eq!(ether_type(&frame([0x08, 0x06])), Some(0x0806));
        assert_eq!(ether_type(&frame([0x00, 0x20])), Some(encapsulation::NO_TYPE));
        assert_eq!(ether_type(&[0; 13]), None);
    }
}
