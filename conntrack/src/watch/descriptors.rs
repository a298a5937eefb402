//! Checks that enough file descriptors are available. Without the check tokio would panic at the start.

use rustix::{
    io::{Errno, dup},
    stdio::stderr,
};

/// A run with eBPF holds about 30, and a few more while it attaches.
const NEEDED: usize = 40;

/// Too few file descriptors.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {NEEDED} files at once: {0}; raise the limit: {advice}", advice = advice(*.0))]
pub(super) struct TooFew(#[source] Errno);

/// Checks the limit.
///
/// # Errors
/// [`TooFew`]
pub(super) fn check() -> Result<(), TooFew> {
    let opened: Result<Vec<_>, _> = (0..NEEDED).map(|_| dup(stderr())).collect();
    opened.map(drop).map_err(TooFew)
}

fn advice(errno: Errno) -> &'static str {
    match errno {
        Errno::NFILE => "sysctl fs.file-max",
        _ => "ulimit -n, or LimitNOFILE= in a unit",
    }
}
