//! The rules that kernel and user space share: which packets open a conversation and which answer one,
//! whose it is, and what of it the tree can never show.
//!
//! The tracker has the rules that need to remember, and applies all others to what it is given.

mod coarsening;
mod direction;

pub use coarsening::{FIRST_USER_PORT, coarsen};
pub use direction::direction;

use crate::{
    flow::{FlowKey, Protocol},
    seen::Seen,
    wire::{self, LinkLayer, PacketBytes, Skip, tcp},
};

/// A packet that says something about a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The flow that it belongs to.
    pub key: FlowKey,
    /// What it says.
    pub says: Says,
}

/// What a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Says {
    /// It opens its TCP connection.
    Opens,
    /// It is a UDP datagram; whether it opens or answers, [`crate::pairs`] tell.
    Datagram,
    /// It answers the reverse of its TCP connection.
    Answers,
    /// It may refuse the reverse of its TCP connection.
    Refuses,
}

impl Says {
    /// What a packet that says this lets be seen of the reverse flow; `None` where it counts for its own.
    #[inline(always)]
    pub const fn of_reverse(self) -> Option<Seen> {
        match self {
            Self::Opens | Self::Datagram => None,
            Self::Answers => Some(Seen::ANSWERED),
            Self::Refuses => Some(Seen::REFUSED),
        }
    }
}

/// What the kernel and user space both do first with each packet.
///
/// # Errors
/// Why it says nothing.
#[inline(always)]
pub fn observe<P: PacketBytes + ?Sized>(packet: &P, link: LinkLayer) -> Result<Packet, Skip> {
    let headers = wire::walk(packet, link)?;
    let says = says(headers.protocol(), headers.tcp_flags())?;
    // A reset that answers a SYN has no sequence number to go by (RFC 9293 section 3.10.7.1).
    if matches!(says, Says::Refuses) && headers.sequence_number(packet)? != 0 {
        return Err(Skip::NotOpening);
    }
    Ok(Packet { key: headers.segment(packet)?.flow_key(), says })
}

/// The flow that a packet counts for.
///
/// # Errors
/// Why it counts for none.
#[inline(always)]
pub fn flow_key<P: PacketBytes + ?Sized>(packet: &P, link: LinkLayer) -> Result<FlowKey, Skip> {
    let Packet { key, says } = observe(packet, link)?;
    if says.of_reverse().is_some() { Err(Skip::NotOpening) } else { Ok(key) }
}

/// TCP: SYN without ACK opens a connection (RFC 9293 section 3.5); what other flags it carries (ECN: RFC
/// 3168 section 6.1.1) does not matter. SYN-ACK without RST answers one, RST-ACK may refuse one. UDP:
/// every datagram counts.
#[inline(always)]
const fn says(protocol: Protocol, tcp_flags: u8) -> Result<Says, Skip> {
    const SYN_ACK: u8 = tcp::SYN | tcp::ACK;
    const RST_ACK: u8 = tcp::RST | tcp::ACK;
    match protocol {
        Protocol::Udp => Ok(Says::Datagram),
        // Nearly every packet.
        Protocol::Tcp if tcp_flags & (tcp::SYN | tcp::RST) == 0 => Err(Skip::NotOpening),
        Protocol::Tcp if tcp_flags & SYN_ACK == tcp::SYN => Ok(Says::Opens),
        Protocol::Tcp if tcp_flags & (SYN_ACK | tcp::RST) == SYN_ACK => Ok(Says::Answers),
        Protocol::Tcp if tcp_flags & RST_ACK == RST_ACK => Ok(Says::Refuses),
        Protocol::Tcp => Err(Skip::NotOpening),
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;
    use crate::address::Address;

    const FIN: u8 = 0x01;
    const PSH: u8 = 0x08;
    const ECE_CWR: u8 = 0xc0;
    const SYN_ACK: u8 = tcp::SYN | tcp::ACK;
    const RST_ACK: u8 = tcp::RST | tcp::ACK;

    /// 10.0.0.1:4000 to 10.0.0.2:53.
    fn packet(flags: u8, sequence_number: u32) -> [u8; 40] {
        let mut packet = [0; 40];
        packet[0] = 0x45;
        packet[3] = 40;
        packet[9] = Protocol::Tcp as u8;
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet[20..24].copy_from_slice(&[0x0f, 0xa0, 0, 53]);
        packet[24..28].copy_from_slice(&sequence_number.to_be_bytes());
        packet[33] = flags;
        packet
    }

    fn observed(flags: u8, sequence_number: u32) -> Result<Packet, Skip> {
        observe(&packet(flags, sequence_number)[..], LinkLayer::Ip)
    }

    fn key() -> FlowKey {
        let end = |last, port| (Address::from(IpAddr::from([10, 0, 0, last])), port);
        FlowKey::new(Protocol::Tcp, end(1, 4000), end(2, 53))
    }

    fn says(says: Says) -> Packet {
        Packet { key: key(), says }
    }

    #[test]
    fn syn_without_ack_opens_whatever_else_is_set() {
        for flags in [tcp::SYN, tcp::SYN | ECE_CWR, tcp::SYN | FIN, tcp::SYN | tcp::RST] {
            assert_eq!(observed(flags, 7), Ok(says(Says::Opens)), "flags {flags:#04x}");
        }
    }

    #[test]
    fn syn_with_ack_answers_the_reverse_unless_it_resets() {
        let answers = Ok(says(Says::Answers));
        assert_eq!(observed(SYN_ACK, 7), answers);
        assert_eq!(observed(SYN_ACK | ECE_CWR, 0), answers);
        assert_ne!(observed(SYN_ACK | tcp::RST, 0), answers);
    }

    #[test]
    fn a_reset_refuses_the_reverse_if_it_answers_a_syn() {
        let refuses = Ok(says(Says::Refuses));
        assert_eq!(observed(RST_ACK, 0), refuses);
        assert_eq!(observed(RST_ACK, 1), Err(Skip::NotOpening));
        assert_eq!(observed(tcp::RST, 0), Err(Skip::NotOpening));
    }

    #[test]
    fn nothing_else_of_tcp_says_anything() {
        for flags in [0, tcp::ACK, FIN, FIN | tcp::ACK, PSH | tcp::ACK] {
            assert_eq!(observed(flags, 0), Err(Skip::NotOpening), "flags {flags:#04x}");
        }
    }

    #[test]
    fn every_datagram_counts() {
        let mut packet = packet(0, 0);
        packet[9] = Protocol::Udp as u8;
        let observed = observe(&packet[..], LinkLayer::Ip);
        assert!(matches!(observed, Ok(Packet { says: Says::Datagram, .. })), "{observed:?}");
    }
}
