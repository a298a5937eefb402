//! The clock of the programs.

use aya_ebpf::helpers::bpf_ktime_get_ns;

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[inline(always)]
#[expect(unsafe_code, reason = "a kernel helper")]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes no arguments and has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}
