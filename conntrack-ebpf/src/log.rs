//! What the programs say themselves, with `-vv`: of each outcome that is no flow, the first packet since
//! the last drain.
//!
//! A message has numbers and the packet's first octets. The agent reads these and makes words of it: a
//! second look at all headers, for each of these packets, is more than the verifier is willing to follow.
#![expect(unsafe_code, reason = "a map value is a raw pointer, a global is found by its symbol")]

use aya_ebpf::{
    Global,
    bindings::BPF_NOEXIST,
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use aya_log_ebpf::trace;
use conntrack_common::{counters::Outcome, wire::LinkLayer};

use crate::packet::Beginning;

/// Whether anything is said, as 0 or 1. The agent sets it before loading; where it is 0, the verifier
/// takes out all that is only for saying something.
#[unsafe(no_mangle)]
static SAYS: Global<u8> = Global::new(0);

/// Outcomes of which something was said, by their index, as in the counters. The agent empties it after each
/// drain.
#[map]
static SAID: HashMap<u32, u8> = HashMap::with_max_entries(Outcome::COUNT, 0);

/// What is being told on this CPU. A stack has no room for it.
#[map]
static TOLD: PerCpuArray<Told> = PerCpuArray::with_max_entries(1, 0);

struct Told {
    packet: Beginning,
    /// What the flow map said last.
    error: i32,
}

/// Whether anything is said.
#[inline(always)]
pub(crate) fn says() -> bool {
    SAYS.load() != 0
}

/// Remembers for a message why the flow map did not take an entry: an error number below 0, or 0 where
/// it was not asked.
#[inline(always)]
pub(crate) fn set_error(error: i32) {
    if !says() {
        return;
    }
    if let Some(told) = TOLD.get_ptr_mut(0) {
        // SAFETY: the pointer is to this CPU's own value, which lives as long as the map.
        unsafe { (&raw mut (*told).error).write(error) };
    }
}

/// Says what became of a packet that is no flow, unless it was said of another one since the last drain.
#[inline(never)]
pub(crate) fn say(outcome: u32, link: LinkLayer, copy: impl FnOnce(&mut Beginning)) {
    if !is_first(outcome) {
        return;
    }
    let Some(told) = TOLD.get_ptr_mut(0) else { return };
    // SAFETY: as in `set_error`. A packet that comes in the middle of another one on the same CPU
    // (netconsole) may put its own octets there: octets all the same.
    let told = unsafe { &mut *told };
    copy(&mut told.packet);
    tell(outcome, link as u32, told);
}

/// One of the CPUs that get here at the same moment is the first.
#[inline(never)]
fn is_first(outcome: u32) -> bool {
    SAID.get_ptr(outcome).is_none() && SAID.insert(outcome, 0, BPF_NOEXIST.into()).is_ok()
}

#[inline(never)]
fn tell(outcome: u32, link: u32, told: &Told) {
    let Told { packet, error } = told;
    trace!(
        (),
        "outcome {}, link {}, error {}, length {}, type {}, copied {}, octets {:x}",
        outcome,
        link,
        *error,
        packet.length,
        packet.ether_type,
        packet.copied,
        packet.octets()
    );
}
