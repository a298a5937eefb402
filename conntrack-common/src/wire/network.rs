//! An IP header, and the `EtherType`s that announce one.

use network_types::eth::EtherType;

use super::{packet::PacketBytes, skip::Skip};
use crate::{address::IpVersion, flow::Protocol};

/// `EtherType` of IPv4, host byte order.
pub const IPV4: u16 = u16::from_be(EtherType::Ipv4 as u16);
/// `EtherType` of IPv6, host byte order.
pub const IPV6: u16 = u16::from_be(EtherType::Ipv6 as u16);

/// A parsed IP header. Its addresses are present, but not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    pub(super) version: IpVersion,
    /// Where the IP header starts.
    pub(super) header: usize,
    pub(super) protocol: Protocol,
    /// Where the transport header starts.
    pub(super) payload: usize,
    /// End of the packet by its own length field; the rest is padding.
    pub(super) end: usize,
}

/// The `EtherType` for the version nibble of an IP header.
#[inline(always)]
pub(super) fn bare_ip<P: PacketBytes + ?Sized>(packet: &P, offset: usize) -> Result<u16, Skip> {
    // Two octets: the verifier does not follow the compiler's bounds check for one.
    let [version_ihl, _] = packet.load(offset).ok_or(Skip::Truncated)?;
    match version_ihl >> 4 {
        4 => Ok(IPV4),
        6 => Ok(IPV6),
        _ => Err(Skip::NotIp),
    }
}
