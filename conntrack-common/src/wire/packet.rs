//! Bytes of a packet. Constant sizes, so that the verifier can follow.

/// VLAN tags that are stepped over: one customer tag inside one service tag.
pub const MAX_TAGS: usize = 2;

/// Bytes of a packet: a slice, or a packet in the kernel.
pub trait PacketBytes {
    /// The `N` bytes at `offset`, or `None` if the packet ends before them.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// The `N` words at `offset`, in memory order, or `None` if the packet ends before them. For fields
    /// that are copied, word by word.
    #[inline(always)]
    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]> {
        let mut words = [0; N];
        for (i, word) in words.iter_mut().enumerate() {
            *word = u32::from_ne_bytes(self.load(offset + i * size_of::<u32>())?);
        }
        Some(words)
    }

    /// The kernel's `EtherType` of a packet without a link header, host byte order; `None` where it is
    /// unknown.
    #[inline(always)]
    fn ether_type(&self) -> Option<u16> {
        None
    }

    /// VLAN tags that may stand in the bytes.
    #[inline(always)]
    fn max_tags(&self) -> usize {
        MAX_TAGS
    }

    /// Whether only the usual is looked for: IP behind a link header and standard VLAN tags. A second
    /// look may find more, see [`super::Skip::is_provisional`].
    #[inline(always)]
    fn is_first_look(&self) -> bool {
        false
    }
}

impl PacketBytes for [u8] {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

/// The two octets at `at` as a number, host byte order.
#[inline(always)]
pub(super) const fn u16_at<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}
