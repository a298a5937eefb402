//! The rules that kernel and user space share: which packets open a conversation, whose it is, and
//! what of it the tree can never show.
//!
//! The tracker has the rules that need to remember, and applies all others to what it is given.

mod coarsening;

pub use coarsening::{FIRST_USER_PORT, coarsen};

use crate::{
    address::Address,
    flow::{Direction, FlowKey, Protocol},
    wire::{self, LinkLayer, PacketBytes, Skip, tcp},
};

/// The flow that a packet counts for: what the kernel and user space both do with each packet.
///
/// # Errors
/// Why it counts for none.
#[inline(always)]
pub fn flow_key<P: PacketBytes + ?Sized>(packet: &P, link: LinkLayer) -> Result<FlowKey, Skip> {
    let headers = wire::walk(packet, link)?;
    opens_conversation(headers.protocol(), headers.tcp_flags())?;
    Ok(headers.segment(packet)?.flow_key())
}

/// Whether this packet counts as a flow.
///
/// TCP: only a connection's opening packet, SYN set and ACK clear (RFC 9293 section 3.5); what
/// other flags it carries (ECN: RFC 3168 section 6.1.1) does not matter. UDP: every datagram.
///
/// # Errors
/// [`Skip::NotOpening`] for any other TCP packet.
#[inline(always)]
pub const fn opens_conversation(protocol: Protocol, tcp_flags: u8) -> Result<(), Skip> {
    match protocol {
        Protocol::Udp => Ok(()),
        Protocol::Tcp if tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN => Ok(()),
        Protocol::Tcp => Err(Skip::NotOpening),
    }
}

/// Whose conversation a flow is. The source decides first: what the device sends to itself is `Out`.
#[inline(always)]
pub fn direction(flow: &FlowKey, is_local: impl Fn(&Address) -> bool) -> Direction {
    if is_local(&flow.src()) {
        Direction::Out
    } else if is_local(&flow.dst()) {
        Direction::In
    } else {
        Direction::Else
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIN: u8 = 0x01;
    const RST: u8 = 0x04;
    const ECE_CWR: u8 = 0xc0;

    fn tcp(flags: u8) -> Result<(), Skip> {
        opens_conversation(Protocol::Tcp, flags)
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
        assert_eq!(opens_conversation(Protocol::Udp, 0), Ok(()));
    }
}
