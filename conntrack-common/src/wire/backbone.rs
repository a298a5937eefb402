//! Backbone service instance tag (I-TAG, IEEE 802.1Q clause 9.7, formerly 802.1ah): it encapsulates a
//! customer's whole frame. Instance and addresses are ignored.

use super::{PacketBytes, Skip};

mod field {
    /// After the tag's control information and both addresses of the customer's frame.
    pub(super) const ETHER_TYPE: usize = 16;
    pub(super) const PAYLOAD: usize = 18;
}

/// The `EtherType` of the tag.
pub const SERVICE_INSTANCE: u16 = 0x88e7;

/// The customer's `EtherType` in host byte order, and the payload offset.
///
/// # Errors
/// [`Skip::Truncated`] if the frame ends before the type.
#[inline(always)]
pub fn payload<P: PacketBytes + ?Sized>(packet: &P, offset: usize) -> Result<(u16, usize), Skip> {
    let ether_type = packet.load(offset + field::ETHER_TYPE).ok_or(Skip::Truncated)?;
    Ok((u16::from_be_bytes(ether_type), offset + field::PAYLOAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_behind_the_customer_s_addresses() {
        let mut tag = [0; 18];
        tag[16..].copy_from_slice(&[0x81, 0x00]);
        assert_eq!(payload(&tag[..], 0), Ok((0x8100, 18)));
    }

    #[test]
    fn every_shorter_frame_is_truncated() {
        for length in 0..18 {
            assert_eq!(payload(&[0; 18][..length], 0), Err(Skip::Truncated), "length {length}");
        }
    }
}
