//! A record: a connection and what is known of it. Where it comes from is not told here.

use std::time::SystemTime;

use crate::connection::{Connection, Evidence};

/// A connection and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// What the file's name says.
    pub connection: Connection,
    /// What came of it.
    pub outcome: Outcome,
    /// A person wants it to have a rule, whatever came of it.
    pub accepted: bool,
    /// When the file was made, if the file system tells.
    pub made: Option<SystemTime>,
    /// The file's modification time.
    pub last_seen: SystemTime,
}

/// What a recording tells of what came of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Nothing: evidence was not recorded, or not yet, or cannot be read.
    Unknown,
    /// Evidence was recorded, and there is none for this connection.
    None,
    /// This.
    Seen(Evidence),
}

impl Outcome {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::None => "none",
            Self::Seen(evidence) => evidence.as_str(),
        }
    }
}
