//! The programs that the kernel runs for each packet of the watched device.
//!
//! They only observe: whatever they find and whatever fails, the verdict is the same constant and
//! the packet goes on its way. Each program is a thin shell; what it does is in [`metering`].
#![expect(missing_docs, reason = "the program macros expand to functions without docs")]
#![expect(
    clippy::needless_pass_by_value,
    reason = "the program macros hand contexts over by value"
)]
#![feature(asm_experimental_arch)]
#![no_std]
#![no_main]

mod clock;
mod log;
mod maps;
mod metering;
mod packet;
mod pairs;
mod recent;
mod sender;
mod unread;

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use conntrack_common::{
    counters::Outcome,
    rules,
    wire::{self, LinkLayer, PacketBytes, Skip},
};
use metering::Observed;
use packet::{Buffer, Datagram, Linear, Skb};

/// TC classifier, for both directions: attached twice, to a device's ingress and egress. There is one for
/// each way in which the packets of a device are read; all of them share their maps.
///
/// `TC_ACT_UNSPEC` is `TCX_NEXT`: programs and filters behind this one still run.
#[expect(unreachable_pub, reason = "the macro exports it to the loader")]
#[classifier]
pub fn conntrack(ctx: TcContext) -> i32 {
    classify(&ctx, LinkLayer::Ethernet)
}

/// The same for a device without a link header.
#[expect(unreachable_pub, reason = "the macro exports it to the loader")]
#[classifier]
pub fn conntrack_ip(ctx: TcContext) -> i32 {
    classify(&ctx, LinkLayer::Ip)
}

/// The same for a tunnel: other headers may stand before its packets.
#[expect(unreachable_pub, reason = "the macro exports it to the loader")]
#[classifier]
pub fn conntrack_tunnel(ctx: TcContext) -> i32 {
    maps::pass(|| packet::device(&ctx));
    let index = metering::meter(&look_again(&Datagram(&ctx), LinkLayer::Ip), &ctx);
    if log::says() && index != Outcome::Flow.index() {
        log::say(index, LinkLayer::Ip, |packet| packet.of_datagram(&ctx));
    }
    TC_ACT_UNSPEC
}

/// XDP program, for arriving packets. It takes packets that lie in several pieces (Linux 5.18), so
/// that it can be attached where the MTU is above a page.
#[expect(unreachable_pub, reason = "the macro exports it to the loader")]
#[xdp(frags)]
pub fn conntrack_xdp(ctx: XdpContext) -> u32 {
    receive(&ctx, LinkLayer::Ethernet)
}

/// The same for a device without a link header.
#[expect(unreachable_pub, reason = "the macro exports it to the loader")]
#[xdp(frags)]
pub fn conntrack_xdp_ip(ctx: XdpContext) -> u32 {
    receive(&ctx, LinkLayer::Ip)
}

#[inline(always)]
fn classify(ctx: &TcContext, link: LinkLayer) -> i32 {
    maps::pass(|| packet::device(ctx));
    let observed = match rules::observe(&Linear::of_skb(ctx), link) {
        Err(skip) if skip.is_provisional() => look_again_tc(ctx, link),
        packet => Observed::of(packet),
    };
    let index = metering::meter(&observed, ctx);
    if log::says() && index != Outcome::Flow.index() {
        log::say(index, link, |packet| packet.of_skb(ctx));
    }
    TC_ACT_UNSPEC
}

#[inline(always)]
fn receive(ctx: &XdpContext, link: LinkLayer) -> u32 {
    maps::pass(|| packet::arrived_at(ctx));
    let observed = match rules::observe(&Linear::of_buffer(ctx), link) {
        Err(skip) if skip.is_provisional() => look_again_xdp(ctx, link),
        packet => Observed::of(packet),
    };
    let index = metering::meter(&observed, ctx);
    if log::says() && index != Outcome::Flow.index() {
        log::say(index, link, |packet| packet.of_buffer(ctx));
    }
    XDP_PASS
}

/// Functions in the kernel too, so that what each packet runs stays short.
#[inline(never)]
fn look_again_tc(ctx: &TcContext, link: LinkLayer) -> Observed {
    look_again(&Skb(ctx), link)
}

#[inline(never)]
fn look_again_xdp(ctx: &XdpContext, link: LinkLayer) -> Observed {
    look_again(&Buffer(ctx), link)
}

/// The look that reads everything.
#[inline(always)]
fn look_again(packet: &impl PacketBytes, link: LinkLayer) -> Observed {
    let observed = rules::observe(packet, link);
    if observed == Err(Skip::NotIp)
        && let Some(ether_type) = wire::unsupported_type(packet, link)
    {
        unread::count(ether_type);
    }
    Observed::of(observed)
}

/// Never reached: a program that could panic would not pass the verifier, which rejects the loop.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Some helpers may be called by GPL-compatible programs only (`bpf_ktime_get_ns` among them).
#[expect(unsafe_code, reason = "the kernel reads the licence from this section")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
