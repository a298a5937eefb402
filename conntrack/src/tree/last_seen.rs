//! When a connection was last seen, and by which clock.

use std::time::SystemTime;

/// When connections were last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastSeen {
    /// Just now, by the clock of the file system.
    Now,
    /// Then, by the clock of whoever captured it. A file that is newer stays as it is.
    At(SystemTime),
}
