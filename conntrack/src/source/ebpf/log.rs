//! What the programs say themselves: their messages come through aya-log and have numbers in them and a
//! packet's first octets, which are put into words here.
#![expect(unsafe_code, reason = "tokio cannot know that the descriptor stays the same")]

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use aya_log::EbpfLogger;
use conntrack_common::{
    counters::{Loss, Outcome},
    wire::{LinkLayer, PacketBytes, glimpse::Glimpse},
};
use log::{Log, Metadata, Record};
use tokio::io::{Interest, unix::AsyncFd};

use super::load::map;
use crate::source::{SourceError, unread::EtherType};

/// The programs' ring buffer for messages, and the outcomes of which there were some.
pub(super) struct ProgramLog {
    messages: AsyncFd<EbpfLogger<InWords>>,
    said: HashMap<MapData, u32, u8>,
}

impl ProgramLog {
    /// Takes the maps out of the loaded object.
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, SourceError> {
        let failed = |error: &dyn fmt::Display| SourceError::failed("the programs' log", error);
        let logger = EbpfLogger::init_with_logger(ebpf, InWords);
        let logger = logger.map_err(|error| failed(&error))?;
        // SAFETY: the logger owns the descriptor of its ring buffer, names no other as long as it lives,
        // and lives in the `AsyncFd`.
        let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
        let messages = logger.map_err(|error| failed(&error))?;
        Ok(Self { messages, said: map(ebpf, "SAID")? })
    }

    /// Passes on what the programs say, for as long as that can be waited for.
    pub(super) async fn pass_on(&mut self) {
        while let Ok(mut ready) = self.messages.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }

    /// Passes on what they have said.
    pub(super) fn flush(&mut self) {
        self.messages.get_mut().flush();
    }

    /// Has the programs say again what they have said.
    pub(super) fn begin_interval(&mut self) {
        for outcome in 0..Outcome::COUNT {
            // Of most nothing was said.
            let _was_there = self.said.remove(&outcome);
        }
    }
}

/// Hands messages of the programs on, in words.
struct InWords;

impl Log for InWords {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        log::logger().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let said = record.args().to_string();
        // One that is not understood is shown as it is.
        let words = Said::understood(&said).map(|said| said.in_words());
        log::log!(target: record.target(), record.level(), "{}", words.unwrap_or(said));
    }

    fn flush(&self) {
        log::logger().flush();
    }
}

/// A message, as `conntrack-ebpf/src/log.rs` writes it.
struct Said {
    outcome: Outcome,
    /// What the packet starts with.
    link: LinkLayer,
    /// What the flow map said.
    error: i32,
    /// Of the packet, in octets.
    length: u32,
    packet: Packet,
}

/// The first octets of a packet.
struct Packet {
    octets: Vec<u8>,
    ether_type: Option<u16>,
}

impl PacketBytes for Packet {
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.octets.load(offset)
    }

    fn ether_type(&self) -> Option<u16> {
        self.ether_type
    }
}

impl Said {
    /// None if it has another form.
    fn understood(text: &str) -> Option<Self> {
        let mut values = text.split(", ").map(|field| Some(field.rsplit_once(' ')?.1));
        let mut value = || values.next().flatten();
        let outcome = Outcome::from_index(value()?.parse().ok()?)?;
        let link = link_layer(value()?.parse().ok()?)?;
        let error = value()?.parse().ok()?;
        let length = value()?.parse().ok()?;
        let ether_type = value()?.parse().ok()?;
        let copied = value()?.parse().ok()?;
        let mut octets = octets(value()?)?;
        octets.truncate(copied);
        let packet = Packet { octets, ether_type: (ether_type != 0).then_some(ether_type) };
        Some(Self { outcome, link, error, length, packet })
    }

    fn in_words(&self) -> String {
        let packet = Seen(Glimpse::of(&self.packet, self.link));
        let length = self.length;
        match self.outcome {
            Outcome::Flow => format!("recorded: {packet}{length} octets"),
            Outcome::Skipped(skip) => {
                format!("skipped ({}): {packet}{length} octets", skip.as_str())
            }
            Outcome::Lost(loss) => {
                let why = why(loss, self.error);
                format!("lost ({}{why}): {packet}{length} octets", loss.as_str())
            }
        }
    }
}

/// By its number in the programs.
fn link_layer(number: u32) -> Option<LinkLayer> {
    LinkLayer::ALL.into_iter().find(|link| *link as u32 == number)
}

/// Out of hexadecimal digits.
fn octets(text: &str) -> Option<Vec<u8>> {
    let octet = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(octet).collect()
}

/// What the flow map said, where it was asked.
fn why(loss: Loss, error: i32) -> String {
    let number = error.unsigned_abs();
    match error.checked_neg() {
        Some(libc::E2BIG) => format!(", error {number}, E2BIG"),
        Some(libc::ENOMEM) => format!(", error {number}, ENOMEM"),
        Some(libc::EBUSY) => format!(", error {number}, EBUSY"),
        Some(0) if loss == Loss::MapFull => " of else".to_owned(),
        _ => format!(", error {number}"),
    }
}

/// A packet in words, each followed by a comma.
struct Seen(Glimpse);

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Glimpse { ether_type, addresses, protocol, ports }) = *self;
        let Some(addresses) = addresses.map(|(src, dst)| (src.ip(), dst.ip())) else {
            return ether_type.map_or(Ok(()), |it| write!(f, "{}, ", EtherType(it)));
        };
        let ends = Ends { addresses, ports };
        match protocol {
            Some(number) => write!(f, "{} {ends}, ", Transport(number)),
            None => write!(f, "{ends}, "),
        }
    }
}

struct Ends {
    addresses: (IpAddr, IpAddr),
    ports: Option<(u16, u16)>,
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (src, dst) = self.addresses;
        let Some((src_port, dst_port)) = self.ports else { return write!(f, "{src} > {dst}") };
        write!(f, "{} > {}", SocketAddr::new(src, src_port), SocketAddr::new(dst, dst_port))
    }
}

/// What IP carries, by its number.
struct Transport(u8);

/// <https://www.iana.org/assignments/protocol-numbers>, what is met in practice.
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "ICMP",
            2 => "IGMP",
            6 => "TCP",
            17 => "UDP",
            47 => "GRE",
            50 => "ESP",
            58 => "ICMPv6",
            89 => "OSPF",
            112 => "VRRP",
            132 => "SCTP",
            number => return write!(f, "IP protocol {number}"),
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use conntrack_common::wire::Skip;

    use super::*;

    /// A datagram from 192.0.2.1:1000 to 198.51.100.2:53, with its IP header first.
    const DATAGRAM: &str = "4500001c000000004011000\
                            0c0000201c633640203e8003500080000";

    fn in_words(outcome: Outcome, error: i32, copied: usize) -> String {
        let said = format!(
            "outcome {}, link {}, error {error}, length 28, type 2048, copied {copied}, octets {DATAGRAM}ffff",
            outcome.index(),
            LinkLayer::Ip as u32
        );
        Said::understood(&said).expect("as the programs write it").in_words()
    }

    #[test]
    fn what_was_skipped_with_its_ends() {
        let skipped = |skip, copied| in_words(Outcome::Skipped(skip), 0, copied);
        assert_eq!(
            skipped(Skip::UdpServer, 28),
            "skipped (sent from a --udp-in port): UDP 192.0.2.1:1000 > 198.51.100.2:53, 28 octets"
        );
        assert_eq!(
            skipped(Skip::Truncated, 20),
            "skipped (truncated): UDP 192.0.2.1 > 198.51.100.2, 28 octets"
        );
        assert_eq!(skipped(Skip::Truncated, 8), "skipped (truncated): EtherType 0x0800, 28 octets");
    }

    #[test]
    fn what_was_lost_with_the_map_s_error() {
        let lost = |loss, error| in_words(Outcome::Lost(loss), error, 28);
        let packet = "UDP 192.0.2.1:1000 > 198.51.100.2:53, 28 octets";
        for (loss, error, why) in [
            (Loss::MapFull, -7, "flow map full, error 7, E2BIG"),
            (Loss::MapFull, 0, "flow map full of else"),
            (Loss::MapRefused, -12, "flow map refused the entry, error 12, ENOMEM"),
            (Loss::MapRefused, -16, "flow map refused the entry, error 16, EBUSY"),
            (Loss::MapRefused, -1, "flow map refused the entry, error 1"),
        ] {
            assert_eq!(lost(loss, error), format!("lost ({why}): {packet}"));
        }
    }

    #[test]
    fn what_is_not_understood_is_none() {
        for said in [
            "",
            "outcome",
            "outcome x, link 1",
            "outcome 99, link 1, error 0",
            "outcome 0, link 99, error 0",
        ] {
            assert!(Said::understood(said).is_none(), "{said:?}");
        }
        assert_eq!(octets("0aff"), Some(vec![0x0a, 0xff]));
        for odd in ["0", "0aé", "0g"] {
            assert_eq!(octets(odd), None, "{odd:?}");
        }
    }
}
