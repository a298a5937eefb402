//! Packet bytes out of the kernel's contexts.

use aya_ebpf::programs::TcContext;
use conntrack_common::wire::PacketBytes;

/// A packet that a hook handed to a program.
pub(crate) struct Packet<'a, C>(pub(crate) &'a C);

impl PacketBytes for Packet<'_, TcContext> {
    /// `bpf_skb_load_bytes` reads linear and paged bytes alike and checks the bounds.
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.load(offset).ok()
    }
}
