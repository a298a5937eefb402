//! libpcap's link types, as far as the parser reads them.

use conntrack_common::wire::LinkLayer;
use pcap::Linktype;

use super::capture::LinkType;

/// Raw IP by the number that Linux has for it live; files have 101, [`Linktype::RAW`].
pub(super) const DLT_RAW: Linktype = Linktype(12);

/// What stands before the IP header; the link type's name if that is something unknown.
pub(super) fn layer(link_type: Linktype) -> Result<LinkLayer, String> {
    known(link_type).ok_or_else(|| name(link_type))
}

fn known(link_type: Linktype) -> Option<LinkLayer> {
    match link_type {
        Linktype::ETHERNET => Some(LinkLayer::Ethernet),
        DLT_RAW | Linktype::RAW => Some(LinkLayer::Ip),
        Linktype::IPV4 => Some(LinkLayer::Ipv4),
        Linktype::IPV6 => Some(LinkLayer::Ipv6),
        Linktype::LINUX_SLL => Some(LinkLayer::Sll),
        Linktype::LINUX_SLL2 => Some(LinkLayer::Sll2),
        Linktype::NULL | Linktype::LOOP => Some(LinkLayer::BsdLoopback),
        Linktype::PPP | Linktype::PPP_HDLC => Some(LinkLayer::Ppp),
        _ => None,
    }
}

/// What people call it, or its number.
pub(super) fn name(link_type: Linktype) -> String {
    link_type.get_name().unwrap_or_else(|_| link_type.0.to_string())
}

impl LinkType {
    /// What stands before the IP header, if that can be read.
    pub fn layer(self) -> Option<LinkLayer> {
        known(self.into())
    }
}

/// Files have the same numbers, but for those that differ between systems.
impl From<LinkType> for Linktype {
    fn from(LinkType(number): LinkType) -> Self {
        Self(number.into())
    }
}
