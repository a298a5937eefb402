//! Frames at random: valid ones, odd ones and broken ones. A frame is a description that shrinks
//! to something simple and then turns into bytes, so that a failure shows what it takes.
//!
//! It is no model of the parser: it knows what headers look like, not what is made of them.
//!
//! This file has the description and its bytes; which frames there are is in `strategies`.

pub mod check;
pub mod dissect;
pub mod strategies;

use std::iter;

/// `EtherType`s (IEEE 802 numbers).
pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;
pub const CUSTOMER_TAG: u16 = 0x8100;
pub const SERVICE_TAG: u16 = 0x88a8;
/// Service tag, before IEEE 802.1ad.
pub const OLD_SERVICE_TAG: u16 = 0x9100;
pub const BACKBONE_TAG: u16 = 0x88e7;
pub const MPLS: u16 = 0x8847;
pub const PPPOE: u16 = 0x8864;

/// IP protocol numbers (IANA).
pub mod number {
    pub const HOP_BY_HOP: u8 = 0;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const ESP: u8 = 50;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT_HEADER: u8 = 59;
    pub const DESTINATION: u8 = 60;
    pub const SCTP: u8 = 132;
    pub const MOBILITY: u8 = 135;
    pub const HOST_IDENTITY: u8 = 139;
    pub const EXPERIMENTAL: u8 = 253;
}

/// TCP flags (RFC 9293 section 3.1).
pub mod flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
    pub const ECE: u8 = 0x40;
    pub const CWR: u8 = 0x80;
}

/// A frame, from its outermost header to what was done to its bytes.
#[derive(Clone, Debug)]
pub struct Frame {
    /// `None`: the packet stands alone.
    pub link: Option<Ethernet>,
    pub packet: Packet,
    pub damage: Damage,
}

#[derive(Clone, Debug, Default)]
pub struct Ethernet {
    pub tags: Vec<Tag>,
    /// Headers after the tags, the outermost first.
    pub inside: Vec<Encapsulation>,
    /// Type in the last of them; `None`: the packet's.
    pub ether_type: Option<u16>,
}

/// A header between Ethernet and IP.
#[derive(Clone, Copy, Debug)]
pub enum Encapsulation {
    Pppoe,
    /// A stack of so many labels. It has no type.
    Mpls(u8),
    /// A backbone tag with both addresses of the customer's frame.
    Backbone,
    /// A tag of the customer's frame.
    Tag(u16),
    /// An IEEE 802.3 length, and LLC with SNAP.
    Snap,
}

/// A VLAN tag: its type and its control information.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    pub tpid: u16,
    pub tci: u16,
}

#[derive(Clone, Debug)]
pub enum Packet {
    V4(Ipv4),
    V6(Ipv6),
    /// Any bytes.
    Noise(Vec<u8>),
}

#[derive(Clone, Debug)]
pub struct Ipv4 {
    pub version: u8,
    /// `None`: what the options need.
    pub ihl: Option<u8>,
    /// In units of 4 octets.
    pub options: u8,
    pub total_length: Length,
    /// Three bits of flags, thirteen of offset.
    pub fragment: u16,
    /// `None`: what the transport header is.
    pub protocol: Option<u8>,
    pub src: [u8; 4],
    pub dst: [u8; 4],
    pub transport: Transport,
}

#[derive(Clone, Debug)]
pub struct Ipv6 {
    pub version: u8,
    pub payload_length: Length,
    pub extensions: Vec<Extension>,
    /// The last next-header field; `None`: what the transport header is.
    pub protocol: Option<u8>,
    pub src: [u8; 16],
    pub dst: [u8; 16],
    pub transport: Transport,
}

/// An IPv6 extension header, or what stands in the place of one.
#[derive(Clone, Copy, Debug)]
pub struct Extension {
    /// The number that announces it.
    pub number: u8,
    /// Its length, in the unit of its kind.
    pub units: u8,
    /// The length that it says it has; `None`: what it has.
    pub length: Option<u8>,
    /// Octets three and four; in a fragment header 13 bits of offset, two reserved, more-fragments.
    pub fragment: u16,
}

/// What a length field says.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// What there is, or 0 if that does not fit (RFC 2675 section 1).
    Right,
    Zero,
    /// So many octets more than there are.
    Off(i16),
    Any(u16),
}

#[derive(Clone, Copy, Debug)]
pub struct Transport {
    pub kind: Kind,
    pub src_port: u16,
    pub dst_port: u16,
    /// Octets behind the header.
    pub payload: u16,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Udp {
        length: Length,
    },
    Tcp {
        flags: u8,
        data_offset: u8,
    },
    /// Eight octets that are neither, under this number.
    Other(u8),
}

/// What happens to the bytes, in this order.
#[derive(Clone, Debug, Default)]
pub struct Damage {
    /// Bits that are flipped: octet, bit.
    pub flips: Vec<(usize, u8)>,
    /// Octets that are put behind, of this value.
    pub padding: (usize, u8),
    /// Octets that are left.
    pub cut: Option<usize>,
}

impl Frame {
    /// An undamaged Ethernet frame.
    pub fn of(packet: impl Into<Packet>) -> Self {
        let link = Some(Ethernet::default());
        let damage = Damage::default();
        Self { link, packet: packet.into(), damage }
    }

    /// With these tags, the outermost first.
    pub fn tagged(mut self, tpids: &[u16]) -> Self {
        let tags = tpids.iter().map(|&tpid| Tag { tpid, tci: 7 }).collect();
        self.link = Some(Ethernet { tags, ..self.link.unwrap_or_default() });
        self
    }

    /// With these headers between tags and packet, the outermost first.
    pub fn inside(mut self, inside: &[Encapsulation]) -> Self {
        self.link = Some(Ethernet { inside: inside.to_vec(), ..self.link.unwrap_or_default() });
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = match &self.link {
            Some(link) => link.bytes(&self.packet),
            None => self.packet.bytes(),
        };
        self.damage.apply(&mut bytes);
        bytes
    }
}

impl Ethernet {
    /// IEEE 802.3 clause 3.1.1; tags: IEEE 802.1Q clause 9.
    fn bytes(&self, packet: &Packet) -> Vec<u8> {
        let mut bytes = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
        for Tag { tpid, tci } in &self.tags {
            bytes.extend(tpid.to_be_bytes());
            bytes.extend(tci.to_be_bytes());
        }
        let mut ether_type = self.ether_type.unwrap_or(packet.ether_type());
        let mut payload = packet.bytes();
        for header in self.inside.iter().rev() {
            (ether_type, payload) = header.before(ether_type, &payload);
        }
        bytes.extend(ether_type.to_be_bytes());
        bytes.extend(payload);
        bytes
    }
}

impl Encapsulation {
    /// The header's own type, and its bytes before a payload of this type.
    fn before(self, ether_type: u16, payload: &[u8]) -> (u16, Vec<u8>) {
        let announced = ether_type.to_be_bytes();
        let (own_type, header) = match self {
            // RFC 2516 section 4: version 1, type 1, session data, session 1, length, PPP protocol.
            Self::Pppoe => {
                let length = Length::Right.of(payload.len() + 2).to_be_bytes();
                let protocol = ppp_protocol(ether_type).to_be_bytes();
                (PPPOE, [&[0x11, 0, 0, 1][..], &length, &protocol].concat())
            }
            // RFC 3032 section 2.1: label 16, time to live 64; the last has the bottom-of-stack bit.
            Self::Mpls(labels) => {
                let entry = |above| [0, 1, u8::from(above == 0), 64];
                (MPLS, (0..labels).rev().flat_map(entry).collect())
            }
            // IEEE 802.1Q clause 9.7: priority and instance, destination, source, type.
            Self::Backbone => {
                (BACKBONE_TAG, [&[0, 0, 0, 7][..], &[0x06; 6], &[0x0a; 6], &announced].concat())
            }
            Self::Tag(tpid) => (tpid, [&[0, 7][..], &announced].concat()),
            // RFC 1042: LLC for SNAP, unnumbered information, the organisation 0, type.
            Self::Snap => {
                let length = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
                (length.min(0x05ff), [&[0xaa, 0xaa, 3, 0, 0, 0][..], &announced].concat())
            }
        };
        (own_type, [&header, payload].concat())
    }
}

/// RFC 1332 section 4, RFC 5072 section 3, RFC 3032 section 4.3; else link control.
const fn ppp_protocol(ether_type: u16) -> u16 {
    match ether_type {
        IPV4 => 0x0021,
        IPV6 => 0x0057,
        MPLS => 0x0281,
        _ => 0xc021,
    }
}

impl Packet {
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::V4(packet) => packet.bytes(),
            Self::V6(packet) => packet.bytes(),
            Self::Noise(bytes) => bytes.clone(),
        }
    }

    pub const fn ether_type(&self) -> u16 {
        match self {
            Self::V6(_) => IPV6,
            Self::V4(_) | Self::Noise(_) => IPV4,
        }
    }
}

impl From<Ipv4> for Packet {
    fn from(packet: Ipv4) -> Self {
        Self::V4(packet)
    }
}

impl From<Ipv6> for Packet {
    fn from(packet: Ipv6) -> Self {
        Self::V6(packet)
    }
}

impl Ipv4 {
    /// Without options.
    pub const fn of(transport: Transport) -> Self {
        Self {
            version: 4,
            ihl: None,
            options: 0,
            total_length: Length::Right,
            fragment: 0,
            protocol: None,
            src: [192, 0, 2, 1],
            dst: [198, 51, 100, 2],
            transport,
        }
    }

    /// RFC 791 section 3.1. The checksum is left at 0; options are all "no operation".
    fn bytes(&self) -> Vec<u8> {
        let transport = self.transport.bytes();
        let options = usize::from(self.options) * 4;
        let total_length = self.total_length.of(20 + options + transport.len()).to_be_bytes();
        let ihl = self.ihl.unwrap_or(5 + self.options);
        let fragment = self.fragment.to_be_bytes();
        let protocol = self.protocol.unwrap_or(self.transport.number());
        let mut bytes = vec![self.version << 4 | ihl & 0x0f, 0];
        bytes.extend(total_length);
        bytes.extend([0, 1]);
        bytes.extend(fragment);
        bytes.extend([64, protocol, 0, 0]);
        bytes.extend([self.src, self.dst].concat());
        bytes.extend(iter::repeat_n(1, options));
        bytes.extend(transport);
        bytes
    }
}

impl Ipv6 {
    /// Without extension headers.
    pub fn of(transport: Transport) -> Self {
        let mut src = [0; 16];
        src[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        let mut dst = src;
        (src[15], dst[15]) = (1, 2);
        let payload_length = Length::Right;
        let extensions = Vec::new();
        Self { version: 6, payload_length, extensions, protocol: None, src, dst, transport }
    }

    /// With an extension header of each of these kinds, all as short as can be.
    pub fn with(mut self, numbers: &[u8]) -> Self {
        self.extensions = numbers.iter().map(|&number| Extension::of(number)).collect();
        self
    }

    /// RFC 8200 section 3.
    fn bytes(&self) -> Vec<u8> {
        let last = self.protocol.unwrap_or(self.transport.number());
        let announced = self.extensions.iter().map(|extension| extension.number);
        let mut announced = announced.chain([last]);
        let first = announced.next().unwrap_or(last);
        let extensions = self.extensions.iter().zip(announced);
        let mut payload: Vec<u8> =
            extensions.flat_map(|(extension, next)| extension.bytes(next)).collect();
        payload.extend(self.transport.bytes());

        let mut bytes = vec![self.version << 4, 0, 0, 0];
        bytes.extend(self.payload_length.of(payload.len()).to_be_bytes());
        bytes.extend([first, 64]);
        bytes.extend([self.src, self.dst].concat());
        bytes.extend(payload);
        bytes
    }
}

impl Extension {
    /// The shortest that is valid: an AH without check value says 1 (RFC 4302 section 2.2).
    pub const fn of(number: u8) -> Self {
        let units = if number == number::AUTHENTICATION { 1 } else { 0 };
        Self { number, units, length: None, fragment: 0 }
    }

    /// Next header and length come first in all of them: RFC 8200 sections 4.3, 4.4 and 4.6 (in
    /// units of 8 octets, not counting the first), RFC 4302 section 2 (in units of 4, not counting
    /// two), RFC 8200 section 4.5 (a fragment header has no length: 8 octets, and a 0).
    fn bytes(self, next: u8) -> Vec<u8> {
        let octets = match self.number {
            number::AUTHENTICATION => (usize::from(self.units) + 2) * 4,
            number::FRAGMENT => 8,
            _ => (usize::from(self.units) + 1) * 8,
        };
        let mut bytes = vec![next, self.length.unwrap_or(self.units)];
        bytes.extend(self.fragment.to_be_bytes());
        bytes.resize(octets, 0);
        bytes
    }
}

impl Length {
    fn of(self, octets: usize) -> u16 {
        let right = u16::try_from(octets).unwrap_or(0);
        match self {
            Self::Right => right,
            Self::Zero => 0,
            Self::Off(more) => right.wrapping_add_signed(more),
            Self::Any(any) => any,
        }
    }
}

impl Transport {
    pub const fn udp() -> Self {
        Self::of(Kind::Udp { length: Length::Right })
    }

    pub const fn tcp(flags: u8) -> Self {
        Self::of(Kind::Tcp { flags, data_offset: 5 })
    }

    pub const fn of(kind: Kind) -> Self {
        Self { kind, src_port: 40_000, dst_port: 53, payload: 0 }
    }

    const fn number(&self) -> u8 {
        match self.kind {
            Kind::Udp { .. } => number::UDP,
            Kind::Tcp { .. } => number::TCP,
            Kind::Other(number) => number,
        }
    }

    /// UDP: RFC 768; TCP: RFC 9293 section 3.1. Checksums are left at 0.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.src_port.to_be_bytes(), self.dst_port.to_be_bytes()].concat();
        match self.kind {
            Kind::Udp { length } => {
                bytes.extend(length.of(8 + usize::from(self.payload)).to_be_bytes());
                bytes.extend([0, 0]);
            }
            Kind::Tcp { flags, data_offset } => {
                bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, data_offset << 4, flags]);
                bytes.extend([0x04, 0, 0, 0, 0, 0]);
            }
            Kind::Other(_) => bytes.extend([0; 4]),
        }
        bytes.extend(iter::repeat_n(0x70, usize::from(self.payload)));
        bytes
    }
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        for (octet, bit) in &self.flips {
            if let Some(octet) = bytes.get_mut(*octet) {
                *octet ^= 1 << bit;
            }
        }
        let (padding, value) = self.padding;
        bytes.extend(iter::repeat_n(value, padding));
        bytes.truncate(self.cut.unwrap_or(usize::MAX));
    }
}
