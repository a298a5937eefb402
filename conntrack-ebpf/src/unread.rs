//! Frames in which no IP was found, by the `EtherType` at which reading ended. Only for people to see
//! what there is: that a frame is no IP is counted elsewhere, exactly.
#![expect(unsafe_code, reason = "a map value is a raw pointer")]

use aya_ebpf::{bindings::BPF_NOEXIST, macros::map, maps::HashMap};

/// So small that whoever sends all `EtherType`s fills it and nothing else.
#[map]
static UNREAD: HashMap<u16, u64> = HashMap::with_max_entries(32, 0);

/// Counts a frame with this `EtherType`. CPUs that count at the same moment count one instead of two.
#[inline(never)]
pub(crate) fn count(ether_type: u16) {
    match UNREAD.get_ptr_mut(ether_type) {
        // SAFETY: the value lives as long as the map, whose entries are never removed; others change it
        // meanwhile, in one aligned word.
        Some(frames) => unsafe { frames.write_volatile(frames.read_volatile() + 1) },
        None => {
            // Where there is no room, or another CPU was faster, it is not counted here.
            let _counted = UNREAD.insert(ether_type, 1, BPF_NOEXIST.into());
        }
    }
}
