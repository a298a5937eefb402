//! The flow key: what identifies a flow, laid out for a BPF hash map.
//!
//! Not the packet (see [`crate::wire`]) and not yet a connection: what the tree shows of it is
//! decided in user space. What it can never show may be cleared before (see [`crate::rules`]).

use network_types::ip::IpProto;

use crate::address::{Address, Words};

/// The two transport protocols that have ports to tell flows apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// RFC 9293.
    Tcp = IpProto::Tcp as u8,
    /// RFC 768.
    Udp = IpProto::Udp as u8,
}

impl Protocol {
    /// The protocol with this number in the IPv4 protocol or IPv6 next-header field.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Option<Self> {
        const TCP: u8 = Protocol::Tcp as u8;
        const UDP: u8 = Protocol::Udp as u8;
        match number {
            TCP => Some(Self::Tcp),
            UDP => Some(Self::Udp),
            _ => None,
        }
    }
}

/// Whose conversation a flow is, seen from the watched device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Direction {
    /// Somebody else opened it to an address of the device.
    In = 1,
    /// An address of the device opened it.
    Out = 2,
    /// Neither end is the device; multicast and broadcast from others among them.
    Else = 3,
}

impl Direction {
    /// Every direction.
    pub const ALL: [Self; 3] = [Self::In, Self::Out, Self::Else];
}

/// A 5-tuple as the key of the flow map: 40 bytes, no hidden padding. A coarse one has what the
/// tree can never show cleared, and says so in its last two bytes.
///
/// The default is no key of a packet: it has no version.
///
/// The map compares keys byte by byte, so every byte has a value: integers and arrays only.
/// `version` keeps an IPv6 packet that carries an IPv4-mapped address apart from an IPv4 packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct FlowKey {
    src: Words,
    dst: Words,
    /// Host byte order.
    src_port: u16,
    /// Host byte order.
    dst_port: u16,
    /// A [`Protocol`].
    protocol: u8,
    /// An [`IpVersion`](crate::address::IpVersion).
    version: u8,
    /// The [`Direction`] of a coarse key; else 0.
    direction: u8,
    /// Whether the remote address of a coarse key is cleared: 0 or 1.
    is_remote_cleared: u8,
}

const _: () = assert!(size_of::<FlowKey>() == 40, "the key's size is part of the map's layout");

/// 8-byte words of a key.
pub const KEY_WORDS: usize = size_of::<FlowKey>() / size_of::<u64>();

impl FlowKey {
    /// A key of a sender and a receiver of the same IP version, each with its port in host byte order.
    #[inline(always)]
    pub const fn new(
        protocol: Protocol,
        (src, src_port): (Address, u16),
        (dst, dst_port): (Address, u16),
    ) -> Self {
        Self {
            src: src.words(),
            dst: dst.words(),
            src_port,
            dst_port,
            protocol: protocol as u8,
            version: src.version(),
            direction: 0,
            is_remote_cleared: 0,
        }
    }

    /// The 5-tuple of the other direction. Not for a coarse key, which stands for many.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            ..*self
        }
    }

    /// Makes it the key of all flows in this direction that have this source port, the same
    /// destination port and local address, and the same remote address or, if that is cleared, any.
    #[inline(always)]
    pub const fn make_coarse(&mut self, direction: Direction, src_port: u16, clear_remote: bool) {
        self.direction = direction as u8;
        self.src_port = src_port;
        self.is_remote_cleared = clear_remote as u8;
        match direction {
            Direction::In if clear_remote => self.src = [0; 4],
            Direction::Out if clear_remote => self.dst = [0; 4],
            _ => {}
        }
    }

    /// The sender's address.
    #[inline(always)]
    pub const fn src(&self) -> Address {
        Address::new(self.version, self.src)
    }

    /// The receiver's address.
    #[inline(always)]
    pub const fn dst(&self) -> Address {
        Address::new(self.version, self.dst)
    }

    /// The sender's port.
    #[inline(always)]
    pub const fn src_port(&self) -> u16 {
        self.src_port
    }

    /// The receiver's port.
    #[inline(always)]
    pub const fn dst_port(&self) -> u16 {
        self.dst_port
    }

    /// The transport protocol; `None` for a key that no parser of ours made.
    #[inline(always)]
    pub const fn protocol(&self) -> Option<Protocol> {
        Protocol::from_number(self.protocol)
    }

    /// Whether the transport protocol is UDP.
    #[inline(always)]
    pub const fn is_udp(&self) -> bool {
        self.protocol == Protocol::Udp as u8
    }

    /// The direction of a coarse key, which was decided when its packet was seen.
    pub const fn direction(&self) -> Option<Direction> {
        const IN: u8 = Direction::In as u8;
        const OUT: u8 = Direction::Out as u8;
        match self.direction {
            IN => Some(Direction::In),
            OUT => Some(Direction::Out),
            _ => None,
        }
    }

    /// Whether the remote address is cleared, because it is one of the internet.
    pub const fn is_remote_cleared(&self) -> bool {
        self.is_remote_cleared != 0
    }

    /// The whole key in words, for hashing and comparing.
    #[inline(always)]
    pub const fn words(&self) -> [u64; KEY_WORDS] {
        let src = &self.src;
        let dst = &self.dst;
        let ports = (self.src_port as u32) << 16 | self.dst_port as u32;
        let kind = [self.protocol, self.version, self.direction, self.is_remote_cleared];
        [
            pair(src[0], src[1]),
            pair(src[2], src[3]),
            pair(dst[0], dst[1]),
            pair(dst[2], dst[3]),
            pair(ports, u32::from_ne_bytes(kind)),
        ]
    }
}

#[inline(always)]
const fn pair(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;

    fn end(address: &str, port: u16) -> (Address, u16) {
        (Address::from(address.parse::<IpAddr>().expect("an address")), port)
    }

    #[test]
    fn what_goes_in_comes_back() {
        let src = end("192.0.2.1", 1);
        let dst = end("192.0.2.2", 53);
        let key = FlowKey::new(Protocol::Udp, src, dst);
        assert_eq!((key.src(), key.src_port()), src);
        assert_eq!((key.dst(), key.dst_port()), dst);
        assert_eq!(key.protocol(), Some(Protocol::Udp));
        assert_eq!(key.direction(), None);
    }

    #[test]
    fn a_mapped_address_in_an_ipv6_packet_stays_ipv6() {
        let key = |a, b| FlowKey::new(Protocol::Tcp, end(a, 1), end(b, 2));
        let v6 = key("::ffff:192.0.2.1", "::ffff:192.0.2.2");
        assert_ne!(v6, key("192.0.2.1", "192.0.2.2"));
        assert!(v6.src().ip().is_ipv6());
    }

    #[test]
    fn keys_that_differ_have_words_that_differ() {
        let key = FlowKey::new(Protocol::Tcp, end("192.0.2.1", 1), end("192.0.2.2", 2));
        let mut coarse = key;
        coarse.make_coarse(Direction::In, 1, false);
        let mut cleared = key;
        cleared.make_coarse(Direction::In, 1, true);
        let udp = FlowKey::new(Protocol::Udp, end("192.0.2.1", 1), end("192.0.2.2", 2));
        let words = [key, coarse, cleared, udp].map(|key| key.words());
        for (i, one) in words.iter().enumerate() {
            assert!(!words[i + 1..].contains(one));
        }
    }
}
