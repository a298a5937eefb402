//! UDP header (RFC 768): only the ports; length and checksum are ignored.

use super::{PacketBytes, Skip};

mod field {
    pub(super) const SRC_PORT: usize = 0;
    pub(super) const DST_PORT: usize = 2;
}

/// Octets of the header required: the two ports.
pub const NEEDED: usize = field::DST_PORT + 2;

/// Source and destination port, host byte order.
///
/// # Errors
/// [`Skip::Truncated`] if the packet ends before the ports.
#[inline(always)]
pub fn ports<P: PacketBytes + ?Sized>(packet: &P, l4_offset: usize) -> Result<(u16, u16), Skip> {
    let port = |at| packet.load(l4_offset + at).map(u16::from_be_bytes).ok_or(Skip::Truncated);
    Ok((port(field::SRC_PORT)?, port(field::DST_PORT)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_in_network_byte_order() {
        assert_eq!(ports(&[0x12, 0x34, 0x00, 0x35][..], 0), Ok((0x1234, 53)));
    }

    #[test]
    fn a_header_cut_inside_its_ports_is_truncated() {
        for length in 0..NEEDED {
            assert_eq!(ports(&[0; NEEDED][..length], 0), Err(Skip::Truncated), "length {length}");
        }
    }
}
