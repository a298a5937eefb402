//! Causes for which packets are no flows.

/// Why a packet is not a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Skip {
    /// Neither IPv4 nor IPv6.
    NotIp,
    /// IP, but neither TCP nor UDP.
    OtherProtocol,
    /// A fragment other than the first: it carries no ports.
    LaterFragment,
    /// TCP that does not open a connection.
    NotOpening,
    /// The packet ends before its ports (TCP: before its flags).
    Truncated,
    /// An IP header that contradicts itself or the frame: version, header length, total length.
    BadHeader,
    /// More than [`super::ipv6::MAX_EXTENSION_HEADERS`] extension headers.
    TooManyHeaders,
    /// More than [`super::vlan::MAX_TAGS`] VLAN tags in the frame, more than [`mpls::MAX_LABELS`] MPLS labels,
    /// or more than [`encapsulation::MAX_HEADERS`] of all that can stand before IP.
    TooManyTags,
    /// A flow that the settings leave out of the tree.
    LeftOut,
    /// A datagram that a server on this machine sends from a port that the settings name.
    UdpServer,
}

impl Skip {
    /// Number of causes.
    pub(crate) const COUNT: u32 = 10;

    /// Every cause, in the order of the counters.
    pub const ALL: [Self; Self::COUNT as usize] = [
        Self::NotIp,
        Self::OtherProtocol,
        Self::LaterFragment,
        Self::NotOpening,
        Self::Truncated,
        Self::BadHeader,
        Self::TooManyHeaders,
        Self::TooManyTags,
        Self::LeftOut,
        Self::UdpServer,
    ];

    /// Causes that may hide a flow: the packet could not be parsed up to its ports.
    pub const UNREADABLE: [Self; 4] =
        [Self::Truncated, Self::BadHeader, Self::TooManyHeaders, Self::TooManyTags];

    /// Whether a reader that parses everything may still find a flow.
    #[inline(always)]
    pub const fn is_provisional(self) -> bool {
        matches!(self, Self::NotIp | Self::Truncated)
    }

    /// The cause in words, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotIp => "not IP",
            Self::OtherProtocol => "neither TCP nor UDP",
            Self::LaterFragment => "later fragment",
            Self::NotOpening => "TCP not opening",
            Self::Truncated => "truncated",
            Self::BadHeader => "bad IP header",
            Self::TooManyHeaders => "too many extension headers",
            Self::TooManyTags => "too many tags or labels",
            Self::LeftOut => "left out by the settings",
            Self::UdpServer => "sent from a --udp-in port",
        }
    }
}
