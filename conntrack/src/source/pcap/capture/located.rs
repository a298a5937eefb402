//! What is found in the octets of a capture.

use std::{ops::Range, time::Duration};

/// Octets that a packet may have; libpcap takes no more either.
pub(super) const MAX_PACKET: u32 = 262_144;

/// A number of <https://www.tcpdump.org/linktypes.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkType(pub u16);

/// What is at the buffer's start.
pub(super) enum Found {
    Packet(Located),
    /// Something that is no packet, of so many octets.
    Other(u32),
    /// So many octets must be there before it can be told.
    Needs(usize),
}

/// Where a packet is in the buffer.
pub(super) struct Located {
    pub(super) data: Range<usize>,
    /// Octets up to what comes next.
    pub(super) length: usize,
    pub(super) link_type: LinkType,
    /// Since 1970, if the packet says.
    pub(super) time: Option<Duration>,
}
