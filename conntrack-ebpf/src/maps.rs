//! The maps that cross to user space, by the names that the agent looks them up with.

use aya_ebpf::{
    Global,
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use conntrack_common::{counters::Outcome, flow::FlowKey, wire::LinkLayer};

/// Distinct flows since the last drain, each with the time of its first packet: nanoseconds of
/// `CLOCK_MONOTONIC`. A plain hash, because a full one is an error that can be counted, where an
/// LRU would evict in silence. The agent sets its size.
#[map]
pub(crate) static FLOWS: HashMap<FlowKey, u64> = HashMap::with_max_entries(65_536, 0);

/// Packets by [`Outcome::index`].
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Outcome::COUNT, 0);

/// The [`LinkLayer`] of the watched device, as a number. The agent sets it before loading.
#[expect(unsafe_code, reason = "the loader finds a global by its symbol")]
#[unsafe(no_mangle)]
static LINK_LAYER: Global<u8> = Global::new(LinkLayer::Ethernet as u8);

/// Whether the watched device is a tunnel, as 0 or 1. The agent sets it before loading.
#[expect(unsafe_code, reason = "the loader finds a global by its symbol")]
#[unsafe(no_mangle)]
static IS_TUNNEL: Global<u8> = Global::new(0);

/// Whether other headers may stand before the packets of this device.
#[inline(always)]
pub(crate) fn is_tunnel() -> bool {
    IS_TUNNEL.load() != 0
}

/// What stands before the IP header in the packets of this device: Ethernet or nothing.
#[inline(always)]
pub(crate) fn link_layer() -> LinkLayer {
    const IP: u8 = LinkLayer::Ip as u8;
    match LINK_LAYER.load() {
        IP => LinkLayer::Ip,
        _ => LinkLayer::Ethernet,
    }
}

/// Counts the outcome on this CPU; whether it is the first of its kind here.
#[inline(always)]
#[expect(unsafe_code, reason = "a map value is a raw pointer")]
pub(crate) fn count(outcome: Outcome) -> bool {
    let Some(counter) = COUNTERS.get_ptr_mut(outcome.index()) else { return false };
    // SAFETY: the pointer is to this CPU's own value, which lives as long as the map; a program is
    // not preempted by another instance of itself on the same CPU.
    unsafe {
        *counter += 1;
        *counter == 1
    }
}
