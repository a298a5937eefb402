//! TCP header (RFC 9293 section 3.1): the flags; the ports are where UDP has them. Data offset,
//! options and checksum are ignored.

use core::hint::black_box;

use super::{PacketBytes, Skip};

mod field {
    pub(super) const SEQUENCE_NUMBER: usize = 4;
    /// Data offset and flags, an octet each.
    pub(super) const OFFSET_AND_FLAGS: usize = 12;
    pub(super) const FLAGS: usize = 13;
}

/// Octets of the header required: up to the flags.
pub const NEEDED: usize = field::FLAGS + 1;

/// Synchronize sequence numbers.
pub const SYN: u8 = 0x02;
/// Reset the connection.
pub const RST: u8 = 0x04;
/// The acknowledgment field is significant.
pub const ACK: u8 = 0x10;

/// The flags octet: CWR, ECE, URG, ACK, PSH, RST, SYN, FIN from the highest bit down.
///
/// # Errors
/// [`Skip::Truncated`] if the packet ends before the flags.
#[inline(always)]
pub fn flags<P: PacketBytes + ?Sized>(packet: &P, l4_offset: usize) -> Result<u8, Skip> {
    let offset_and_flags = packet.load(l4_offset + field::OFFSET_AND_FLAGS);
    let [_, flags] = offset_and_flags.ok_or(Skip::Truncated)?;
    Ok(flags)
}

/// The sequence number, host byte order.
///
/// # Errors
/// [`Skip::Truncated`] if the packet ends before it.
#[inline(always)]
pub fn sequence_number<P: PacketBytes + ?Sized>(packet: &P, l4_offset: usize) -> Result<u32, Skip> {
    // The compiler knows that it is there if the flags are; the verifier wants to see it checked.
    let offset = black_box(l4_offset + field::SEQUENCE_NUMBER);
    let number = packet.load(offset);
    number.map(u32::from_be_bytes).ok_or(Skip::Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_the_fourteenth_octet() {
        let header = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, SYN | ACK];
        assert_eq!(flags(&header[..], 0), Ok(SYN | ACK));
        assert_eq!(flags(&header[..13], 0), Err(Skip::Truncated));
    }

    #[test]
    fn the_sequence_number_is_in_network_byte_order() {
        let header = [0, 1, 2, 3, 4, 5, 6, 7];
        assert_eq!(sequence_number(&header[..], 0), Ok(0x0405_0607));
        assert_eq!(sequence_number(&header[..7], 0), Err(Skip::Truncated));
    }
}
