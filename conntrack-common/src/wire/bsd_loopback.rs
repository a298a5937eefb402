//! BSD loopback header (`LINKTYPE_NULL`, `LINKTYPE_LOOP`): an address family in 4 octets, in the
//! capturing machine's byte order (`NULL`) or in network byte order (`LOOP`).
//!
//! Families are below 65,536, so the value shows the byte order and one parser serves both.

use super::{IPV4, IPV6, PacketBytes, Skip};

mod field {
    pub(super) const PAYLOAD: usize = 4;
}

/// `AF_INET`, the same on all systems.
const INET: u32 = 2;
/// `AF_INET6` of Linux, of NetBSD and OpenBSD, of FreeBSD, and of Darwin.
const INET6: [u32; 4] = [10, 24, 28, 30];

/// The `EtherType` for the address family, and the payload offset.
///
/// # Errors
/// [`Skip::Truncated`] if the frame ends inside the header, [`Skip::NotIp`] for another family.
#[inline(always)]
pub fn payload<P: PacketBytes + ?Sized>(packet: &P) -> Result<(u16, usize), Skip> {
    let octets = packet.load(0).ok_or(Skip::Truncated)?;
    let family = match u32::from_be_bytes(octets) {
        family if family <= 0xffff => family,
        swapped => swapped.swap_bytes(),
    };
    if family == INET {
        Ok((IPV4, field::PAYLOAD))
    } else if INET6.contains(&family) {
        Ok((IPV6, field::PAYLOAD))
    } else {
        Err(Skip::NotIp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders() {
        assert_eq!(payload(&[0, 0, 0, 2][..]), Ok((IPV4, 4)));
        assert_eq!(payload(&[2, 0, 0, 0][..]), Ok((IPV4, 4)));
    }

    #[test]
    fn ipv6_has_a_number_of_its_own_on_each_system() {
        for family in [10, 24, 28, 30] {
            assert_eq!(payload(&[0, 0, 0, family][..]), Ok((IPV6, 4)), "family {family}");
            assert_eq!(payload(&[family, 0, 0, 0][..]), Ok((IPV6, 4)), "family {family}");
        }
    }

    #[test]
    fn other_families_are_not_ip() {
        for family in [0, 1, 3, 17] {
            assert_eq!(payload(&[0, 0, 0, family][..]), Err(Skip::NotIp), "family {family}");
        }
        assert_eq!(payload(&[0xff; 4][..]), Err(Skip::NotIp));
    }

    #[test]
    fn every_shorter_frame_is_truncated() {
        for length in 0..4 {
            assert_eq!(payload(&[0; 4][..length]), Err(Skip::Truncated), "length {length}");
        }
    }
}
