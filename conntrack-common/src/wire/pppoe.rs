//! `PPPoE` session header (RFC 2516 section 4) with the PPP protocol. Session and length are ignored.

use super::{PacketBytes, Skip, ppp, u16_at};

mod field {
    pub(super) const VERSION_TYPE: usize = 0;
    pub(super) const CODE: usize = 1;
    pub(super) const PPP_PROTOCOL: usize = 6;
    pub(super) const PAYLOAD: usize = 8;
}

/// `EtherType` of the session stage. The discovery stage has its own, and carries no packets.
pub const SESSION: u16 = 0x8864;

/// Version 1, type 1.
const VERSION_TYPE: u8 = 0x11;
/// Session data.
const CODE: u8 = 0;

/// The `EtherType` for the PPP protocol, and the payload offset.
///
/// # Errors
/// [`Skip::Truncated`] if the frame ends inside the header, [`Skip::NotIp`] for another version, type,
/// code or protocol.
#[inline(always)]
pub fn payload<P: PacketBytes + ?Sized>(packet: &P, offset: usize) -> Result<(u16, usize), Skip> {
    let header: [u8; field::PAYLOAD] = packet.load(offset).ok_or(Skip::Truncated)?;
    if header[field::VERSION_TYPE] != VERSION_TYPE || header[field::CODE] != CODE {
        return Err(Skip::NotIp);
    }
    let ether_type = ppp::ether_type(u16_at(&header, field::PPP_PROTOCOL))?;
    Ok((ether_type, offset + field::PAYLOAD))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{IPV4, IPV6},
        *,
    };

    /// Session 1, 40 octets, the PPP protocol of IPv4.
    const HEADER: [u8; 8] = [0x11, 0, 0, 1, 0, 42, 0x00, 0x21];

    fn with(at: usize, value: u8) -> Result<(u16, usize), Skip> {
        let mut header = HEADER;
        header[at] = value;
        payload(&header[..], 0)
    }

    #[test]
    fn both_families() {
        assert_eq!(payload(&HEADER[..], 0), Ok((IPV4, 8)));
        assert_eq!(with(7, 0x57), Ok((IPV6, 8)));
    }

    #[test]
    fn other_versions_codes_and_protocols_are_not_ip() {
        assert_eq!(with(0, 0x21), Err(Skip::NotIp), "version 2");
        assert_eq!(with(1, 0xa7), Err(Skip::NotIp), "a session that ends");
        assert_eq!(with(6, 0xc0), Err(Skip::NotIp), "link control");
    }

    #[test]
    fn every_shorter_frame_is_truncated() {
        for length in 0..8 {
            assert_eq!(payload(&HEADER[..length], 0), Err(Skip::Truncated), "length {length}");
        }
    }
}
