//! libpcap's link types, and the link layers of the parser.

use conntrack_common::wire::LinkLayer;
use pcap::Linktype;

use super::capture::LinkType;

/// Raw IP on Linux devices; files have 101, [`Linktype::RAW`].
pub(super) const DLT_RAW: Linktype = Linktype(12);

/// The link layer of a link type, or the name of an unsupported one.
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

/// Its name, else its number.
pub(super) fn name(link_type: Linktype) -> String {
    link_type.get_name().unwrap_or_else(|_| link_type.0.to_string())
}

impl LinkType {
    /// Its link layer, if supported.
    pub fn layer(self) -> Option<LinkLayer> {
        known(self.into())
    }
}

/// Link types of files and devices have the same numbers, except those that differ between systems.
impl From<LinkType> for Linktype {
    fn from(LinkType(number): LinkType) -> Self {
        Self(number.into())
    }
}
