//! Link headers other than Ethernet's before the same packets: what libpcap writes for devices without
//! a link header, for `any`, and on other systems.
//!
//! Numbers and layouts from <https://www.tcpdump.org/linktypes.html>.

use super::frame::{IPV4, IPV6};

/// A link type and its header.
#[derive(Clone, Copy)]
pub(super) struct LinkType {
    pub(super) number: u16,
    header: fn(ethertype: u16) -> Vec<u8>,
}

/// No header: the IP version is in the packet.
pub(super) const RAW: LinkType = LinkType { number: 101, header: |_| Vec::new() };
/// No header, IPv4 only.
pub(super) const ONLY_IPV4: LinkType = LinkType { number: 228, header: |_| Vec::new() };
/// No header, IPv6 only.
pub(super) const ONLY_IPV6: LinkType = LinkType { number: 229, header: |_| Vec::new() };
/// Linux cooked capture.
pub(super) const SLL: LinkType = LinkType { number: 113, header: cooked };
/// Linux cooked capture, version 2.
pub(super) const SLL2: LinkType = LinkType { number: 276, header: cooked_v2 };
/// BSD loopback, written by a little-endian FreeBSD.
pub(super) const NULL: LinkType =
    LinkType { number: 0, header: |ethertype| family(ethertype, 28).to_le_bytes().to_vec() };
/// OpenBSD loopback.
pub(super) const LOOP: LinkType =
    LinkType { number: 108, header: |ethertype| family(ethertype, 24).to_be_bytes().to_vec() };
/// PPP without framing.
pub(super) const PPP: LinkType =
    LinkType { number: 9, header: |ethertype| ppp_protocol(ethertype).to_be_bytes().to_vec() };
/// PPP in HDLC-like framing.
pub(super) const PPP_HDLC: LinkType = LinkType { number: 50, header: ppp_in_hdlc };

impl LinkType {
    /// The packet of an untagged Ethernet frame behind this header instead.
    pub(super) fn instead_of_ethernet(self, frame: &[u8]) -> Vec<u8> {
        let ethertype = u16::from_be_bytes([frame[12], frame[13]]);
        [(self.header)(ethertype).as_slice(), &frame[14..]].concat()
    }
}

/// Packet to us, from an Ethernet device (`ARPHRD_ETHER`), address of 6 octets in 8, protocol.
fn cooked(ethertype: u16) -> Vec<u8> {
    let mut header = vec![0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    header.extend(ethertype.to_be_bytes());
    header
}

/// Protocol, reserved, device 2, `ARPHRD_ETHER`, packet to us, address of 6 octets in 8.
fn cooked_v2(ethertype: u16) -> Vec<u8> {
    let mut header = ethertype.to_be_bytes().to_vec();
    header.extend([0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0]);
    header
}

/// Address family; that of IPv6 is another on each system.
fn family(ethertype: u16, inet6: u32) -> u32 {
    match ethertype {
        IPV4 => 2,
        IPV6 => inet6,
        _ => 0,
    }
}

/// RFC 1332, section 4, and RFC 5072, section 3; else link control, which carries no packets.
fn ppp_protocol(ethertype: u16) -> u16 {
    match ethertype {
        IPV4 => 0x0021,
        IPV6 => 0x0057,
        _ => 0xc021,
    }
}

/// RFC 1662, section 3.1: all stations, unnumbered information.
fn ppp_in_hdlc(ethertype: u16) -> Vec<u8> {
    [vec![0xff, 0x03], ppp_protocol(ethertype).to_be_bytes().to_vec()].concat()
}
