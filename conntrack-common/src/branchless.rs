//! Choices without branches. The kernel's verifier follows each way through a branch to the end of the
//! program, so ten in a row can be a thousand ways; a processor would guess wrong at half of these.
//!
//! A bit is a word that is 0 or 1. Bits are multiplied, not made into masks: of `-bit & constant` the
//! verifier of Linux 6.18 follows both values (`maybe_fork_scalars`).

/// One of two words: the first where the bit is 1.
#[inline(always)]
pub(crate) const fn choose(bit: u64, one: u64, other: u64) -> u64 {
    other.wrapping_add(bit.wrapping_mul(one.wrapping_sub(other)))
}

/// Whether a number is below another one, both below 2^63.
#[inline(always)]
pub(crate) fn is_below(number: u64, other: u64) -> u64 {
    highest_bit(number.wrapping_sub(other))
}

/// Whether a number below 2^63 is 0.
#[inline(always)]
pub(crate) fn is_zero(number: u64) -> u64 {
    is_below(number, 1)
}

#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
const fn highest_bit(word: u64) -> u64 {
    word >> (u64::BITS - 1)
}

/// In the machine's language: the compiler would find the comparison again, and make a branch of it.
#[cfg(target_arch = "bpf")]
#[inline(always)]
#[expect(unsafe_code, reason = "an instruction is written out")]
fn highest_bit(mut word: u64) -> u64 {
    // SAFETY: it changes its operand alone.
    unsafe {
        core::arch::asm!(
            "{word} >>= 63",
            word = inout(reg) word,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    word
}
