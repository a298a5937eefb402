//! What this CPU has seen lately: keys, as they were in the packets, of flows that are in the flow map.
//! It spares a repeated packet the work of coarsening its key and of looking it up.
//!
//! A slot is good for one generation. The agent makes a new one after each drain, so a flow that was
//! taken out of the map is put back by its next packet.
#![expect(unsafe_code, reason = "a map value is a raw pointer")]

use aya_ebpf::{macros::map, maps::PerCpuArray};
use conntrack_common::flow::{FlowKey, KEY_WORDS};

/// One for each value of the tag's highest byte.
const SLOTS: usize = 1 << u8::BITS;

#[map]
static RECENT: PerCpuArray<[Slot; SLOTS]> = PerCpuArray::with_max_entries(1, 0);

/// The tag is made of the key and the generation. So a slot that was torn, for packets of a device
/// may come in the middle of a packet on the same CPU (netconsole), is one that does not fit.
#[derive(Clone, Copy)]
#[repr(C)]
struct Slot {
    tag: u64,
    key: [u64; KEY_WORDS],
}

impl Slot {
    #[inline(always)]
    fn of(key: &FlowKey, generation: u32) -> Self {
        let key = key.words();
        Self { tag: hash(&key) ^ u64::from(generation), key }
    }

    /// Whether both are the same. Word by word: comparing arrays calls a function that goes by bytes.
    #[inline(always)]
    fn is(&self, other: &Self) -> bool {
        let (one, two) = (&self.key, &other.key);
        let differs = (self.tag ^ other.tag)
            | (one[0] ^ two[0])
            | (one[1] ^ two[1])
            | (one[2] ^ two[2])
            | (one[3] ^ two[3])
            | (one[4] ^ two[4]);
        differs == 0
    }

    /// Where it is on this CPU. The generation changes the tag's low half only.
    #[inline(always)]
    fn place(&self) -> Option<*mut Self> {
        let [index, ..] = self.tag.to_be_bytes();
        // SAFETY: the value lives as long as the map and has a slot at this index.
        RECENT.get_ptr_mut(0).map(|slots| unsafe { &raw mut (*slots)[usize::from(index)] })
    }
}

/// Whether the key was remembered in this generation and not replaced since.
#[inline(always)]
pub(crate) fn is_known(key: &FlowKey, generation: u32) -> bool {
    let slot = Slot::of(key, generation);
    // SAFETY: the place is this CPU's own and lives as long as the map.
    slot.place().is_some_and(|place| unsafe { slot.is(&*place) })
}

/// Remembers the key in place of whatever was there.
#[inline(never)]
pub(crate) fn remember(key: &FlowKey, generation: u32) {
    let slot = Slot::of(key, generation);
    if let Some(place) = slot.place() {
        // SAFETY: as in `is_known`.
        unsafe { *place = slot }
    }
}

/// Sums and products of odd numbers (multiply-add hashing): the high bits depend on all of the key.
/// Who chooses keys that share a slot makes this no slower than it is without.
#[inline(always)]
fn hash(key: &[u64; KEY_WORDS]) -> u64 {
    let sum = (key[0].wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add(key[1].wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .wrapping_add(key[2].wrapping_mul(0x94d0_49bb_1331_11eb))
        .wrapping_add(key[3].wrapping_mul(0xd6e8_feb8_6659_fd93))
        .wrapping_add(key[4].wrapping_mul(0xff51_afd7_ed55_8ccd));
    (sum ^ (sum >> 32)).wrapping_mul(0xc4ce_b9fe_1a85_ec53)
}
