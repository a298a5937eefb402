//! Packet bytes out of the kernel's contexts. Everything `unsafe` about reading packets is here.
#![expect(unsafe_code, reason = "packets are raw pointers and helpers that write through them")]

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_hdr_start_off::BPF_HDR_START_NET,
    helpers::generated::{bpf_skb_load_bytes_relative, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};
use conntrack_common::wire::PacketBytes;

/// A packet at a TC hook, from its link header on.
pub(crate) struct Frame<'a>(pub(crate) &'a TcContext);

impl PacketBytes for Frame<'_> {
    /// `bpf_skb_load_bytes` reads linear and paged bytes alike and checks the bounds.
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.load(offset).ok()
    }
}

/// A packet at a TC hook of a device without link header, from its network header on.
///
/// What stands before the network header differs from device to device and between ingress and
/// egress (a tunnel's outer header, for one); where it starts, the kernel knows.
pub(crate) struct Datagram<'a>(pub(crate) &'a TcContext);

impl PacketBytes for Datagram<'_> {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the helper writes exactly N bytes to where N bytes are, or fails.
        let failed = unsafe {
            bpf_skb_load_bytes_relative(
                self.0.as_ptr(),
                offset as u32,
                bytes.as_mut_ptr().cast(),
                N as u32,
                BPF_HDR_START_NET,
            )
        };
        // SAFETY: the helper did not fail, so it wrote all bytes.
        (failed == 0).then(|| unsafe { bytes.assume_init() })
    }

    /// `skb->protocol`: what the device said when it handed the packet over.
    #[inline(always)]
    fn ether_type(&self) -> Option<u16> {
        // The low 16 bits, in network byte order.
        Some(u16::from_be(self.0.skb.protocol() as u16))
    }
}

/// A packet at an XDP hook, as the driver received it.
pub(crate) struct Buffer<'a>(pub(crate) &'a XdpContext);

impl PacketBytes for Buffer<'_> {
    /// `bpf_xdp_load_bytes` (Linux 5.18) reads all pieces of a packet alike and checks the bounds.
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the helper writes exactly N bytes to where N bytes are, or fails.
        let failed = unsafe {
            bpf_xdp_load_bytes(self.0.ctx, offset as u32, bytes.as_mut_ptr().cast(), N as u32)
        };
        // SAFETY: the helper did not fail, so it wrote all bytes.
        (failed == 0).then(|| unsafe { bytes.assume_init() })
    }
}
