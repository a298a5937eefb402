//! The rules that need nothing but the packet: which packets open a conversation.
//!
//! Rules that need to know the machine (its addresses, the settings) are the tracker's.

use crate::{
    flow::{FlowKey, Protocol},
    wire::{self, LinkLayer, PacketBytes, Segment, Skip, tcp},
};

/// The flow that a packet counts for: what the kernel and user space both do with each packet.
///
/// # Errors
/// Why it counts for none.
#[inline(always)]
pub fn flow_key<P: PacketBytes + ?Sized>(packet: &P, link: LinkLayer) -> Result<FlowKey, Skip> {
    let segment = wire::parse(packet, link)?;
    opens_conversation(&segment)?;
    Ok(segment.flow_key())
}

/// Whether this packet counts as a flow.
///
/// TCP: only a connection's opening packet, SYN set and ACK clear (RFC 9293 section 3.5); what
/// other flags it carries (ECN: RFC 3168 section 6.1.1) does not matter. UDP: every datagram.
///
/// # Errors
/// [`Skip::NotOpening`] for any other TCP packet.
#[inline(always)]
pub const fn opens_conversation(segment: &Segment) -> Result<(), Skip> {
    match segment.protocol {
        Protocol::Udp => Ok(()),
        Protocol::Tcp if segment.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN => Ok(()),
        Protocol::Tcp => Err(Skip::NotOpening),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIN: u8 = 0x01;
    const RST: u8 = 0x04;
    const ECE_CWR: u8 = 0xc0;

    fn tcp(flags: u8) -> Result<(), Skip> {
        opens_conversation(&Segment { protocol: Protocol::Tcp, tcp_flags: flags, ..Segment::ZERO })
    }

    #[test]
    fn syn_without_ack_opens_whatever_else_is_set() {
        assert_eq!(tcp(tcp::SYN), Ok(()));
        assert_eq!(tcp(tcp::SYN | ECE_CWR), Ok(()));
        assert_eq!(tcp(tcp::SYN | FIN), Ok(()));
    }

    #[test]
    fn nothing_else_of_tcp_opens() {
        for flags in [0, tcp::ACK, tcp::SYN | tcp::ACK, FIN, FIN | tcp::ACK, RST] {
            assert_eq!(tcp(flags), Err(Skip::NotOpening), "flags {flags:#04x}");
        }
    }

    #[test]
    fn every_datagram_counts() {
        let segment = Segment { protocol: Protocol::Udp, ..Segment::ZERO };
        assert_eq!(opens_conversation(&segment), Ok(()));
    }
}
