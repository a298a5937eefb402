//! Linux cooked capture header (`LINKTYPE_LINUX_SLL`, `LINKTYPE_LINUX_SLL2`): libpcap's replacement for
//! the link header of devices with an unknown one, and of the device `any`. Only the protocol; packet type,
//! device and address are ignored.

use super::{PacketBytes, Skip};

mod v1 {
    pub(super) const PROTOCOL: usize = 14;
    pub(super) const PAYLOAD: usize = 16;
}

mod v2 {
    pub(super) const PROTOCOL: usize = 0;
    /// Last octet of the address, and of the header.
    pub(super) const LAST: usize = 19;
    pub(super) const PAYLOAD: usize = 20;
}

/// Version 1: the `EtherType` in host byte order, and the payload offset.
///
/// # Errors
/// [`Skip::Truncated`] if the frame ends inside the header.
#[inline(always)]
pub fn payload_v1<P: PacketBytes + ?Sized>(packet: &P) -> Result<(u16, usize), Skip> {
    let ether_type = packet.load(v1::PROTOCOL).ok_or(Skip::Truncated)?;
    Ok((u16::from_be_bytes(ether_type), v1::PAYLOAD))
}

/// Version 2: the `EtherType` in host byte order, and the payload offset.
///
/// # Errors
/// [`Skip::Truncated`] if the frame ends inside the header.
#[inline(always)]
pub fn payload_v2<P: PacketBytes + ?Sized>(packet: &P) -> Result<(u16, usize), Skip> {
    let ether_type = packet.load(v2::PROTOCOL).ok_or(Skip::Truncated)?;
    let [_last]: [u8; 1] = packet.load(v2::LAST).ok_or(Skip::Truncated)?;
    Ok((u16::from_be_bytes(ether_type), v2::PAYLOAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_is_where_each_version_has_it() {
        let mut header = [0; 20];
        header[..2].copy_from_slice(&[0x86, 0xdd]);
        header[14..16].copy_from_slice(&[0x08, 0x00]);
        assert_eq!(payload_v1(&header[..]), Ok((0x0800, 16)));
        assert_eq!(payload_v2(&header[..]), Ok((0x86dd, 20)));
    }

    #[test]
    fn every_shorter_frame_is_truncated() {
        for length in 0..16 {
            assert_eq!(payload_v1(&[0; 16][..length]), Err(Skip::Truncated), "length {length}");
        }
        for length in 0..20 {
            assert_eq!(payload_v2(&[0; 20][..length]), Err(Skip::Truncated), "length {length}");
        }
    }
}
