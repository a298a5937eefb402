//! A record: a connection and what is known of it. Where it comes from, a tree or a file of JSON lines, is not
//! told here.

use std::time::SystemTime;

use crate::{
    connection::{Connection, Evidence},
    unit::Units,
};

/// A connection and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// The units of this machine that it is of, as far as that is known.
    pub units: Units,
}

impl Record {
    /// A connection of which nothing else is known but what came of it and when it was seen.
    pub fn of(connection: Connection, outcome: Outcome, last_seen: SystemTime) -> Self {
        let (accepted, made, units) = (false, None, Units::default());
        Self { connection, outcome, accepted, made, last_seen, units }
    }
}

impl Record {
    /// Adds what another recording knows of the same connection. What one of both does not know is unknown.
    pub fn merge(&mut self, other: &Self) {
        self.outcome = self.outcome.or(other.outcome);
        self.accepted |= other.accepted;
        self.made = self.made.zip(other.made).map(|(one, other)| one.min(other));
        self.last_seen = self.last_seen.max(other.last_seen);
        self.units.add_all(&other.units);
    }

    /// When the connection was first seen: when its file was made, unless that was later than it was seen last,
    /// as with a tree that was copied or made of a capture file.
    pub fn first_seen(&self) -> Option<SystemTime> {
        self.made.filter(|made| *made <= self.last_seen)
    }
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

    /// The outcome that this word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        let plain = [Self::Unknown, Self::None].into_iter().find(|it| it.as_str() == word);
        plain.or_else(|| Evidence::from_word(word).map(Self::Seen))
    }

    /// What two recordings of the same connection tell together: the stronger word. What is unknown may have been
    /// answered, so it is stronger than that nobody did.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.strength() < other.strength() { other } else { self }
    }

    const fn strength(self) -> u8 {
        match self {
            // A reply that was a request in the other recording is none.
            Self::Seen(Evidence::Reply) => 0,
            Self::None => 1,
            Self::Seen(Evidence::Refused) => 2,
            Self::Unknown => 3,
            Self::Seen(Evidence::Served) => 4,
            Self::Seen(Evidence::Answered) => 5,
        }
    }

    /// Whether somebody was there, as far as that was recorded.
    pub const fn is_answered(self) -> Option<bool> {
        match self {
            Self::Seen(Evidence::Answered | Evidence::Served) => Some(true),
            Self::None | Self::Seen(Evidence::Refused) => Some(false),
            Self::Unknown | Self::Seen(Evidence::Reply) => None,
        }
    }
}
