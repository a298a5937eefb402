//! MPLS label stack (RFC 3032 section 2.1): skipped to its bottom. Labels do not name the payload's
//! protocol, so the version nibble of the IP header decides.

use super::{PacketBytes, Skip, bare_ip};

mod field {
    /// Of a label stack entry: label, traffic class, bottom of stack, time to live.
    pub(super) const LENGTH: usize = 4;
    /// The octet with the bottom-of-stack bit.
    pub(super) const BOTTOM: usize = 2;
}

/// `EtherType` with a downstream-assigned label (RFC 5332 section 3).
pub const UNICAST: u16 = 0x8847;
/// `EtherType` with an upstream-assigned label, formerly multicast.
pub const MULTICAST: u16 = 0x8848;

/// Label stack entries to skip at most.
pub const MAX_LABELS: usize = 16;

/// Set in the last entry of the stack.
const BOTTOM: u8 = 0x01;

/// The `EtherType` of the IP packet below the stack at `offset`, and the offset of that packet.
///
/// # Errors
/// [`Skip::Truncated`] if the frame ends inside the stack, [`Skip::TooManyTags`] for more than
/// [`MAX_LABELS`] entries, [`Skip::NotIp`] for any other payload.
#[inline(always)]
pub fn payload<P: PacketBytes + ?Sized>(
    packet: &P,
    mut offset: usize,
) -> Result<(u16, usize), Skip> {
    for _ in 0..MAX_LABELS {
        let entry: [u8; field::LENGTH] = packet.load(offset).ok_or(Skip::Truncated)?;
        offset += field::LENGTH;
        if entry[field::BOTTOM] & BOTTOM != 0 {
            return Ok((bare_ip(packet, offset)?, offset));
        }
    }
    Err(Skip::TooManyTags)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::{
        super::{IPV4, IPV6},
        *,
    };

    const ABOVE: [u8; 4] = [0, 1, 0, 64];
    const LAST: [u8; 4] = [0, 1, 1, 64];
    const V4: [u8; 2] = [0x45, 0];
    const V6: [u8; 2] = [0x60, 0];

    #[test]
    fn the_version_below_the_bottom_tells() {
        assert_eq!(payload(&[&LAST[..], &V4].concat()[..], 0), Ok((IPV4, 4)));
        assert_eq!(payload(&[&ABOVE[..], &LAST, &V6].concat()[..], 0), Ok((IPV6, 8)));
    }

    #[test]
    fn a_pseudowire_is_not_ip() {
        let control_word = [0; 4];
        assert_eq!(payload(&[LAST, control_word].concat()[..], 0), Err(Skip::NotIp));
    }

    #[test]
    fn sixteen_entries_are_skipped_and_seventeen_are_too_many() {
        let stack = |above| [&ABOVE.repeat(above)[..], &LAST, &V4].concat();
        assert_eq!(payload(&stack(15)[..], 0), Ok((IPV4, 64)));
        assert_eq!(payload(&stack(16)[..], 0), Err(Skip::TooManyTags));
    }

    #[test]
    fn every_cut_before_the_version_is_truncated() {
        let whole = [&ABOVE[..], &LAST, &V4].concat();
        for length in 0..whole.len() {
            assert_eq!(payload(&whole[..length], 0), Err(Skip::Truncated), "length {length}");
        }
    }
}
