//! What is done for each packet: apply the rules to its flow, keep it, count the outcome.
//!
//! Some functions are functions in the kernel too: a packet has 512 bytes of stack at any time, and
//! what returns gives its part back.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_ktime_get_ns};
use conntrack_common::{
    counters::{Loss, Outcome},
    flow::FlowKey,
    policy::Control,
    rules,
    wire::Skip,
};

use crate::{
    maps::{self, FLOWS},
    recent,
};

/// Records the flow of a packet, if it is one.
#[inline(always)]
pub(crate) fn meter(flow: Result<FlowKey, Skip>) {
    let outcome = match flow {
        Ok(key) => record(&key),
        Err(skip) => Outcome::Skipped(skip),
    };
    maps::count(outcome);
}

/// A flow that this CPU has seen since the last drain costs a comparison and nothing else: no
/// lookup, no clock, no write to anything shared.
#[inline(always)]
fn record(key: &FlowKey) -> Outcome {
    let control = maps::control();
    if recent::is_known(key, control.generation) {
        return Outcome::Flow;
    }
    let outcome = record_first(key, control);
    if outcome == Outcome::Flow {
        recent::remember(key, control.generation);
    }
    outcome
}

#[inline(never)]
fn record_first(key: &FlowKey, control: Control) -> Outcome {
    let mut key = *key;
    match coarsen(&mut key, control.policy) {
        Ok(()) => keep(&key, control.generation),
        Err(skip) => Outcome::Skipped(skip),
    }
}

#[inline(never)]
fn coarsen(key: &mut FlowKey, policy: u32) -> Result<(), Skip> {
    maps::policy(policy).map_or(Ok(()), |policy| rules::coarsen(key, policy))
}

/// Puts the flow into the map unless it is there.
#[inline(never)]
fn keep(key: &FlowKey, generation: u32) -> Outcome {
    const EEXIST: i32 = -17;
    const E2BIG: i32 = -7;

    if FLOWS.get_ptr(key).is_some() {
        return Outcome::Flow;
    }
    match FLOWS.insert(key, now(), BPF_NOEXIST.into()) {
        Ok(()) => {
            maps::count_new_flow(generation);
            Outcome::Flow
        }
        // Another CPU was faster.
        Err(EEXIST) => Outcome::Flow,
        Err(E2BIG) => {
            maps::wake(generation);
            Outcome::Lost(Loss::MapFull)
        }
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
