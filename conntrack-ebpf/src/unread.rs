//! Frames without IP, by their unsupported `EtherType`. For diagnostics only: the exact number of such frames
//! is in the packet counters.
#![expect(unsafe_code, reason = "a map value is a raw pointer")]

use aya_ebpf::{bindings::BPF_NOEXIST, macros::map, maps::HashMap};

/// Small, because a hostile sender can fill it.
#[map]
static UNREAD: HashMap<u16, u64> = HashMap::with_max_entries(32, 0);

/// Counts a frame with this `EtherType`. Concurrent CPUs may lose counts.
#[inline(never)]
pub(crate) fn count(ether_type: u16) {
    match UNREAD.get_ptr_mut(ether_type) {
        // SAFETY: the value lives as long as the map, whose entries are never removed; others change it
        // meanwhile, in one aligned word.
        Some(frames) => unsafe { frames.write_volatile(frames.read_volatile() + 1) },
        None => {
            // Not counted if the map is full or another CPU was faster.
            let _counted = UNREAD.insert(ether_type, 1, BPF_NOEXIST.into());
        }
    }
}
