//! What was seen of a flow: a set of bits, the same in the kernel's flow map and in user space.

use core::ops::{BitOr, BitOrAssign};

use crate::{address::Address, flow::FlowKey};

/// What was seen of a flow between two drains. A value of the flow map, so every bit pattern is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Seen(u64);

impl Seen {
    /// TCP: a SYN without ACK. UDP: a datagram that answers none.
    pub const OPENS: Self = Self(1);
    /// UDP: a datagram that answers one of the reverse flow.
    pub const REPLIES: Self = Self(1 << 1);
    /// TCP: a SYN-ACK of the reverse flow. UDP: a datagram of the reverse flow that answers this one.
    pub const ANSWERED: Self = Self(1 << 2);
    /// TCP: an RST of the reverse flow that answers a SYN.
    pub const REFUSED: Self = Self(1 << 3);

    /// The set as bits.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set of these bits.
    #[inline(always)]
    pub const fn of_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether all of `others` were seen.
    #[inline(always)]
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether a packet of the flow itself was seen, not only one that answers it.
    #[inline(always)]
    pub const fn has_packet(self) -> bool {
        self.0 & (Self::OPENS.0 | Self::REPLIES.0) != 0
    }
}

impl BitOr for Seen {
    type Output = Self;

    #[inline(always)]
    fn bitor(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

impl BitOrAssign for Seen {
    fn bitor_assign(&mut self, others: Self) {
        *self = *self | others;
    }
}

/// A value of the kernel's flow map: 24 bytes, no hidden padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Sight {
    /// When the first packet was seen: nanoseconds of `CLOCK_MONOTONIC`. The first of the flow's own, once
    /// there is one.
    pub first: u64,
    /// What was seen.
    pub seen: Seen,
    /// The control group of the first local socket that sent one of its packets, or an answer; 0 where
    /// none is known.
    pub cgroup: u64,
}

const _: () = assert!(size_of::<Sight>() == 24, "the value's size is part of the map's layout");

/// A further control group that sent packets of a flow: a key of the map of them. 48 bytes, no hidden
/// padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Sender {
    /// Which flow.
    pub key: FlowKey,
    /// The control group's number.
    pub cgroup: u64,
}

const _: () = assert!(size_of::<Sender>() == 48, "the key's size is part of the map's layout");

/// A flow and what was seen of it: what a source yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    /// Which flow.
    pub key: FlowKey,
    /// What was seen.
    pub seen: Seen,
    /// The control group of the local socket, where the kernel told it with the packets; else 0.
    pub cgroup: u64,
    /// The other end's address and the local port in its first packet that leaves, where a coarse key has
    /// lost them and the kernel does not tell the control group; else nothing and 0.
    pub remote: Address,
    /// The local port.
    pub port: u16,
}

impl Flow {
    /// A flow and what was seen of it.
    pub const fn of(key: FlowKey, seen: Seen) -> Self {
        Self { key, seen, cgroup: 0, remote: Address::NONE, port: 0 }
    }

    /// A flow of which a packet was seen that opens it.
    pub const fn opened(key: FlowKey) -> Self {
        Self::of(key, Seen::OPENS)
    }
}
