//! The table of UDP pairs in a map. What it means is with [`conntrack_common::pairs`].
#![expect(unsafe_code, reason = "a map value is a raw pointer, a global is found by its symbol")]

use aya_ebpf::{Global, macros::map, maps::Array};
use conntrack_common::{
    flow::FlowKey,
    pairs::{self, BUCKETS, Bucket, Place, Secret},
};

use crate::clock::now;

#[map]
static PAIRS: Array<Bucket> = Array::with_max_entries(BUCKETS, 0);

/// The key of the hash. The agent sets it before loading.
#[unsafe(no_mangle)]
static SECRET: Global<Secret> = Global::new([0; 2]);

/// Whether a datagram answers one of the reverse 5-tuple; it is remembered from now on.
///
/// CPUs that write to a bucket at the same moment may lose one of two conversations: one that is
/// forgotten.
#[inline(never)]
pub(crate) fn is_answer(datagram: &FlowKey) -> bool {
    let place = Place::of(datagram, &SECRET.load());
    let Some(kept) = PAIRS.get_ptr_mut(place.bucket()) else { return false };
    // SAFETY: the value lives as long as the map; others change it meanwhile, in aligned words.
    let bucket = unsafe { kept.read_volatile() };
    let judgement = place.judge(&bucket, pairs::now(now()));
    if let Some(before) = bucket.get(judgement.slot)
        && *before != judgement.value
    {
        // SAFETY: as above; a slot is one of the bucket's.
        unsafe { kept.cast::<u64>().add(judgement.slot & 3).write_volatile(judgement.value) };
    }
    judgement.is_answer
}
