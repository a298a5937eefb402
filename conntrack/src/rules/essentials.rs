//! Traffic that every host needs and that no recording shows: ICMP errors with path MTU discovery,
//! ping, multicast listeners, and with IPv6 neighbours, routers (RFC 4890 sections 4.3 and 4.4) and DHCP.

use self::Icmp::{
    DestinationUnreachable, EchoRequest, ListenerDone, ListenerQuery, ListenerReport,
    ListenerReportV2, NeighborAdvertisement, NeighborSolicitation, PacketTooBig, ParameterProblem,
    RouterAdvertisement, RouterSolicitation, TimeExceeded,
};

/// A kind of traffic that is always accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Essential {
    /// These messages of ICMP.
    IcmpV4(&'static [Icmp]),
    /// All of IGMP.
    Igmp,
    /// These messages of `ICMPv6`.
    IcmpV6(&'static [Icmp]),
}

/// A message of ICMP (RFC 792), `ICMPv6` (RFC 4443), neighbour discovery (RFC 4861) or multicast
/// listener discovery (RFC 2710, RFC 9777).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in their RFCs")]
pub enum Icmp {
    DestinationUnreachable,
    PacketTooBig,
    TimeExceeded,
    ParameterProblem,
    EchoRequest,
    RouterSolicitation,
    RouterAdvertisement,
    NeighborSolicitation,
    NeighborAdvertisement,
    ListenerQuery,
    ListenerReport,
    ListenerDone,
    ListenerReportV2,
}

/// A host gets its address from any server on its link (RFC 8415 section 7): the request goes to a group,
/// so connection tracking does not know the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dhcpv6 {
    /// The link.
    pub network: &'static str,
    /// Of the host.
    pub client: u16,
    /// Of the server.
    pub server: u16,
}

/// Both ends are on the link.
pub const DHCPV6: Dhcpv6 = Dhcpv6 { network: "fe80::/10", client: 546, server: 547 };

/// All messages.
pub const ESSENTIALS: [Essential; 5] = [
    Essential::IcmpV4(&[DestinationUnreachable, TimeExceeded, ParameterProblem, EchoRequest]),
    Essential::Igmp,
    Essential::IcmpV6(&[
        DestinationUnreachable,
        PacketTooBig,
        TimeExceeded,
        ParameterProblem,
        EchoRequest,
    ]),
    Essential::IcmpV6(&[
        RouterSolicitation,
        RouterAdvertisement,
        NeighborSolicitation,
        NeighborAdvertisement,
    ]),
    Essential::IcmpV6(&[ListenerQuery, ListenerReport, ListenerDone, ListenerReportV2]),
];
