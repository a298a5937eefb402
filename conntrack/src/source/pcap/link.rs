//! libpcap's link types, as far as the parser reads them.

use conntrack_common::wire::LinkLayer;
use pcap::Linktype;

use super::capture::LinkType;

/// Raw IP by the number that Linux has for it live; files have 101, [`Linktype::RAW`].
pub(super) const DLT_RAW: Linktype = Linktype(12);

/// What stands before the IP header; the link type's name if that is something unknown.
pub(super) fn layer(link_type: Linktype) -> Result<LinkLayer, String> {
    match link_type {
        Linktype::ETHERNET => Ok(LinkLayer::Ethernet),
        DLT_RAW | Linktype::RAW => Ok(LinkLayer::Ip),
        Linktype::IPV4 => Ok(LinkLayer::Ipv4),
        Linktype::IPV6 => Ok(LinkLayer::Ipv6),
        Linktype::LINUX_SLL => Ok(LinkLayer::Sll),
        Linktype::LINUX_SLL2 => Ok(LinkLayer::Sll2),
        Linktype::NULL | Linktype::LOOP => Ok(LinkLayer::BsdLoopback),
        Linktype::PPP | Linktype::PPP_HDLC => Ok(LinkLayer::Ppp),
        other => Err(name(other)),
    }
}

/// What people call it, or its number.
pub(super) fn name(link_type: Linktype) -> String {
    link_type.get_name().unwrap_or_else(|_| link_type.0.to_string())
}

/// Files have the same numbers, but for those that differ between systems.
impl From<LinkType> for Linktype {
    fn from(LinkType(number): LinkType) -> Self {
        Self(number.into())
    }
}
