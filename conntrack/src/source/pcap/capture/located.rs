//! What is found in the octets of a capture.

use std::{ops::Range, time::Duration};

/// Octets of the longest packet, the same as libpcap's limit.
pub(super) const MAX_PACKET: u32 = 262_144;

/// A number of <https://www.tcpdump.org/linktypes.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkType(pub u16);

/// Result of parsing the start of the buffer.
pub(super) enum Found {
    Packet(Located),
    /// So many octets without a packet.
    Other(u32),
    /// So many octets are required.
    Needs(usize),
}

/// A packet's place in the buffer.
pub(super) struct Located {
    pub(super) data: Range<usize>,
    /// Octets up to the next record or block.
    pub(super) length: usize,
    pub(super) link_type: LinkType,
    /// Since 1970, if the packet has a time.
    pub(super) time: Option<Duration>,
}
