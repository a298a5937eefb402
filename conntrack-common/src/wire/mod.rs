//! Frame parser: from a frame's bytes to the addresses, ports and flags of its transport header.
//!
//! One file per protocol, each in the same order: named field offsets, the parser, its tests.
//! Every header is walked, none is guessed. Reads have constant sizes and loops are bounded, because the
//! same code runs in the kernel, where the verifier must prove that it terminates.
//!
//! Not a dissector: checksums, payloads and tunnelled packets are ignored.

pub mod backbone;
pub mod bsd_loopback;
pub mod encapsulation;
pub mod ethernet;
pub mod glimpse;
pub mod ipv4;
pub mod ipv6;
pub mod llc;
pub mod mpls;
mod network;
mod packet;
pub mod ppp;
pub mod pppoe;
mod skip;
pub mod sll;
pub mod tcp;
pub mod udp;
pub mod vlan;

use crate::{
    address::{Address, IpVersion},
    flow::{FlowKey, Protocol},
};

use network::bare_ip;
pub use network::{IPV4, IPV6, Network};
pub use packet::PacketBytes;
use packet::u16_at;
pub use skip::Skip;

/// The link header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LinkLayer {
    /// Ethernet, with or without VLAN tags.
    Ethernet,
    /// None: the packet starts with its IP header, as on tun devices.
    Ip,
    /// None; IPv4 only.
    Ipv4,
    /// None; IPv6 only.
    Ipv6,
    /// Linux cooked capture, version 1.
    Sll,
    /// Linux cooked capture, version 2.
    Sll2,
    /// BSD loopback: an address family.
    BsdLoopback,
    /// PPP, with or without HDLC-like framing.
    Ppp,
}

impl LinkLayer {
    /// Every link layer.
    pub const ALL: [Self; 8] = [
        Self::Ethernet,
        Self::Ip,
        Self::Ipv4,
        Self::Ipv6,
        Self::Sll,
        Self::Sll2,
        Self::BsdLoopback,
        Self::Ppp,
    ];
}

/// All headers of a packet, parsed up to the TCP flags. These decide about most packets, so addresses and
/// ports are not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    network: Network,
    /// The flags octet of a TCP header; 0 for UDP.
    tcp_flags: u8,
}

impl Headers {
    /// The transport protocol.
    #[inline(always)]
    pub const fn protocol(&self) -> Protocol {
        self.network.protocol
    }

    /// The flags octet of a TCP header; 0 for UDP.
    #[inline(always)]
    pub const fn tcp_flags(&self) -> u8 {
        self.tcp_flags
    }

    /// Reads the sequence number of the TCP header from the packet with these headers.
    ///
    /// # Errors
    /// [`Skip::Truncated`] if the packet ends before it.
    #[inline(always)]
    pub fn sequence_number<P: PacketBytes + ?Sized>(&self, packet: &P) -> Result<u32, Skip> {
        tcp::sequence_number(packet, self.network.payload)
    }

    /// Reads addresses and ports from the packet with these headers.
    ///
    /// # Errors
    /// [`Skip::Truncated`] if the packet ends before them.
    #[inline(always)]
    pub fn segment<P: PacketBytes + ?Sized>(&self, packet: &P) -> Result<Segment, Skip> {
        let Network { version, header, protocol, payload, end: _ } = self.network;
        let (src, dst) = match version {
            IpVersion::V4 => ipv4::addresses(packet, header)?,
            IpVersion::V6 => ipv6::addresses(packet, header)?,
        };
        // Both protocols start with their ports (RFC 9293 section 3.1, RFC 768).
        let (src_port, dst_port) = udp::ports(packet, payload)?;
        Ok(Segment { src, dst, protocol, src_port, dst_port, tcp_flags: self.tcp_flags })
    }
}

/// A transport header with the addresses of its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The sender's address.
    pub src: Address,
    /// The receiver's address.
    pub dst: Address,
    /// The transport protocol.
    pub protocol: Protocol,
    /// Host byte order.
    pub src_port: u16,
    /// Host byte order.
    pub dst_port: u16,
    /// The flags octet of a TCP header; 0 for UDP.
    pub tcp_flags: u8,
}

impl Segment {
    /// The flow that this packet belongs to.
    #[inline(always)]
    pub const fn flow_key(&self) -> FlowKey {
        FlowKey::new(self.protocol, (self.src, self.src_port), (self.dst, self.dst_port))
    }
}

/// Reads a frame from its first byte to the ports and flags of its transport header.
///
/// # Errors
/// Why it has no ports.
#[inline(always)]
pub fn parse<P: PacketBytes + ?Sized>(packet: &P, link: LinkLayer) -> Result<Segment, Skip> {
    walk(packet, link)?.segment(packet)
}

/// Walks a frame from its first byte to its transport header.
///
/// # Errors
/// Why it has no ports.
#[inline(always)]
pub fn walk<P: PacketBytes + ?Sized>(packet: &P, link: LinkLayer) -> Result<Headers, Skip> {
    let (ether_type, offset) = find_ip(packet, announced(packet, link)?)?;
    let network = match ether_type {
        IPV4 => ipv4::parse(packet, offset)?,
        _ => ipv6::parse(packet, offset)?,
    };
    transport(packet, network)
}

/// The unsupported `EtherType` of a frame that is [`Skip::NotIp`], see [`encapsulation::unsupported_type`].
#[inline(always)]
pub fn unsupported_type<P: PacketBytes + ?Sized>(packet: &P, link: LinkLayer) -> Option<u16> {
    let (ether_type, offset) = announced(packet, link).ok()?;
    encapsulation::unsupported_type(packet, ether_type, offset)
}

/// The link header's `EtherType`, or the equivalent of one, and the payload offset.
#[inline(always)]
fn announced<P: PacketBytes + ?Sized>(packet: &P, link: LinkLayer) -> Result<(u16, usize), Skip> {
    match link {
        LinkLayer::Ethernet => ethernet::payload(packet),
        LinkLayer::Sll => sll::payload_v1(packet),
        LinkLayer::Sll2 => sll::payload_v2(packet),
        LinkLayer::BsdLoopback => bsd_loopback::payload(packet),
        LinkLayer::Ppp => ppp::payload(packet),
        LinkLayer::Ip => match packet.ether_type() {
            Some(ether_type) => Ok((ether_type, 0)),
            None => Ok((bare_ip(packet, 0)?, 0)),
        },
        LinkLayer::Ipv4 => Ok((IPV4, 0)),
        LinkLayer::Ipv6 => Ok((IPV6, 0)),
    }
}

/// The `EtherType` of IPv4 or IPv6, and the offset of the IP header.
#[inline(always)]
fn find_ip<P: PacketBytes + ?Sized>(
    packet: &P,
    (ether_type, offset): (u16, usize),
) -> Result<(u16, usize), Skip> {
    if !packet.is_first_look() {
        return encapsulation::step_over(packet, ether_type, offset);
    }
    let behind_tags = vlan::strip(packet, ether_type, offset)?;
    if matches!(behind_tags.0, IPV4 | IPV6) { Ok(behind_tags) } else { Err(Skip::NotIp) }
}

#[inline(always)]
fn transport<P: PacketBytes + ?Sized>(packet: &P, network: Network) -> Result<Headers, Skip> {
    let (needed, tcp_flags) = match network.protocol {
        Protocol::Tcp => (tcp::NEEDED, tcp::flags(packet, network.payload)?),
        Protocol::Udp => (udp::NEEDED, 0),
    };
    if network.payload + needed > network.end {
        return Err(Skip::Truncated);
    }
    Ok(Headers { network, tcp_flags })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use core::net::IpAddr;
    use std::vec::Vec;

    use etherparse::PacketBuilder;

    use super::*;

    fn udp_frame() -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([192, 0, 2, 1], [198, 51, 100, 2], 64)
            .udp(40_000, 53)
            .write(&mut frame, b"payload")
            .expect("a Vec takes every byte");
        frame
    }

    fn syn_packet() -> Vec<u8> {
        let mut packet = Vec::new();
        PacketBuilder::ipv6([0x20; 16], [0xfd; 16], 64)
            .tcp(40_000, 443, 0, 1024)
            .syn()
            .write(&mut packet, &[])
            .expect("a Vec takes every byte");
        packet
    }

    #[test]
    fn a_udp_frame() {
        let segment = parse(&udp_frame()[..], LinkLayer::Ethernet).expect("a valid frame");
        assert_eq!(segment.src.ip(), IpAddr::from([192, 0, 2, 1]));
        assert_eq!(segment.dst.ip(), IpAddr::from([198, 51, 100, 2]));
        assert_eq!((segment.src_port, segment.dst_port), (40_000, 53));
        assert_eq!((segment.protocol, segment.tcp_flags), (Protocol::Udp, 0));
    }

    #[test]
    fn a_syn_without_a_link_header() {
        let segment = parse(&syn_packet()[..], LinkLayer::Ip).expect("a valid packet");
        assert_eq!(segment.src.ip(), IpAddr::from([0x20; 16]));
        assert_eq!(segment.dst.ip(), IpAddr::from([0xfd; 16]));
        assert_eq!((segment.src_port, segment.dst_port), (40_000, 443));
        assert_eq!((segment.protocol, segment.tcp_flags), (Protocol::Tcp, tcp::SYN));
    }

    #[test]
    fn every_cut_before_the_ports_is_truncated() {
        let frame = udp_frame();
        for length in 0..14 + 20 + udp::NEEDED {
            let cut = parse(&frame[..length], LinkLayer::Ethernet);
            assert_eq!(cut, Err(Skip::Truncated), "length {length}");
        }
        assert!(parse(&frame[..14 + 20 + udp::NEEDED], LinkLayer::Ethernet).is_ok());
    }

    #[test]
    fn every_cut_before_the_flags_is_truncated() {
        let packet = syn_packet();
        for length in 0..40 + tcp::NEEDED {
            let cut = parse(&packet[..length], LinkLayer::Ip);
            assert_eq!(cut, Err(Skip::Truncated), "length {length}");
        }
        assert!(parse(&packet[..40 + tcp::NEEDED], LinkLayer::Ip).is_ok());
    }

    #[test]
    fn padding_is_not_payload() {
        let mut frame = udp_frame();
        frame[14 + 3] = 20 + 3; // the IP packet ends inside the ports
        assert_eq!(parse(&frame[..], LinkLayer::Ethernet), Err(Skip::Truncated));
    }

    #[test]
    fn the_ip_version_must_agree_with_the_frame() {
        let mut frame = udp_frame();
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        assert_eq!(parse(&frame[..], LinkLayer::Ethernet), Err(Skip::BadHeader));
    }

    #[test]
    fn arp_is_not_ip() {
        let mut frame = udp_frame();
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(parse(&frame[..], LinkLayer::Ethernet), Err(Skip::NotIp));
    }

    #[test]
    fn without_a_link_header_another_version_is_not_ip() {
        assert_eq!(parse(&[0x50; 60][..], LinkLayer::Ip), Err(Skip::NotIp));
    }
}
