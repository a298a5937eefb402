//! LLC and SNAP header (IEEE 802.2, RFC 1042) of IEEE 802.3 frames, which have a length in place of the
//! `EtherType`. Only SNAP carries IP.

use super::{PacketBytes, Skip, u16_at};

mod field {
    pub(super) const SAPS_CONTROL: usize = 0;
    pub(super) const ORGANISATION: usize = 3;
    pub(super) const ETHER_TYPE: usize = 6;
    pub(super) const PAYLOAD: usize = 8;
}

/// Below this an `EtherType` is the length of an LLC frame (IEEE 802.3 clause 3.2.6).
pub const FIRST_TYPE: u16 = 0x0600;

/// DSAP and SSAP of SNAP, and the control octet of unnumbered information.
const SNAP: [u8; 3] = [0xaa, 0xaa, 0x03];
/// Organisations whose protocol numbers are `EtherType`s: RFC 1042 and IEEE 802.1H (bridge tunnel).
const ENCAPSULATED_ETHERNET: [[u8; 3]; 2] = [[0, 0, 0], [0, 0, 0xf8]];

/// The `EtherType` of the SNAP header, and the payload offset.
///
/// # Errors
/// [`Skip::Truncated`] if the frame ends inside the header, [`Skip::NotIp`] without SNAP or for another
/// organisation.
#[inline(always)]
pub fn payload<P: PacketBytes + ?Sized>(packet: &P, offset: usize) -> Result<(u16, usize), Skip> {
    let header: [u8; field::PAYLOAD] = packet.load(offset).ok_or(Skip::Truncated)?;
    let three = |at| [header[at], header[at + 1], header[at + 2]];
    let ether_type = u16_at(&header, field::ETHER_TYPE);
    let is_snap = three(field::SAPS_CONTROL) == SNAP
        && ENCAPSULATED_ETHERNET.contains(&three(field::ORGANISATION));
    if is_snap && ether_type >= FIRST_TYPE {
        Ok((ether_type, offset + field::PAYLOAD))
    } else {
        Err(Skip::NotIp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; 8] = [0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00];

    fn with(at: usize, value: u8) -> Result<(u16, usize), Skip> {
        let mut header = HEADER;
        header[at] = value;
        payload(&header[..], 0)
    }

    #[test]
    fn snap_has_an_ether_type() {
        assert_eq!(payload(&HEADER[..], 0), Ok((0x0800, 8)));
        assert_eq!(with(5, 0xf8), Ok((0x0800, 8)), "by a bridge");
    }

    #[test]
    fn other_protocols_and_organisations_are_not_ip() {
        assert_eq!(with(0, 0x42), Err(Skip::NotIp), "the spanning tree's");
        assert_eq!(with(2, 0x7f), Err(Skip::NotIp), "another control octet");
        assert_eq!(with(5, 0x0c), Err(Skip::NotIp), "Cisco's");
        assert_eq!(with(6, 0x05), Err(Skip::NotIp), "a length");
    }

    #[test]
    fn every_shorter_frame_is_truncated() {
        for length in 0..8 {
            assert_eq!(payload(&HEADER[..length], 0), Err(Skip::Truncated), "length {length}");
        }
    }
}
