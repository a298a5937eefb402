//! What was first seen lately, as far as the files tell.

use std::{
    cmp::Reverse,
    time::{Duration, SystemTime},
};

use crate::record::Record;

const DAY: Duration = Duration::from_hours(24);

/// For how long something is new, what that is called, and what is typed for it.
const AGES: [(Duration, &str, &str); 3] = [
    (DAY, "24 hours", "24h"),
    (DAY.saturating_mul(7), "7 days", "7d"),
    (DAY.saturating_mul(30), "30 days", "30d"),
];

/// What was first seen lately.
pub(super) struct News<'a> {
    /// By age; what is in one is not in the next.
    pub(super) ages: [Age<'a>; AGES.len()],
    /// How many it is unknown of.
    pub(super) untold: usize,
    /// When the first of all was first seen, if that is known of all.
    pub(super) start: Option<SystemTime>,
}

/// What was first seen within this time, and not within a shorter one.
pub(super) struct Age<'a> {
    pub(super) name: &'static str,
    /// What is typed for it.
    pub(super) typed: &'static str,
    /// Those that are no younger than it are not new in this time.
    length: Duration,
    /// The latest first.
    pub(super) records: Vec<&'a Record>,
}

impl<'a> News<'a> {
    /// What is new at this time. What was first seen later than that is as new as can be.
    pub(super) fn of(records: &'a [Record], now: SystemTime) -> Self {
        let mut ages =
            AGES.map(|(length, name, typed)| Age { name, typed, length, records: Vec::new() });
        let mut untold = 0;
        let mut start = None;
        for record in records {
            let Some(seen) = record.first_seen() else {
                untold += 1;
                continue;
            };
            start = Some(start.map_or(seen, |start: SystemTime| start.min(seen)));
            let age = now.duration_since(seen).unwrap_or_default();
            if let Some(it) = ages.iter_mut().find(|it| age < it.length) {
                it.records.push(record);
            }
        }
        for age in &mut ages {
            age.records.sort_by_key(|it| (Reverse(it.made), it.connection));
        }
        Self { ages, untold, start: start.filter(|_| untold == 0) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::{connection::Direction, record::Outcome, show::tests::record};

    #[test]
    fn each_is_new_once_and_unknown_is_not_old() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let seen = |ago: Option<u64>| {
            let mut it = record(Direction::In, 22, Outcome::None);
            it.made = ago.map(|ago| now - Duration::from_hours(ago));
            it.last_seen = now;
            it
        };
        let mut records =
            [Some(0), Some(23), Some(24), Some(167), Some(168), Some(720), None].map(seen);
        let counts = |news: &News<'_>| news.ages.each_ref().map(|it| it.records.len());
        let news = News::of(&records, now);
        assert_eq!((counts(&news), news.untold, news.start), ([2, 2, 1], 1, None));
        // Copied: made after it was last seen.
        for record in &mut records {
            record.last_seen = now - Duration::from_hours(10_000);
        }
        let news = News::of(&records, now);
        assert_eq!((counts(&news), news.untold), ([0, 0, 0], records.len()));
    }
}
