//! An IP header, and the `EtherType`s that announce one.

use network_types::eth::EtherType;

use super::{packet::PacketBytes, skip::Skip};
use crate::{address::IpVersion, flow::Protocol};

/// `EtherType` of IPv4, host byte order.
pub const IPV4: u16 = u16::from_be(EtherType::Ipv4 as u16);
/// `EtherType` of IPv6, host byte order.
pub const IPV6: u16 = u16::from_be(EtherType::Ipv6 as u16);

/// An IP header that has been walked to its end. Its addresses are there, and not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    pub(super) version: IpVersion,
    /// Where the IP header starts.
    pub(super) header: usize,
    pub(super) protocol: Protocol,
    /// Where the transport header starts.
    pub(super) payload: usize,
    /// Where the packet ends by its own account; what lies behind is padding.
    pub(super) end: usize,
}

/// The `EtherType` that the version stands for with which every IP header starts.
#[inline(always)]
pub(super) fn bare_ip<P: PacketBytes + ?Sized>(packet: &P, offset: usize) -> Result<u16, Skip> {
    // Two octets, because the compiler checks the bounds of one in a way the verifier does not follow.
    let [version_ihl, _] = packet.load(offset).ok_or(Skip::Truncated)?;
    match version_ihl >> 4 {
        4 => Ok(IPV4),
        6 => Ok(IPV6),
        _ => Err(Skip::NotIp),
    }
}
