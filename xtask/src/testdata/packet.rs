//! An IP packet as a case describes it, and its bytes.
//!
//! Not a packet library: it can express what a case needs, malformed fields above all, and fills in
//! the rest (lengths, checksums) as a correct sender would.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

// Protocol numbers, <https://www.iana.org/assignments/protocol-numbers>.
pub(super) const ICMP: u8 = 1;
pub(super) const IGMP: u8 = 2;
pub(super) const IPV4_IN_IP: u8 = 4;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const DCCP: u8 = 33;
pub(super) const IPV6_IN_IP: u8 = 41;
pub(super) const GRE: u8 = 47;
pub(super) const ESP: u8 = 50;
pub(super) const ICMP_FOR_IPV6: u8 = 58;
pub(super) const NO_NEXT_HEADER: u8 = 59;
pub(super) const SCTP: u8 = 132;
pub(super) const MOBILITY: u8 = 135;
pub(super) const UDP_LITE: u8 = 136;
pub(super) const HIP: u8 = 139;
pub(super) const SHIM6: u8 = 140;

// TCP's flags, RFC 9293, section 3.1.
pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;
pub(super) const URG: u8 = 0x20;
pub(super) const ECE: u8 = 0x40;
pub(super) const CWR: u8 = 0x80;

/// A recognisable filler: read as a port it is 42405, which no tree may contain.
pub(super) const FILLER: u8 = 0xa5;

/// A fragment header. Offsets count 8 bytes.
#[derive(Clone, Copy)]
pub(super) enum Fragment {
    /// Offset 0, more to come.
    First,
    /// An offset, more to come.
    Middle(u16),
    /// An offset, nothing more to come.
    Last(u16),
    /// Offset 0, nothing more to come: not a fragment, though IPv6 can say so in a header.
    Atomic,
    /// Like `Atomic`, with every unrelated bit set.
    OtherBits,
}

impl Fragment {
    /// RFC 791, section 3.1: reserved, DF, MF, 13 bits of offset.
    fn ipv4(self) -> u16 {
        match self {
            Self::First => 0x2000,
            Self::Middle(offset) => 0x2000 | offset,
            Self::Last(offset) => offset,
            Self::Atomic => 0,
            Self::OtherBits => 0xc000,
        }
    }

    /// RFC 8200, section 4.5: 13 bits of offset, two reserved, M.
    fn ipv6(self) -> u16 {
        match self {
            Self::First => 1,
            Self::Middle(offset) => offset << 3 | 1,
            Self::Last(offset) => offset << 3,
            Self::Atomic => 0,
            Self::OtherBits => 0b110,
        }
    }
}

/// An IPv6 extension header.
#[derive(Clone, Copy)]
pub(super) enum Ext {
    HopByHop,
    Routing,
    DestOptions,
    /// Destination options of this many times 8 bytes, besides the first 8.
    LongDestOptions(u8),
    /// Destination options of 8 bytes that claim to be 2048.
    OverlongDestOptions,
    Auth,
    Fragment(Fragment),
}

impl Ext {
    fn number(self) -> u8 {
        match self {
            Self::HopByHop => 0,
            Self::Routing => 43,
            Self::Fragment(_) => 44,
            Self::Auth => 51,
            Self::DestOptions | Self::LongDestOptions(_) | Self::OverlongDestOptions => 60,
        }
    }

    /// The header; each begins with the number of the next. Option space is all Pad1 (zero).
    fn bytes(self, next: u8) -> Vec<u8> {
        match self {
            // RFC 8200, sections 4.3 and 4.6: length in 8 bytes, the first 8 not counted.
            Self::HopByHop => zero_padded(&[next, 1], 16),
            Self::DestOptions => zero_padded(&[next, 0], 8),
            Self::LongDestOptions(units) => zero_padded(&[next, units], 8 + 8 * usize::from(units)),
            Self::OverlongDestOptions => zero_padded(&[next, 255], 8),
            // RFC 8200, section 4.4: length likewise, type (253, RFC 4727), segments left.
            Self::Routing => zero_padded(&[next, 2, 253, 0], 24),
            // RFC 4302, section 2: length in 4 bytes less 2, reserved, SPI, sequence number,
            // 12 bytes of check value.
            Self::Auth => zero_padded(&[next, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1], 24),
            // RFC 8200, section 4.5: reserved, offset and flags, identification.
            Self::Fragment(fragment) => {
                let [high, low] = fragment.ipv6().to_be_bytes();
                vec![next, 0, high, low, 0, 0, 0, 1]
            }
        }
    }
}

fn zero_padded(start: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = start.to_vec();
    bytes.resize(length, 0);
    bytes
}

/// An IP packet: correct except for the fields that a case malformed.
#[derive(Clone)]
pub(super) struct Packet {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    /// What the IP header carries: the TCP or UDP header and its payload, or anything.
    pub(super) transport: Vec<u8>,
    /// How many bytes of `transport` are carried.
    pub(super) cut: usize,
    pub(super) wrong_checksums: bool,
    pub(super) version: Option<u8>,
    /// Of IPv4's total length or IPv6's payload length.
    pub(super) length: Option<u16>,
    /// IPv4 only, as are the next two.
    pub(super) ihl: Option<u8>,
    pub(super) option_words: u8,
    pub(super) fragment: Fragment,
    /// IPv6 only.
    pub(super) ext: Vec<Ext>,
}

impl Packet {
    /// Panics if the addresses are not of one family: the case table is wrong then.
    pub(super) fn new(
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        transport: Vec<u8>,
    ) -> Self {
        assert_eq!(source.is_ipv4(), destination.is_ipv4(), "{source} and {destination}");
        Self {
            source,
            destination,
            protocol,
            transport,
            cut: usize::MAX,
            wrong_checksums: false,
            version: None,
            length: None,
            ihl: None,
            option_words: 0,
            fragment: Fragment::Atomic,
            ext: Vec::new(),
        }
    }

    /// RFC 768: ports, length, checksum (filled in later); then a payload.
    pub(super) fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Self {
        let mut bytes = ports(source, destination);
        bytes.extend(be16(8 + payload.len()));
        bytes.extend([0, 0]);
        bytes.extend(payload);
        Self::new(source.ip(), destination.ip(), UDP, bytes)
    }

    /// RFC 9293, section 3.1: ports, sequence number, acknowledgment number, data offset, flags,
    /// window, checksum (filled in later), urgent pointer; then a payload.
    pub(super) fn tcp(source: SocketAddr, destination: SocketAddr, flags: u8) -> Self {
        let mut bytes = ports(source, destination);
        bytes.extend(1_u32.to_be_bytes());
        bytes.extend(u32::from(flags & ACK != 0).to_be_bytes());
        bytes.extend([5 << 4, flags]);
        bytes.extend(64240_u16.to_be_bytes());
        bytes.extend([0; 4]);
        Self::new(source.ip(), destination.ip(), TCP, bytes)
    }

    /// The packet's bytes, from its IP header on.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let transport = self.checked_transport();
        let carried = &transport[..transport.len().min(self.cut)];
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.ipv4(source, destination, carried)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.ipv6(source, destination, carried)
            }
            _ => unreachable!("Packet::new takes one family only"),
        }
    }

    /// RFC 791, section 3.1: version and IHL, type of service, total length, identification,
    /// fragment, time to live, protocol, checksum, addresses, options.
    fn ipv4(&self, source: Ipv4Addr, destination: Ipv4Addr, carried: &[u8]) -> Vec<u8> {
        let header_length = 20 + 4 * usize::from(self.option_words);
        let version = self.version.unwrap_or(4);
        let mut bytes = vec![version << 4 | self.ihl.unwrap_or(5 + self.option_words), 0];
        bytes.extend(self.length.map_or(be16(header_length + carried.len()), u16::to_be_bytes));
        bytes.extend(1_u16.to_be_bytes());
        bytes.extend(self.fragment.ipv4().to_be_bytes());
        bytes.extend([64, self.protocol, 0, 0]);
        bytes.extend(source.octets());
        bytes.extend(destination.octets());
        // Option 1, no operation: ports read out of options would be 257.
        bytes.resize(header_length, 1);
        let checksum = self.checksum(&bytes);
        bytes[10..12].copy_from_slice(&checksum);
        bytes.extend(carried);
        bytes
    }

    /// RFC 8200, section 3: version, traffic class and flow label, payload length, next header,
    /// hop limit, addresses; then the extension headers.
    fn ipv6(&self, source: Ipv6Addr, destination: Ipv6Addr, carried: &[u8]) -> Vec<u8> {
        let mut payload = carried.to_vec();
        let mut next = self.protocol;
        for ext in self.ext.iter().rev() {
            payload.splice(..0, ext.bytes(next));
            next = ext.number();
        }
        let mut bytes = vec![self.version.unwrap_or(6) << 4, 0, 0, 0];
        bytes.extend(self.length.map_or(be16(payload.len()), u16::to_be_bytes));
        bytes.extend([next, 64]);
        bytes.extend(source.octets());
        bytes.extend(destination.octets());
        bytes.extend(payload);
        bytes
    }

    /// The transport bytes with their checksum over the pseudo-header: RFC 9293, section 3.1;
    /// RFC 768; RFC 8200, section 8.1.
    fn checked_transport(&self) -> Vec<u8> {
        let mut bytes = self.transport.clone();
        let at = match self.protocol {
            TCP => 16,
            UDP => 6,
            _ => return bytes,
        };
        let mut covered = match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
            (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
            _ => unreachable!("Packet::new takes one family only"),
        };
        covered.extend([0, self.protocol]);
        covered.extend(be16(bytes.len()));
        covered.extend(&bytes);
        let checksum = self.checksum(&covered);
        bytes[at..at + 2].copy_from_slice(&checksum);
        bytes
    }

    /// RFC 1071: the complement of the one's complement sum of all 16-bit words.
    fn checksum(&self, bytes: &[u8]) -> [u8; 2] {
        let mut sum: u32 = bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
            .sum();
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        let [.., high, low] = if self.wrong_checksums { sum } else { !sum }.to_be_bytes();
        [high, low]
    }
}

fn ports(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat()
}

fn be16(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("a packet of the table fits 16 bits").to_be_bytes()
}
