//! Open files: whether there are as many to be had as a run holds at once. What runs out in the
//! middle is an error there; the runtime, at its start, would panic.

use rustix::{
    io::{Errno, dup},
    stdio::stderr,
};

/// A run with eBPF holds some 25, and a few more while it attaches.
const NEEDED: usize = 40;

/// So many files cannot be open.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {NEEDED} files at once: {0}; raise the limit: {advice}", advice = advice(*.0))]
pub(super) struct TooFew(#[source] Errno);

/// Whether a run would have enough of them.
///
/// # Errors
/// Why it would not.
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
