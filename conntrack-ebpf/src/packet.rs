//! Packet bytes out of the kernel's contexts. Everything `unsafe` about reading packets is here.
//!
//! What lies in one piece is read directly. Everything else goes through helpers, which check the
//! bounds and, but for one, read linear and paged bytes alike; each call costs more than reading all
//! headers directly.
#![expect(unsafe_code, reason = "helpers write through raw pointers")]
#![expect(clippy::cast_possible_truncation, reason = "offsets are far below 2^32")]

use core::{arch::asm, ffi::c_void, hint::black_box, mem::MaybeUninit};

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_hdr_start_off::BPF_HDR_START_NET,
    helpers::generated::{
        bpf_skb_load_bytes, bpf_skb_load_bytes_relative, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
    },
    programs::{TcContext, XdpContext},
};
use conntrack_common::wire::PacketBytes;

/// The part of a packet that lies in one piece: a first look. What lies behind looks cut off.
pub(crate) struct Linear {
    start: usize,
    end: usize,
    ether_type: Option<u16>,
}

impl Linear {
    /// Of a packet at a TC hook, from its link header on.
    #[inline(always)]
    pub(crate) fn of_skb(ctx: &TcContext) -> Self {
        Self { start: ctx.data(), end: ctx.data_end(), ether_type: Some(protocol(ctx)) }
    }

    /// Of a packet at an XDP hook.
    #[inline(always)]
    pub(crate) fn of_buffer(ctx: &XdpContext) -> Self {
        Self { start: ctx.data(), end: ctx.data_end(), ether_type: None }
    }

    /// Where so many octets lie that are wholly before the end.
    #[inline(always)]
    fn place(&self, offset: usize, length: usize) -> Option<usize> {
        let at = self.start + offset;
        (at + length <= self.end).then_some(at)
    }
}

impl PacketBytes for Linear {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // SAFETY: the octets lie between the packet's start and its end, and need no alignment.
        self.place(offset, N).map(|at| unsafe { *(at as *const [u8; N]) })
    }

    #[inline(always)]
    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]> {
        let at = self.place(offset, size_of::<[u32; N]>())?;
        let mut words = [0; N];
        for (i, word) in words.iter_mut().enumerate() {
            // SAFETY: all words lie between the packet's start and its end.
            *word = unsafe { load_word(at + i * size_of::<u32>()) };
        }
        Some(words)
    }

    #[inline(always)]
    fn ether_type(&self) -> Option<u16> {
        self.ether_type
    }

    /// It is what each packet costs.
    #[inline(always)]
    fn is_first_look(&self) -> bool {
        true
    }
}

/// Loads a word from any address, in one instruction: a load of Rust's own takes an address that is a
/// multiple of four, or four loads.
///
/// # Safety
/// The four octets at this address are a packet's. The verifier sees to that too; and to the address where
/// the machine needs aligned ones, for there drivers align the IP header (`NET_IP_ALIGN`).
#[inline(always)]
unsafe fn load_word(at: usize) -> u32 {
    let word: u64;
    // SAFETY: it reads what the caller vouches for, and writes to its result alone.
    unsafe {
        asm!(
            "{word} = *(u32 *)({at} + 0)",
            word = lateout(reg) word,
            at = in(reg) at,
            options(readonly, nostack, preserves_flags),
        );
    }
    word as u32
}

/// A packet at a TC hook, from its link header on; without one it starts with its IP header.
pub(crate) struct Skb<'a>(pub(crate) &'a TcContext);

impl PacketBytes for Skb<'_> {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // SAFETY: the context is the kernel's own, and `to` has room for `length` bytes.
        loaded(|to, length| unsafe {
            bpf_skb_load_bytes(self.0.as_ptr(), offset as u32, to, length)
        })
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
        // SAFETY: as in `Skb`.
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

/// The index of the device whose TC hook a packet is at.
#[inline(always)]
pub(crate) fn device(ctx: &TcContext) -> u32 {
    // SAFETY: the context is the kernel's own, and the field one that programs may read.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// The index of the device that a packet at an XDP hook arrived at.
#[inline(always)]
pub(crate) fn arrived_at(ctx: &XdpContext) -> u32 {
    ctx.ingress_ifindex() as u32
}

/// A packet at an XDP hook, as the driver received it.
pub(crate) struct Buffer<'a>(pub(crate) &'a XdpContext);

impl PacketBytes for Buffer<'_> {
    /// By `bpf_xdp_load_bytes`, of Linux 5.18.
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // SAFETY: as in `Skb`.
        loaded(|to, length| unsafe { bpf_xdp_load_bytes(self.0.ctx, offset as u32, to, length) })
    }
}

/// Octets at the beginning of a packet that are copied: all headers of most.
const COPIED: usize = 128;

/// The beginning of a packet, copied out of it, to show to somebody.
pub(crate) struct Beginning {
    octets: [u8; COPIED],
    /// How many of the octets are this packet's.
    pub(crate) copied: u32,
    /// Of the whole packet, in octets.
    pub(crate) length: u32,
    /// What the kernel calls it; 0 where nobody has.
    pub(crate) ether_type: u16,
}

impl Beginning {
    /// All of them: what lies behind this packet's may be of an earlier one.
    #[inline(always)]
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Of a packet at a TC hook, as [`Skb`] has it.
    #[inline(always)]
    pub(crate) fn of_skb(&mut self, ctx: &TcContext) {
        self.ether_type = protocol(ctx);
        let skb = ctx.as_ptr();
        // SAFETY: as in `Skb`.
        self.copy(ctx.len(), |to, length| unsafe { bpf_skb_load_bytes(skb, 0, to, length) });
    }

    /// Of a packet at a TC hook of a tunnel device, as [`Datagram`] has it.
    #[inline(always)]
    pub(crate) fn of_datagram(&mut self, ctx: &TcContext) {
        self.ether_type = protocol(ctx);
        let skb = ctx.as_ptr();
        // SAFETY: as in `Skb`.
        self.copy(ctx.len(), |to, length| unsafe {
            bpf_skb_load_bytes_relative(skb, 0, to, length, BPF_HDR_START_NET)
        });
    }

    /// Of a packet at an XDP hook.
    #[inline(always)]
    pub(crate) fn of_buffer(&mut self, ctx: &XdpContext) {
        self.ether_type = 0;
        // SAFETY: the context is the kernel's own.
        let length = unsafe { bpf_xdp_get_buff_len(ctx.ctx) };
        // SAFETY: as in `Skb`.
        self.copy(length as u32, |to, length| unsafe {
            bpf_xdp_load_bytes(ctx.ctx, 0, to, length)
        });
    }

    #[inline(always)]
    fn copy(&mut self, length: u32, helper: impl FnOnce(*mut c_void, u32) -> i64) {
        self.length = length;
        self.copied = 0;
        // The compiler knows that it is in bounds; the verifier wants to see it checked. By the last octet:
        // from "not 0", no verifier before Linux 6.8 infers "at least 1".
        let last = black_box(length.min(COPIED as u32).wrapping_sub(1));
        if last >= COPIED as u32 {
            return;
        }
        let wanted = last + 1;
        if helper(self.octets.as_mut_ptr().cast(), wanted) == 0 {
            self.copied = wanted;
        }
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
