//! IPv6 header and its extension headers (RFC 8200 sections 3 and 4, AH: RFC 4302 section 2).
//!
//! Extension headers are skipped up to the transport header; of their content only the fragment offset is
//! read.

use network_types::ip::IpProto;

use super::{Network, PacketBytes, Skip, u16_at};
use crate::{
    address::{Address, IpVersion},
    flow::Protocol,
};

mod field {
    pub(super) const VERSION: usize = 0;
    pub(super) const PAYLOAD_LENGTH: usize = 4;
    pub(super) const NEXT_HEADER: usize = 6;
    pub(super) const SRC: usize = 8;
    pub(super) const DST: usize = 24;
    pub(super) const LENGTH: usize = 40;
}

/// The fields that all extension headers start with.
mod extension {
    pub(super) const NEXT_HEADER: usize = 0;
    pub(super) const LENGTH: usize = 1;
    /// Fragment header only.
    pub(super) const FRAGMENT: usize = 2;
    /// The shortest header; this much is read of each.
    pub(super) const MIN: usize = 8;
}

/// Extension headers to walk at most; a longer chain is [`Skip::TooManyHeaders`].
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// Fragment offset in 8-octet units, above two reserved bits and the more-fragments bit.
const FRAGMENT_OFFSET: u16 = 0xfff8;

/// Walks the header at `offset` and the extension headers behind it.
///
/// # Errors
/// [`Skip::Truncated`] if the packet ends inside a header, [`Skip::BadHeader`] if the version is
/// not 6, [`Skip::TooManyHeaders`] for more than [`MAX_EXTENSION_HEADERS`],
/// [`Skip::OtherProtocol`] and [`Skip::LaterFragment`] for packets without ports.
#[inline(always)]
pub fn parse<P: PacketBytes + ?Sized>(packet: &P, offset: usize) -> Result<Network, Skip> {
    let start: [u8; field::SRC] = packet.load(offset).ok_or(Skip::Truncated)?;
    if start[field::VERSION] >> 4 != IpVersion::V6 as u8 {
        return Err(Skip::BadHeader);
    }
    let first = offset + field::LENGTH;
    let end = end(first, u16_at(&start, field::PAYLOAD_LENGTH));
    let (protocol, payload) = walk(packet, start[field::NEXT_HEADER], first, end)?;
    Ok(Network { version: IpVersion::V6, header: offset, protocol, payload, end })
}

/// Source and destination of the header at `offset`.
///
/// # Errors
/// [`Skip::Truncated`] if the packet ends before them.
#[inline(always)]
pub fn addresses<P: PacketBytes + ?Sized>(
    packet: &P,
    offset: usize,
) -> Result<(Address, Address), Skip> {
    let address = |at| packet.words(offset + at).map(Address::v6).ok_or(Skip::Truncated);
    Ok((address(field::SRC)?, address(field::DST)?))
}

/// The number of what the header at `offset` says that it carries, behind as many extension headers as are
/// there and are walked.
pub(super) fn protocol<P: PacketBytes + ?Sized>(packet: &P, offset: usize) -> Option<u8> {
    let [mut next] = packet.load(offset + field::NEXT_HEADER)?;
    let mut offset = offset + field::LENGTH;
    for _ in 0..MAX_EXTENSION_HEADERS {
        if !is_extension(next) {
            break;
        }
        let Some(header) = packet.load::<{ extension::MIN }>(offset) else { break };
        offset += extension_length(next, header[extension::LENGTH]);
        next = header[extension::NEXT_HEADER];
    }
    Some(next)
}

/// End of the packet by its payload length. 0 marks a jumbogram (RFC 2675) or an offloaded super-packet
/// (segmentation or GRO), which ends with its frame.
#[inline(always)]
const fn end(first: usize, payload_length: u16) -> usize {
    match payload_length {
        0 => usize::MAX,
        length => first + length as usize,
    }
}

/// Skips extension headers up to the transport header.
#[inline(always)]
fn walk<P: PacketBytes + ?Sized>(
    packet: &P,
    mut next: u8,
    mut offset: usize,
    end: usize,
) -> Result<(Protocol, usize), Skip> {
    for _ in 0..MAX_EXTENSION_HEADERS {
        if !is_extension(next) {
            break;
        }
        let header: [u8; extension::MIN] = packet.load(offset).ok_or(Skip::Truncated)?;
        offset += extension_length(next, header[extension::LENGTH]);
        if offset > end {
            return Err(Skip::Truncated);
        }
        if next == FRAGMENT && u16_at(&header, extension::FRAGMENT) & FRAGMENT_OFFSET != 0 {
            return Err(Skip::LaterFragment);
        }
        next = header[extension::NEXT_HEADER];
    }
    if is_extension(next) {
        return Err(Skip::TooManyHeaders);
    }
    let protocol = Protocol::from_number(next).ok_or(Skip::OtherProtocol)?;
    Ok((protocol, offset))
}

const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
const ROUTING: u8 = IpProto::Ipv6Route as u8;
const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
const AUTHENTICATION: u8 = IpProto::Ah as u8;
const DESTINATION: u8 = IpProto::Ipv6Opts as u8;

#[inline(always)]
const fn is_extension(next: u8) -> bool {
    matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
}

/// Octets of an extension header, by its length field. AH counts in 4-octet units without the first two,
/// the fragment header has no length field, all others count in 8-octet units without the first.
#[inline(always)]
const fn extension_length(next: u8, length: u8) -> usize {
    match next {
        FRAGMENT => extension::MIN,
        AUTHENTICATION => (length as usize + 2) * 4,
        _ => (length as usize + 1) * 8,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    const UDP: u8 = Protocol::Udp as u8;

    /// A header, then one 8-octet extension header for each of `chain`, then UDP's number.
    fn packet(chain: &[u8]) -> Vec<u8> {
        let payload_length = u8::try_from(chain.len() * 8 + 8).expect("a short chain");
        let mut packet = std::vec![0x60, 0, 0, 0, 0, payload_length, 0, 64];
        packet.extend([0x20; 32]);
        packet[6] = *chain.first().unwrap_or(&UDP);
        for i in 0..chain.len() {
            let next = *chain.get(i + 1).unwrap_or(&UDP);
            packet.extend([next, 0, 0, 0, 0, 0, 0, 0]);
        }
        packet
    }

    fn walked(chain: &[u8]) -> Result<(Protocol, usize), Skip> {
        parse(&packet(chain)[..], 0).map(|network| (network.protocol, network.payload))
    }

    #[test]
    fn without_extension_headers() {
        assert_eq!(walked(&[]), Ok((Protocol::Udp, 40)));
    }

    #[test]
    fn each_extension_header_is_walked() {
        for next in [HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, AUTHENTICATION] {
            assert_eq!(walked(&[next]), Ok((Protocol::Udp, 48)), "header {next}");
        }
    }

    #[test]
    fn lengths_are_in_the_units_of_their_header() {
        assert_eq!(extension_length(HOP_BY_HOP, 0), 8);
        assert_eq!(extension_length(DESTINATION, 255), 2048);
        assert_eq!(extension_length(AUTHENTICATION, 4), 24);
        assert_eq!(extension_length(FRAGMENT, 255), 8);
    }

    #[test]
    fn eight_headers_are_walked_and_nine_are_not() {
        assert_eq!(walked(&[DESTINATION; 8]), Ok((Protocol::Udp, 40 + 64)));
        assert_eq!(walked(&[DESTINATION; 9]), Err(Skip::TooManyHeaders));
    }

    #[test]
    fn what_cannot_be_walked_is_another_protocol() {
        for next in [IpProto::Esp as u8, IpProto::Ipv6NoNxt as u8, IpProto::Ipv6Icmp as u8, 253] {
            assert_eq!(walked(&[next]), Err(Skip::OtherProtocol), "header {next}");
        }
    }

    #[test]
    fn only_the_first_fragment_has_ports() {
        const OFFSET: usize = 40 + extension::FRAGMENT;
        let mut packet = packet(&[FRAGMENT]);
        packet[OFFSET + 1] = 1; // more fragments
        assert!(parse(&packet[..], 0).is_ok());
        packet[OFFSET + 1] = 8; // offset 1
        assert_eq!(parse(&packet[..], 0), Err(Skip::LaterFragment));
    }

    #[test]
    fn a_chain_beyond_the_payload_length_is_truncated() {
        let mut packet = packet(&[DESTINATION]);
        packet[41] = 2; // 24 octets, of 16 that the packet says it has
        assert_eq!(parse(&packet[..], 0), Err(Skip::Truncated));
    }

    #[test]
    fn another_version_is_a_bad_header() {
        let mut packet = packet(&[]);
        packet[0] = 0x45;
        assert_eq!(parse(&packet[..], 0), Err(Skip::BadHeader));
    }

    #[test]
    fn every_cut_inside_the_headers_is_truncated() {
        let packet = packet(&[HOP_BY_HOP, AUTHENTICATION]);
        for length in 0..packet.len() {
            let cut = &packet[..length];
            let read = parse(cut, 0).and_then(|_| addresses(cut, 0));
            assert_eq!(read, Err(Skip::Truncated), "length {length}");
        }
    }
}
