//! The C library's memory: what is free goes back to the system.
#![expect(unsafe_code, reason = "a function of the C library")]

/// Opening a source takes megabytes for a moment: the types of the kernel, a filter that is compiled, the
/// tables of the source before.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time and touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
