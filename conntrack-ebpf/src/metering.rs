//! What is done for each packet: parse, apply the rules, keep the flow, count the outcome.

use aya_ebpf::{EbpfContext, bindings::BPF_NOEXIST, helpers::bpf_ktime_get_ns};
use aya_log_ebpf::warn;
use conntrack_common::{
    counters::{Loss, Outcome},
    flow::FlowKey,
    rules,
    wire::{LinkLayer, PacketBytes},
};

use crate::maps::{self, FLOWS};

/// Records the packet's flow, if it is one.
#[inline(always)]
pub(crate) fn meter(ctx: &impl EbpfContext, packet: &impl PacketBytes, link: LinkLayer) {
    let outcome = match rules::flow_key(packet, link) {
        Ok(key) => keep(&key),
        Err(skip) => Outcome::Skipped(skip),
    };
    let first = maps::count(outcome);
    if first && outcome == Outcome::Lost(Loss::MapFull) {
        warn!(ctx, "the flow map is full: flows are lost until the next drain");
    }
}

/// Puts the flow into the map unless it is there. A repeated flow costs the lookup and nothing
/// else: no clock, no write to the shared entry.
#[inline(always)]
fn keep(key: &FlowKey) -> Outcome {
    const EEXIST: i32 = -17;
    const E2BIG: i32 = -7;

    if FLOWS.get_ptr(key).is_some() {
        return Outcome::Flow;
    }
    match FLOWS.insert(key, now(), BPF_NOEXIST.into()) {
        // EEXIST: another CPU was faster.
        Ok(()) | Err(EEXIST) => Outcome::Flow,
        Err(E2BIG) => Outcome::Lost(Loss::MapFull),
        Err(_) => Outcome::Lost(Loss::MapRefused),
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[inline(always)]
#[expect(unsafe_code, reason = "a kernel helper")]
fn now() -> u64 {
    // SAFETY: the helper takes no arguments and has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}
