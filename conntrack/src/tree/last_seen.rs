//! When a connection was last seen, and by which clock.

use std::time::SystemTime;

/// When connections were last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastSeen {
    /// Now, by the file system's clock.
    Now,
    /// At this time, by the capture's clock. Never sets a file's time back.
    At(SystemTime),
}
