//! Work on a thread of its own. What the kernel keeps for each thread (capabilities, Landlock, the
//! network namespace) changes there only, and goes with it.

use std::{
    io,
    panic::resume_unwind,
    thread::{Builder, scope},
};

/// Runs `work` on a thread that ends with it, and waits for that.
///
/// # Errors
/// That no thread can be started: there are too many, or the process is on its way into another
/// namespace (`unshare --time` without `--fork` before Linux 6.3).
pub(crate) fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let worked = scope(|scope| Ok(Builder::new().spawn_scoped(scope, work)?.join()));
    worked.map(|it| it.unwrap_or_else(|panic| resume_unwind(panic)))
}
