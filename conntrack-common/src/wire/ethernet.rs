//! Ethernet header (IEEE 802.3): only the `EtherType`; addresses are ignored.

use super::{PacketBytes, Skip};

mod field {
    pub(super) const ETHER_TYPE: usize = 12;
    pub(super) const PAYLOAD: usize = 14;
}

/// The `EtherType` in host byte order, and the payload offset.
///
/// A value below 0x0600 is a length, see [`super::llc`].
///
/// # Errors
/// [`Skip::Truncated`] if the frame ends before the type.
#[inline(always)]
pub fn payload<P: PacketBytes + ?Sized>(packet: &P) -> Result<(u16, usize), Skip> {
    let ether_type = packet.load(field::ETHER_TYPE).ok_or(Skip::Truncated)?;
    Ok((u16::from_be_bytes(ether_type), field::PAYLOAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_behind_both_addresses() {
        let mut frame = [0; 14];
        frame[12..].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(payload(&frame[..]), Ok((0x0806, 14)));
    }

    #[test]
    fn every_shorter_frame_is_truncated() {
        for length in 0..14 {
            assert_eq!(payload(&[0; 14][..length]), Err(Skip::Truncated), "length {length}");
        }
    }
}
