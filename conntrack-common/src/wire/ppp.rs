//! PPP header (RFC 1661 section 2), with or without the address and control octets of HDLC-like
//! framing before it (RFC 1662 section 3.1). A compressed protocol field is not read.

use super::{IPV4, IPV6, PacketBytes, Skip, mpls};

mod field {
    pub(super) const ADDRESS_CONTROL: usize = 2;
    pub(super) const PROTOCOL: usize = 2;
}

/// All stations, unnumbered information.
const ADDRESS_CONTROL: u16 = 0xff03;
/// RFC 1332 section 4.
const PROTOCOL_IPV4: u16 = 0x0021;
/// RFC 5072 section 3.
const PROTOCOL_IPV6: u16 = 0x0057;
/// RFC 3032 section 4.3.
const PROTOCOL_MPLS_UNICAST: u16 = 0x0281;
const PROTOCOL_MPLS_MULTICAST: u16 = 0x0283;

/// The `EtherType` for the protocol, and the payload offset.
///
/// # Errors
/// [`Skip::Truncated`] if the frame ends inside the header, [`Skip::NotIp`] for another protocol.
#[inline(always)]
pub fn payload<P: PacketBytes + ?Sized>(packet: &P) -> Result<(u16, usize), Skip> {
    let u16_at = |at| packet.load(at).map(u16::from_be_bytes).ok_or(Skip::Truncated);
    let at = if u16_at(0)? == ADDRESS_CONTROL { field::ADDRESS_CONTROL } else { 0 };
    Ok((ether_type(u16_at(at)?)?, at + field::PROTOCOL))
}

/// The `EtherType` for a PPP protocol.
///
/// # Errors
/// [`Skip::NotIp`] for a protocol without IP.
#[inline(always)]
pub const fn ether_type(protocol: u16) -> Result<u16, Skip> {
    match protocol {
        PROTOCOL_IPV4 => Ok(IPV4),
        PROTOCOL_IPV6 => Ok(IPV6),
        PROTOCOL_MPLS_UNICAST => Ok(mpls::UNICAST),
        PROTOCOL_MPLS_MULTICAST => Ok(mpls::MULTICAST),
        _ => Err(Skip::NotIp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_framing() {
        assert_eq!(payload(&[0x00, 0x21][..]), Ok((IPV4, 2)));
        assert_eq!(payload(&[0xff, 0x03, 0x00, 0x57][..]), Ok((IPV6, 4)));
    }

    #[test]
    fn mpls_is_announced() {
        assert_eq!(payload(&[0x02, 0x81][..]), Ok((mpls::UNICAST, 2)));
        assert_eq!(payload(&[0x02, 0x83][..]), Ok((mpls::MULTICAST, 2)));
    }

    #[test]
    fn link_control_is_not_ip() {
        assert_eq!(payload(&[0xff, 0x03, 0xc0, 0x21][..]), Err(Skip::NotIp));
    }

    #[test]
    fn every_shorter_frame_is_truncated() {
        for length in 0..2 {
            assert_eq!(payload(&[0x00, 0x21][..length]), Err(Skip::Truncated), "length {length}");
        }
        for length in 0..4 {
            let cut = payload(&[0xff, 0x03, 0x00, 0x21][..length]);
            assert_eq!(cut, Err(Skip::Truncated), "length {length}");
        }
    }
}
