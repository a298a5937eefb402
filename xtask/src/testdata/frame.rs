//! The vocabulary of the case table: Ethernet frames in a network engineer's terms, and ways to
//! malform them.
//!
//! A mistake in the table (no address, ports on ARP) panics: this is a development command, and the
//! table reads best without error handling.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::packet::{ACK, Ext, FILLER, Fragment, Packet, SYN};

// EtherTypes, <https://www.iana.org/assignments/ieee-802-numbers>.
pub(super) const IPV4: u16 = 0x0800;
pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const LLDP: u16 = 0x88cc;
pub(super) const MPLS: u16 = 0x8847;
pub(super) const MPLS_MULTICAST: u16 = 0x8848;
pub(super) const PPPOE_DISCOVERY: u16 = 0x8863;
pub(super) const PPPOE: u16 = 0x8864;
pub(super) const MACSEC: u16 = 0x88e5;
/// 802.1Q: a customer's tag.
pub(super) const C_TAG: u16 = 0x8100;
/// 802.1ad: a provider's tag.
pub(super) const S_TAG: u16 = 0x88a8;
/// A provider's tag before 802.1ad.
pub(super) const OLD_S_TAG: u16 = 0x9100;
/// 802.1ah: a backbone's tag.
pub(super) const I_TAG: u16 = 0x88e7;

/// Locally administered addresses; the rules do not look at MAC addresses.
const MACS: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

/// One frame, to be sent at its place in the case's list.
#[derive(Clone)]
pub(super) struct Frame {
    time: Option<Duration>,
    /// Tag protocol and tag control information, the outer tag first.
    tags: Vec<(u16, u16)>,
    ethertype: u16,
    body: Body,
    shortest: usize,
    longest: usize,
}

#[derive(Clone)]
enum Body {
    Ip(Box<Packet>),
    Other(Vec<u8>),
}

/// A UDP datagram, between two of `address:port`.
pub(super) fn udp(source: &str, destination: &str) -> Frame {
    udp_carrying(source, destination, &[FILLER; 8])
}

/// A UDP datagram with this payload.
pub(super) fn udp_carrying(source: &str, destination: &str, payload: &[u8]) -> Frame {
    Frame::ip(Packet::udp(endpoint(source), endpoint(destination), payload))
}

/// A TCP segment that opens a connection.
pub(super) fn syn(source: &str, destination: &str) -> Frame {
    tcp(source, destination, SYN)
}

/// A TCP segment that accepts a connection.
pub(super) fn syn_ack(source: &str, destination: &str) -> Frame {
    tcp(source, destination, SYN | ACK)
}

/// A TCP segment of an open connection.
pub(super) fn ack(source: &str, destination: &str) -> Frame {
    tcp(source, destination, ACK)
}

/// A TCP segment with any flags.
pub(super) fn tcp(source: &str, destination: &str, flags: u8) -> Frame {
    Frame::ip(Packet::tcp(endpoint(source), endpoint(destination), flags))
}

/// An IP packet that carries neither TCP nor UDP.
pub(super) fn ip(source: &str, destination: &str, protocol: u8, carried: &[u8]) -> Frame {
    Frame::ip(Packet::new(address(source), address(destination), protocol, carried.to_vec()))
}

/// An Ethernet frame of any type.
pub(super) fn ethernet(ethertype: u16, body: &[u8]) -> Frame {
    Frame::new(ethertype, Body::Other(body.to_vec()))
}

/// An IEEE 802.3 frame: where Ethernet has its type, it has the length of an LLC frame.
pub(super) fn llc(body: &[u8]) -> Frame {
    ethernet(u16::try_from(body.len()).expect("an LLC frame is at most 1500 bytes"), body)
}

fn endpoint(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|error| panic!("case table: {text}: {error}"))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|error| panic!("case table: {text}: {error}"))
}

/// The frame around the packet.
impl Frame {
    fn new(ethertype: u16, body: Body) -> Self {
        Self { time: None, tags: Vec::new(), ethertype, body, shortest: 0, longest: usize::MAX }
    }

    fn ip(packet: Packet) -> Self {
        let ethertype = if packet.source.is_ipv4() { IPV4 } else { IPV6 };
        Self::new(ethertype, Body::Ip(Box::new(packet)))
    }

    /// Seconds from the capture's start, instead of the frame's number in milliseconds.
    pub(super) fn at(self, seconds: u64) -> Self {
        Self { time: Some(Duration::from_secs(seconds)), ..self }
    }

    /// One 802.1Q tag.
    pub(super) fn vlan(self, id: u16) -> Self {
        self.tags(&[(C_TAG, id)])
    }

    /// An 802.1ad tag around an 802.1Q tag.
    pub(super) fn qinq(self, outer: u16, inner: u16) -> Self {
        self.tags(&[(S_TAG, outer), (C_TAG, inner)])
    }

    /// Any tags, the outer one first: tag protocol, and priority with VLAN.
    pub(super) fn tags(self, tags: &[(u16, u16)]) -> Self {
        Self { tags: tags.to_vec(), ..self }
    }

    /// An `EtherType` that does not fit the packet.
    pub(super) fn ethertype(self, ethertype: u16) -> Self {
        Self { ethertype, ..self }
    }

    /// Zeros behind the packet, up to this length of the frame.
    pub(super) fn pad_to(self, length: usize) -> Self {
        Self { shortest: length, ..self }
    }

    /// The frame's first bytes only; what the headers say about lengths stays.
    pub(super) fn truncate(self, length: usize) -> Self {
        Self { longest: length, ..self }
    }

    /// When it was sent, from the capture's start, where the case says so.
    pub(super) fn time(&self) -> Option<Duration> {
        self.time
    }

    /// IEEE 802.3, clause 3: destination, source, type; and with 802.1Q, clause 9, tags before it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = MACS.to_vec();
        for (protocol, control) in &self.tags {
            bytes.extend(protocol.to_be_bytes());
            bytes.extend(control.to_be_bytes());
        }
        bytes.extend(self.ethertype.to_be_bytes());
        bytes.extend(match &self.body {
            Body::Ip(packet) => packet.bytes(),
            Body::Other(body) => body.clone(),
        });
        bytes.resize(bytes.len().max(self.shortest), 0);
        bytes.truncate(self.longest);
        bytes
    }
}

/// The packet in the frame.
impl Frame {
    fn bend(mut self, bend: impl FnOnce(&mut Packet)) -> Self {
        match &mut self.body {
            Body::Ip(packet) => bend(packet),
            Body::Other(_) => panic!("case table: no IP packet in this frame"),
        }
        self
    }

    /// A version nibble that does not fit the rest of the header.
    pub(super) fn version(self, version: u8) -> Self {
        self.bend(|packet| packet.version = Some(version))
    }

    /// An IPv4 header length, in words, that is not the header's length.
    pub(super) fn ihl(self, words: u8) -> Self {
        self.bend(|packet| packet.ihl = Some(words))
    }

    /// So many words of IPv4 options.
    pub(super) fn ipv4_options(self, words: u8) -> Self {
        self.bend(|packet| packet.option_words = words)
    }

    /// An IP length that is not the packet's: IPv4's with its header, IPv6's without.
    pub(super) fn ip_length(self, length: u16) -> Self {
        self.bend(|packet| packet.length = Some(length))
    }

    /// Another protocol number; what is carried stays.
    pub(super) fn protocol(self, protocol: u8) -> Self {
        self.bend(|packet| packet.protocol = protocol)
    }

    /// A fragment, according to its header. It still carries the whole TCP or UDP header, so that a
    /// parser that reads ports out of a later fragment is caught.
    pub(super) fn fragment(self, fragment: Fragment) -> Self {
        self.bend(|packet| match packet.source {
            IpAddr::V4(_) => packet.fragment = fragment,
            IpAddr::V6(_) => packet.ext.push(Ext::Fragment(fragment)),
        })
    }

    /// IPv6 extension headers, the first one first.
    pub(super) fn ext(self, ext: &[Ext]) -> Self {
        self.bend(|packet| packet.ext.extend(ext))
    }

    /// The IP packet carries only so many bytes of its TCP or UDP header, and says so.
    pub(super) fn cut(self, length: usize) -> Self {
        self.bend(|packet| packet.cut = length)
    }

    /// Wrong checksums, like those of frames that rely on checksum offload.
    pub(super) fn wrong_checksums(self) -> Self {
        self.bend(|packet| packet.wrong_checksums = true)
    }

    /// A UDP length that is not the datagram's.
    pub(super) fn udp_length(self, length: u16) -> Self {
        self.bend(|packet| packet.transport[4..6].copy_from_slice(&length.to_be_bytes()))
    }

    /// A TCP data offset, in words, that is not the header's length.
    pub(super) fn data_offset(self, words: u8) -> Self {
        self.bend(|packet| packet.transport[12] = words << 4)
    }

    /// The four bits between the data offset and the flags, RFC 9293, section 3.1.
    pub(super) fn reserved_bits(self, bits: u8) -> Self {
        self.bend(|packet| packet.transport[12] |= bits)
    }

    /// Bytes behind the TCP header, as TCP Fast Open sends them with a SYN (RFC 7413).
    pub(super) fn data(self, data: &[u8]) -> Self {
        self.bend(|packet| packet.transport.extend(data))
    }
}
