//! libpcap's link types, as far as the parser reads them.

use conntrack_common::wire::LinkLayer;
use pcap::Linktype;

/// What stands before the IP header; the link type's name if that is something unknown.
pub(super) fn layer(link_type: Linktype) -> Result<LinkLayer, String> {
    match link_type {
        Linktype::ETHERNET => Ok(LinkLayer::Ethernet),
        DLT_RAW | Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 => Ok(LinkLayer::Ip),
        other => Err(other.get_name().unwrap_or_else(|_| other.0.to_string())),
    }
}

/// Raw IP by the number that Linux has for it; files have 101, [`Linktype::RAW`].
pub(super) const DLT_RAW: Linktype = Linktype(12);
