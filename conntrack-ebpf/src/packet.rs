//! Packet bytes out of the kernel's contexts. Everything `unsafe` about reading packets is here.
//!
//! All of it goes through helpers, which check the bounds and, but for one, read linear and paged
//! bytes alike.
#![expect(unsafe_code, reason = "helpers write through raw pointers")]
#![expect(clippy::cast_possible_truncation, reason = "offsets are far below 2^32")]

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_hdr_start_off::BPF_HDR_START_NET,
    helpers::generated::{bpf_skb_load_bytes, bpf_skb_load_bytes_relative, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};
use conntrack_common::wire::PacketBytes;

/// A packet at a TC hook, from its link header on.
pub(crate) struct Frame<'a>(pub(crate) &'a TcContext);

impl PacketBytes for Frame<'_> {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // SAFETY: the context is the kernel's own, and `to` has room for `length` bytes.
        loaded(|to, length| unsafe {
            bpf_skb_load_bytes(self.0.as_ptr(), offset as u32, to, length)
        })
    }
}

/// A packet at a TC hook of a device without link header: it starts with its IP header.
pub(crate) struct Bare<'a>(pub(crate) &'a TcContext);

impl PacketBytes for Bare<'_> {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        Frame(self.0).load(offset)
    }

    #[inline(always)]
    fn ether_type(&self) -> Option<u16> {
        Some(protocol(self.0))
    }
}

/// A packet at a TC hook of a tunnel device, from its network header on.
///
/// What stands before the network header differs between ingress, where it may be the outer header,
/// and egress; where it starts, the kernel knows. This helper does not read what lies in pages, but a
/// tunnel pulls the inner header out of them to look at it.
pub(crate) struct Datagram<'a>(pub(crate) &'a TcContext);

impl PacketBytes for Datagram<'_> {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let (skb, offset) = (self.0.as_ptr(), offset as u32);
        // SAFETY: as in `Frame`.
        loaded(|to, length| unsafe {
            bpf_skb_load_bytes_relative(skb, offset, to, length, BPF_HDR_START_NET)
        })
    }

    #[inline(always)]
    fn ether_type(&self) -> Option<u16> {
        Some(protocol(self.0))
    }
}

/// `skb->protocol`: what the device said when it handed the packet over. The low 16 bits of the field
/// are in network byte order.
#[inline(always)]
fn protocol(ctx: &TcContext) -> u16 {
    u16::from_be(ctx.skb.protocol() as u16)
}

/// A packet at an XDP hook, as the driver received it.
pub(crate) struct Buffer<'a>(pub(crate) &'a XdpContext);

impl PacketBytes for Buffer<'_> {
    /// By `bpf_xdp_load_bytes`, of Linux 5.18.
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // SAFETY: as in `Frame`.
        loaded(|to, length| unsafe { bpf_xdp_load_bytes(self.0.ctx, offset as u32, to, length) })
    }
}

/// The bytes that a helper writes; `None` if it fails, as it does where the packet ends before.
#[inline(always)]
fn loaded<const N: usize>(helper: impl FnOnce(*mut c_void, u32) -> i64) -> Option<[u8; N]> {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    if helper(bytes.as_mut_ptr().cast(), N as u32) != 0 {
        return None;
    }
    // SAFETY: a helper that does not fail has written all N bytes.
    Some(unsafe { bytes.assume_init() })
}
