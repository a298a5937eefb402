//! TCP header (RFC 9293 section 3.1): the flags; the ports are where UDP has them. Data offset,
//! options and checksum are not judged here.

use super::{PacketBytes, Skip};

mod field {
    /// Data offset and flags, an octet each.
    pub(super) const OFFSET_AND_FLAGS: usize = 12;
    pub(super) const FLAGS: usize = 13;
}

/// Octets of the header that must be there: up to and with the flags.
pub const NEEDED: usize = field::FLAGS + 1;

/// Synchronize sequence numbers.
pub const SYN: u8 = 0x02;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_the_fourteenth_octet() {
        let header = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, SYN | ACK];
        assert_eq!(flags(&header[..], 0), Ok(SYN | ACK));
        assert_eq!(flags(&header[..13], 0), Err(Skip::Truncated));
    }
}
