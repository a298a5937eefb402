//! IPv4 header (RFC 791 section 3.1): options are skipped, later fragments are recognised.

use super::{Network, PacketBytes, Skip, u16_at};
use crate::{
    address::{Address, IpVersion},
    flow::Protocol,
};

mod field {
    pub(super) const VERSION_IHL: usize = 0;
    pub(super) const TOTAL_LENGTH: usize = 2;
    pub(super) const FRAGMENT: usize = 6;
    pub(super) const PROTOCOL: usize = 9;
    pub(super) const SRC: usize = 12;
    pub(super) const DST: usize = 16;
    /// Without options.
    pub(super) const LENGTH: usize = 20;
}

/// Fragment offset in 8-octet units, below the three flag bits.
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// Walks the header at `offset`.
///
/// # Errors
/// [`Skip::Truncated`] if the frame ends before the addresses; [`Skip::BadHeader`] if the version is
/// not 4, the header length is below five 4-octet units or the total length is below the header
/// length; [`Skip::OtherProtocol`] and [`Skip::LaterFragment`] for packets without ports.
#[inline(always)]
pub fn parse<P: PacketBytes + ?Sized>(packet: &P, offset: usize) -> Result<Network, Skip> {
    let start: [u8; field::SRC] = packet.load(offset).ok_or(Skip::Truncated)?;
    let length = header_length(start[field::VERSION_IHL])?;
    let end = end(offset, length, u16_at(&start, field::TOTAL_LENGTH))?;
    let protocol = Protocol::from_number(start[field::PROTOCOL]).ok_or(Skip::OtherProtocol)?;
    if u16_at(&start, field::FRAGMENT) & FRAGMENT_OFFSET != 0 {
        return Err(Skip::LaterFragment);
    }
    let payload = offset + length;
    Ok(Network { version: IpVersion::V4, header: offset, protocol, payload, end })
}

/// Source and destination of the header at `offset`.
///
/// # Errors
/// [`Skip::Truncated`] if the frame ends before them.
#[inline(always)]
pub fn addresses<P: PacketBytes + ?Sized>(
    packet: &P,
    offset: usize,
) -> Result<(Address, Address), Skip> {
    const { assert!(field::DST == field::SRC + 4) };
    let [src, dst] = packet.words(offset + field::SRC).ok_or(Skip::Truncated)?;
    Ok((Address::v4(src), Address::v4(dst)))
}

/// The number of what the header at `offset` says that it carries, if that is there.
pub(super) fn protocol<P: PacketBytes + ?Sized>(packet: &P, offset: usize) -> Option<u8> {
    packet.load(offset + field::PROTOCOL).map(|[protocol]| protocol)
}

/// Header length in octets, from the octet with version and length in 4-octet units.
#[inline(always)]
const fn header_length(version_ihl: u8) -> Result<usize, Skip> {
    let length = (version_ihl & 0x0f) as usize * 4;
    if version_ihl >> 4 == IpVersion::V4 as u8 && length >= field::LENGTH {
        Ok(length)
    } else {
        Err(Skip::BadHeader)
    }
}

/// End of the packet by its total length. 0 marks an offloaded super-packet (segmentation or GRO; Linux
/// 6.3, commit `b1a78b9b9886`), which ends with its frame.
#[inline(always)]
const fn end(offset: usize, header_length: usize, total_length: u16) -> Result<usize, Skip> {
    match total_length as usize {
        0 => Ok(usize::MAX),
        total if total < header_length => Err(Skip::BadHeader),
        total => Ok(offset + total),
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;

    /// A header without options and without payload.
    const HEADER: [u8; 20] =
        [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2];

    fn with(at: usize, value: u8) -> Result<Network, Skip> {
        let mut header = HEADER;
        header[at] = value;
        parse(&header[..], 0)
    }

    #[test]
    fn addresses_protocol_and_extent() {
        let network = parse(&HEADER[..], 0).expect("a valid header");
        let (src, dst) = addresses(&HEADER[..], 0).expect("addresses");
        assert_eq!(src.ip(), IpAddr::from([192, 0, 2, 1]));
        assert_eq!(dst.ip(), IpAddr::from([198, 51, 100, 2]));
        assert_eq!(network.protocol, Protocol::Udp);
        assert_eq!((network.payload, network.end), (20, 20));
    }

    #[test]
    fn ihl_below_five_is_a_bad_header() {
        for ihl in 0..5 {
            assert_eq!(with(0, 0x40 | ihl), Err(Skip::BadHeader), "IHL {ihl}");
        }
    }

    #[test]
    fn options_are_skipped() {
        for ihl in 5..=15 {
            let mut header = HEADER;
            header[0] = 0x40 | ihl;
            header[3] = 60;
            let network = parse(&header[..], 0).expect("a valid header");
            assert_eq!(network.payload, usize::from(ihl) * 4, "IHL {ihl}");
        }
    }

    #[test]
    fn another_version_is_a_bad_header() {
        for version in (0..16).filter(|version| *version != 4) {
            assert_eq!(with(0, version << 4 | 5), Err(Skip::BadHeader), "version {version}");
        }
    }

    #[test]
    fn a_total_length_below_the_header_is_a_bad_header() {
        for total in 1..20 {
            assert_eq!(with(3, total), Err(Skip::BadHeader), "total length {total}");
        }
    }

    #[test]
    fn a_total_length_of_zero_ends_with_the_frame() {
        assert_eq!(with(3, 0).map(|network| network.end), Ok(usize::MAX));
    }

    #[test]
    fn only_the_first_fragment_has_ports() {
        const MORE_FRAGMENTS: u8 = 0x20;
        assert!(with(6, MORE_FRAGMENTS).is_ok());
        assert_eq!(with(7, 1), Err(Skip::LaterFragment));
        assert_eq!(with(6, MORE_FRAGMENTS | 0x1f), Err(Skip::LaterFragment));
    }

    #[test]
    fn other_protocols_have_no_ports() {
        assert_eq!(with(9, 1), Err(Skip::OtherProtocol));
    }

    #[test]
    fn every_cut_inside_the_header_is_truncated() {
        for length in 0..20 {
            let header = &HEADER[..length];
            let read = parse(header, 0).and_then(|_| addresses(header, 0));
            assert_eq!(read, Err(Skip::Truncated), "length {length}");
        }
    }
}
