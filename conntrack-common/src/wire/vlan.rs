//! VLAN tags in the frame (IEEE 802.1Q clause 9): skipped, their content is ignored.
//!
//! Not the tag that the NIC strips: that is metadata of the packet.

use network_types::eth::EtherType;

use super::{PacketBytes, Skip};

mod field {
    /// After 2 octets of tag control information.
    pub(super) const INNER_TYPE: usize = 2;
    pub(super) const LENGTH: usize = 4;
}

pub use super::packet::MAX_TAGS;

/// The same where libpcap has reinserted the tag that the NIC stripped.
pub const MAX_TAGS_RESTORED: usize = MAX_TAGS + 1;

/// The type and offset of the payload after standard tags, given the type and payload offset of the
/// preceding header.
///
/// # Errors
/// [`Skip::Truncated`] if the frame ends inside a tag, [`Skip::TooManyTags`] for more tags than
/// [`PacketBytes::max_tags`].
#[inline(always)]
pub fn strip<P: PacketBytes + ?Sized>(
    packet: &P,
    mut ether_type: u16,
    mut offset: usize,
) -> Result<(u16, usize), Skip> {
    for _ in 0..packet.max_tags() {
        if !is_standard(ether_type) {
            return Ok((ether_type, offset));
        }
        (ether_type, offset) = payload(packet, offset)?;
    }
    if is_standard(ether_type) { Err(Skip::TooManyTags) } else { Ok((ether_type, offset)) }
}

/// The type and offset of the payload of a tag, given the offset after its own type.
///
/// # Errors
/// [`Skip::Truncated`] if the frame ends inside the tag.
#[inline(always)]
pub fn payload<P: PacketBytes + ?Sized>(packet: &P, offset: usize) -> Result<(u16, usize), Skip> {
    let inner = packet.load(offset + field::INNER_TYPE).ok_or(Skip::Truncated)?;
    Ok((u16::from_be_bytes(inner), offset + field::LENGTH))
}

/// Whether this is the type of a tag.
#[inline(always)]
pub const fn is_tag(ether_type: u16) -> bool {
    is_standard(ether_type) || ether_type == BEFORE_THE_STANDARD
}

/// Service tag, before IEEE 802.1ad.
const BEFORE_THE_STANDARD: u16 = u16::from_be(EtherType::Ieee8021QinQ1 as u16);

#[inline(always)]
const fn is_standard(ether_type: u16) -> bool {
    const CUSTOMER: u16 = u16::from_be(EtherType::Ieee8021q as u16);
    const SERVICE: u16 = u16::from_be(EtherType::Ieee8021ad as u16);
    matches!(ether_type, CUSTOMER | SERVICE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const Q: [u8; 4] = [0x00, 0x07, 0x81, 0x00];
    const LAST: [u8; 4] = [0x00, 0x07, 0x08, 0x00];

    #[test]
    fn an_untagged_frame_is_left_alone() {
        assert_eq!(strip(&[][..], 0x0800, 14), Ok((0x0800, 14)));
    }

    #[test]
    fn one_and_two_tags_are_skipped() {
        assert_eq!(strip(&LAST[..], 0x8100, 0), Ok((0x0800, 4)));
        assert_eq!(strip(&[Q, LAST].concat()[..], 0x88a8, 0), Ok((0x0800, 8)));
    }

    #[test]
    fn three_tags_are_too_many() {
        assert_eq!(strip(&[Q, Q, LAST].concat()[..], 0x88a8, 0), Err(Skip::TooManyTags));
    }

    #[test]
    fn a_frame_that_ends_inside_a_tag_is_truncated() {
        for length in 0..4 {
            assert_eq!(strip(&LAST[..length], 0x8100, 0), Err(Skip::Truncated), "{length}");
        }
    }
}
