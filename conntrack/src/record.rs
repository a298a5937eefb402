//! A record: a connection and what is known of it. Where it comes from is not told here.

use std::time::SystemTime;

use crate::connection::Connection;

/// A connection and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// What the file's name says.
    pub connection: Connection,
    /// The file's modification time.
    pub last_seen: SystemTime,
}
