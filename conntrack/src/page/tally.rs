//! What came of connections, counted.

use std::time::SystemTime;

use super::text::Count;
use crate::{
    connection::Evidence,
    record::{Outcome, Record},
};

/// What may come of a connection, and what people call it.
const OUTCOMES: [(Outcome, &str); 6] = [
    (Outcome::Seen(Evidence::Answered), "answered"),
    (Outcome::Seen(Evidence::Served), "served"),
    (Outcome::Seen(Evidence::Refused), "refused"),
    (Outcome::None, "not answered"),
    (Outcome::Seen(Evidence::Reply), "replies only"),
    (Outcome::Unknown, "unknown"),
];

/// What came of it, in three classes: as many as colours can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Class {
    /// Answered, served, or an answer itself.
    Answered,
    /// Refused or not answered.
    Unanswered,
    /// Nothing is known.
    Unknown,
}

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::Answered, Self::Unanswered, Self::Unknown];

    pub(super) const fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Unknown => Self::Unknown,
            Outcome::None | Outcome::Seen(Evidence::Refused) => Self::Unanswered,
            Outcome::Seen(_) => Self::Answered,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Unanswered => "refused or not answered",
            Self::Unknown => "unknown",
        }
    }
}

/// What people call an outcome.
pub(super) fn word(outcome: Outcome) -> &'static str {
    OUTCOMES.iter().find(|(it, _)| *it == outcome).map_or("unknown", |(_, word)| word)
}

/// Connections, counted by what came of them, and when they were seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    counts: [usize; OUTCOMES.len()],
    /// Of the earliest; nothing if it is unknown of one of them.
    pub(super) first_seen: Option<SystemTime>,
    /// Of the latest.
    pub(super) last_seen: SystemTime,
}

impl Tally {
    /// Of one record.
    pub(super) fn of(record: &Record) -> Self {
        Self {
            counts: OUTCOMES.map(|(outcome, _)| usize::from(outcome == record.outcome)),
            first_seen: record.first_seen(),
            last_seen: record.last_seen,
        }
    }

    /// Takes in another one.
    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.first_seen = self.first_seen.zip(other.first_seen).map(|(a, b)| a.min(b));
        self.last_seen = self.last_seen.max(other.last_seen);
    }

    /// Of several; nothing of none.
    pub(super) fn sum(tallies: impl IntoIterator<Item = Self>) -> Option<Self> {
        tallies.into_iter().reduce(|mut sum, one| {
            sum.add(&one);
            sum
        })
    }

    /// How many connections.
    pub(super) fn total(&self) -> usize {
        self.counts.iter().sum()
    }

    /// How many of a class.
    pub(super) fn count(&self, class: Class) -> usize {
        let of_class = OUTCOMES.iter().zip(self.counts);
        of_class.filter(|((it, _), _)| Class::of(*it) == class).map(|(_, count)| count).sum()
    }

    /// In words, as in `3 answered, 1 refused`.
    pub(super) fn words(&self) -> String {
        let counted = OUTCOMES.iter().zip(self.counts).filter(|(_, count)| *count > 0);
        let words = counted.map(|((_, word), count)| format!("{} {word}", Count(count)));
        words.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::{connection::Direction, show::tests::record};

    #[test]
    fn every_outcome_is_counted_once() {
        let outcomes = Evidence::ALL.map(Outcome::Seen).into_iter();
        let outcomes = outcomes.chain([Outcome::None, Outcome::Unknown]);
        let records: Vec<_> = outcomes.map(|it| record(Direction::In, 22, it)).collect();
        let sum = Tally::sum(records.iter().map(Tally::of)).expect("some");
        assert_eq!(sum.total(), records.len());
        assert_eq!(Class::ALL.map(|it| sum.count(it)), [3, 2, 1]);
        let words = "1 answered, 1 served, 1 refused, 1 not answered, 1 replies only, 1 unknown";
        assert_eq!(sum.words(), words);
        assert_eq!(Tally::sum([]), None);
    }

    #[test]
    fn a_first_time_that_is_unknown_once_is_unknown() {
        let mut records = [1, 2].map(|port| record(Direction::In, port, Outcome::None));
        let first = |records: &[Record]| {
            Tally::sum(records.iter().map(Tally::of)).expect("some").first_seen
        };
        assert_eq!(first(&records), Some(UNIX_EPOCH + Duration::from_secs(1)));
        records[1].made = None;
        assert_eq!(first(&records), None);
    }
}
