//! When to say again what goes on: after a minute, then each time after twice as long, up to an hour.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(1);

/// Of one thing that goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    told: Instant,
    pause: Duration,
}

impl Pace {
    /// It was told now, for the first time.
    pub(super) const fn from(now: Instant) -> Self {
        Self { told: now, pause: FIRST }
    }

    /// Whether it is to be told again, which it then is.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now.saturating_duration_since(self.told) >= self.pause;
        if is_due {
            *self = Self { told: now, pause: (self.pause * 2).min(LONGEST) };
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_ever_less_often_but_once_an_hour() {
        let start = Instant::now();
        let mut pace = Pace::from(start);
        let told = (0..=5 * 3600)
            .map(Duration::from_secs)
            .filter(|since| pace.is_due(start + *since))
            .map(|since| since.as_secs() / 60)
            .collect::<Vec<_>>();
        assert_eq!(told, [1, 3, 7, 15, 31, 63, 123, 183, 243]);
    }
}
