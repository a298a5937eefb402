//! The flow key: what identifies a flow, laid out for a BPF hash map.
//!
//! Not the packet (see [`crate::wire`]) and not yet a connection: direction and folding are
//! decided in user space.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use network_types::ip::IpProto;

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

/// The version of the Internet Protocol, by its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum IpVersion {
    /// RFC 791.
    V4 = 4,
    /// RFC 8200.
    V6 = 6,
}

/// An address as 16 octets in network byte order; IPv4 as IPv4-mapped (RFC 4291 section 2.5.5.2).
pub type AddressOctets = [u8; 16];

/// The IPv4-mapped form of an IPv4 address, so that one key serves both families.
#[inline(always)]
pub const fn mapped([a, b, c, d]: [u8; 4]) -> AddressOctets {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// A 5-tuple as the key of the flow map: 40 bytes, no hidden padding.
///
/// The map compares keys byte by byte, so every byte has a value: integers and arrays only.
/// `version` keeps an IPv6 packet that carries an IPv4-mapped address apart from an IPv4 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct FlowKey {
    src: AddressOctets,
    dst: AddressOctets,
    /// Host byte order.
    src_port: u16,
    /// Host byte order.
    dst_port: u16,
    /// A [`Protocol`].
    protocol: u8,
    /// An [`IpVersion`].
    version: u8,
    pad: [u8; 2],
}

const _: () = assert!(size_of::<FlowKey>() == 40, "the key's size is part of the map's layout");
const _: () = assert!(align_of::<FlowKey>() == 2, "fields follow one another without gaps");

impl FlowKey {
    /// A key of addresses in network byte order and ports in host byte order.
    #[inline(always)]
    pub const fn new(
        version: IpVersion,
        protocol: Protocol,
        (src, src_port): (AddressOctets, u16),
        (dst, dst_port): (AddressOctets, u16),
    ) -> Self {
        Self {
            src,
            dst,
            src_port,
            dst_port,
            protocol: protocol as u8,
            version: version as u8,
            pad: [0; 2],
        }
    }

    /// The sender's address.
    pub fn src(&self) -> IpAddr {
        self.address(self.src)
    }

    /// The receiver's address.
    pub fn dst(&self) -> IpAddr {
        self.address(self.dst)
    }

    /// The sender's port.
    pub const fn src_port(&self) -> u16 {
        self.src_port
    }

    /// The receiver's port.
    pub const fn dst_port(&self) -> u16 {
        self.dst_port
    }

    /// The transport protocol; `None` for a key that no parser of ours made.
    pub const fn protocol(&self) -> Option<Protocol> {
        Protocol::from_number(self.protocol)
    }

    fn address(&self, octets: AddressOctets) -> IpAddr {
        if self.version == IpVersion::V4 as u8 {
            let [.., a, b, c, d] = octets;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::V6(Ipv6Addr::from(octets))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_comes_back_as_it_went_in() {
        let key = FlowKey::new(
            IpVersion::V4,
            Protocol::Udp,
            (mapped([192, 0, 2, 1]), 1),
            (mapped([192, 0, 2, 2]), 53),
        );
        assert_eq!(key.src(), IpAddr::from([192, 0, 2, 1]));
        assert_eq!(key.dst(), IpAddr::from([192, 0, 2, 2]));
        assert_eq!((key.src_port(), key.dst_port()), (1, 53));
        assert_eq!(key.protocol(), Some(Protocol::Udp));
    }

    #[test]
    fn a_mapped_address_in_an_ipv6_packet_stays_ipv6() {
        let ends = ((mapped([192, 0, 2, 1]), 1), (mapped([192, 0, 2, 2]), 2));
        let v4 = FlowKey::new(IpVersion::V4, Protocol::Tcp, ends.0, ends.1);
        let v6 = FlowKey::new(IpVersion::V6, Protocol::Tcp, ends.0, ends.1);
        assert_ne!(v4, v6);
        assert!(v6.src().is_ipv6());
    }
}
