//! What is sent through rules: the first packet of a connection and the answer to it, with a tag by
//! which each is known again whatever its addresses and ports were translated to.

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    IpHeaders, NetSlice, PacketBuilder, PacketBuilderStep, SlicedPacket, TcpHeader,
    TcpOptionElement, TcpSlice, TransportSlice, UdpSlice,
};

use crate::connection::Protocol;

/// As most hosts send it.
const HOP_LIMIT: u8 = 64;
const WINDOW: u16 = 64_240;
/// Maximum segment sizes of a path of 1,500 octets, IPv4 and IPv6.
const SEGMENT_SIZES: [u16; 2] = [1_460, 1_440];
/// The sequence number of an answer is not the one that it acknowledges.
const OF_ANSWER: u32 = 1 << 31;

/// What a datagram of ours begins with; the kind and the tag follow.
const MARK: [u8; 9] = *b"conntrack";
const PAYLOAD: usize = MARK.len() + 1 + 4;

/// Which packet of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// The first one.
    First,
    /// The answer to it.
    Answer,
}

/// A packet of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) protocol: Protocol,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) kind: Kind,
    /// Of the conversation.
    pub(super) tag: u32,
}

impl Packet {
    /// What answers this one, which may have been translated on its way.
    pub(super) const fn answer(&self) -> Self {
        Self { source: self.destination, destination: self.source, kind: Kind::Answer, ..*self }
    }

    /// Appends it from the IP header on, with valid checksums.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let (source, destination) = (self.source.port(), self.destination.port());
        let written = match self.protocol {
            Protocol::Tcp => self.ip().tcp_header(self.segment()).write(bytes, &[]),
            Protocol::Udp => self.ip().udp(source, destination).write(bytes, &self.payload()),
        };
        debug_assert!(written.is_ok(), "a vector takes everything");
    }

    fn ip(&self) -> PacketBuilderStep<IpHeaders> {
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                PacketBuilder::ipv4(source.octets(), destination.octets(), HOP_LIMIT)
            }
            (source, destination) => PacketBuilder::ipv6(v6(source), v6(destination), HOP_LIMIT),
        }
    }

    fn segment(&self) -> TcpHeader {
        let sequence = match self.kind {
            Kind::First => self.tag,
            Kind::Answer => self.tag ^ OF_ANSWER,
        };
        let (source, destination) = (self.source.port(), self.destination.port());
        let mut header = TcpHeader::new(source, destination, sequence, WINDOW);
        header.syn = true;
        if self.kind == Kind::Answer {
            header.ack = true;
            header.acknowledgment_number = self.tag.wrapping_add(1);
        }
        let size = SEGMENT_SIZES[usize::from(self.source.is_ipv6())];
        let set = header.set_options(&[TcpOptionElement::MaximumSegmentSize(size)]);
        debug_assert!(set.is_ok(), "there is room for one option");
        header
    }

    fn payload(&self) -> [u8; PAYLOAD] {
        let mut payload = [0; PAYLOAD];
        let (mark, rest) = payload.split_at_mut(MARK.len());
        mark.copy_from_slice(&MARK);
        rest[0] = u8::from(self.kind == Kind::Answer);
        rest[1..].copy_from_slice(&self.tag.to_be_bytes());
        payload
    }

    /// One of ours, from the IP header on.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ip(bytes).ok()?;
        let (source, destination) = match packet.net? {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into())
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into())
            }
            NetSlice::Arp(_) => return None,
        };
        match packet.transport? {
            TransportSlice::Tcp(it) => Self::of_segment(source, destination, &it),
            TransportSlice::Udp(it) => Self::of_datagram(source, destination, &it),
            _ => None,
        }
    }

    /// One of ours from behind the IP header on.
    pub(super) fn parse_payload(
        protocol: Protocol,
        source: IpAddr,
        destination: IpAddr,
        bytes: &[u8],
    ) -> Option<Self> {
        match protocol {
            Protocol::Tcp => {
                Self::of_segment(source, destination, &TcpSlice::from_slice(bytes).ok()?)
            }
            Protocol::Udp => {
                Self::of_datagram(source, destination, &UdpSlice::from_slice(bytes).ok()?)
            }
        }
    }

    fn of_segment(source: IpAddr, destination: IpAddr, tcp: &TcpSlice) -> Option<Self> {
        let (kind, tag) = match (tcp.syn(), tcp.ack()) {
            (true, false) => (Kind::First, tcp.sequence_number()),
            (true, true) => (Kind::Answer, tcp.acknowledgment_number().wrapping_sub(1)),
            (false, _) => return None,
        };
        Some(Self {
            protocol: Protocol::Tcp,
            source: SocketAddr::new(source, tcp.source_port()),
            destination: SocketAddr::new(destination, tcp.destination_port()),
            kind,
            tag,
        })
    }

    fn of_datagram(source: IpAddr, destination: IpAddr, udp: &UdpSlice) -> Option<Self> {
        let (kind, tag) = udp.payload().strip_prefix(&MARK)?.split_first()?;
        Some(Self {
            protocol: Protocol::Udp,
            source: SocketAddr::new(source, udp.source_port()),
            destination: SocketAddr::new(destination, udp.destination_port()),
            kind: if *kind == 0 { Kind::First } else { Kind::Answer },
            tag: u32::from_be_bytes(tag.try_into().ok()?),
        })
    }
}

/// Both ends are of one family: IPv4 does not come here.
fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_known_again_and_checksums_are_valid() {
        for (source, destination) in
            [("10.0.0.1:40000", "10.0.0.2:22"), ("[fd00::1]:40000", "[fd00::2]:53")]
        {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let first = Packet {
                    protocol,
                    source: source.parse().expect("an address and a port"),
                    destination: destination.parse().expect("an address and a port"),
                    kind: Kind::First,
                    tag: u32::MAX,
                };
                for packet in [first, first.answer()] {
                    let mut bytes = Vec::new();
                    packet.write(&mut bytes);
                    assert_eq!(Packet::parse(&bytes), Some(packet));
                    assert!(has_valid_checksum(&bytes), "{packet:?}");
                    let header = if source.starts_with('[') { 40 } else { 20 };
                    let (source, destination) = (packet.source.ip(), packet.destination.ip());
                    let behind = &bytes[header..];
                    let parsed = Packet::parse_payload(protocol, source, destination, behind);
                    assert_eq!(parsed, Some(packet));
                }
            }
        }
    }

    fn has_valid_checksum(bytes: &[u8]) -> bool {
        let packet = SlicedPacket::from_ip(bytes).expect("a packet");
        let (source, destination, protocol, length) = match packet.net.expect("IP") {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                (header.source().to_vec(), header.destination().to_vec(), header.protocol(), 20)
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header();
                (header.source().to_vec(), header.destination().to_vec(), header.next_header(), 40)
            }
            NetSlice::Arp(_) => panic!("no ARP"),
        };
        let behind = &bytes[length..];
        let of_length = u16::try_from(behind.len()).expect("short").to_be_bytes();
        let pseudo = [&source[..], &destination, &[0, protocol.0], &of_length, behind].concat();
        let words = pseudo
            .chunks(2)
            .map(|it| u32::from(it[0]) << 8 | u32::from(it.get(1).copied().unwrap_or_default()));
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum == 0xffff
    }

    #[test]
    fn what_is_not_ours_is_none() {
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(1, 2);
        builder.write(&mut bytes, b"conntrackers of").expect("written");
        for length in 0..=bytes.len() {
            assert_eq!(Packet::parse(&bytes[..length]), None);
        }
    }
}
