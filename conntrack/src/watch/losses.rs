//! Episodes of packet loss: a warning when one begins, again while it lasts, and its total when it is over.

use std::time::Instant;

use super::pace::Pace;
use crate::source::{PacketLoss, SourceCounters};

/// An episode ends after this many batches without loss.
const QUIET: u32 = 5;

/// One episode for each cause of loss.
#[derive(Debug, Default)]
pub(super) struct Losses([Episode; SourceCounters::LOSSES]);

impl Losses {
    /// Called after each batch.
    pub(super) fn look_at(&mut self, counters: &SourceCounters) {
        let now = Instant::now();
        for (episode, loss) in self.0.iter_mut().zip(counters.losses()) {
            let Some(packets) = loss.packets else { continue };
            let PacketLoss { what, advice, .. } = loss;
            match episode.go_on(packets, now) {
                Some(Step::Begins(packets)) => {
                    log::warn!("{what}: {packets} packets are lost; {advice}");
                }
                Some(Step::Lasts(packets)) => {
                    log::warn!("{what}: that goes on, {packets} packets are lost by now; {advice}");
                }
                Some(Step::Ends(packets)) => {
                    log::warn!("{what}: that is over, {packets} packets were lost");
                }
                None => {}
            }
        }
    }
}

/// State of one cause.
#[derive(Debug, Default)]
struct Episode {
    /// Packets lost up to the previous batch.
    lost: u64,
    /// The current episode, if there is one.
    current: Option<Current>,
    /// Batches since the last loss.
    quiet: u32,
}

/// An episode that is not over.
#[derive(Debug)]
struct Current {
    /// Packets lost before it.
    before: u64,
    pace: Pace,
}

/// What to log, with the number of packets that the episode lost.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Begins(u64),
    Lasts(u64),
    Ends(u64),
}

impl Episode {
    fn go_on(&mut self, lost: u64, now: Instant) -> Option<Step> {
        let before = std::mem::replace(&mut self.lost, lost);
        if lost > before {
            self.quiet = 0;
            let Some(current) = &mut self.current else {
                self.current = Some(Current { before, pace: Pace::from(now) });
                return Some(Step::Begins(lost - before));
            };
            let is_due = current.pace.is_due(now);
            return is_due.then(|| Step::Lasts(lost.saturating_sub(current.before)));
        }
        self.quiet = self.quiet.saturating_add(1);
        let is_over = self.quiet >= QUIET;
        let ended = self.current.take_if(|_| is_over)?;
        Some(Step::Ends(lost.saturating_sub(ended.before)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_episode_is_said_at_its_beginning_and_its_end() {
        let now = Instant::now();
        let mut episode = Episode::default();
        let mut go_on = |lost| episode.go_on(lost, now);
        assert_eq!(go_on(0), None);
        assert_eq!(go_on(3), Some(Step::Begins(3)));
        for lost in 4..100 {
            assert_eq!(go_on(lost), None);
        }
        for _ in 1..QUIET {
            assert_eq!(go_on(99), None, "it may go on");
        }
        assert_eq!(go_on(99), Some(Step::Ends(99)));
        assert_eq!(go_on(99), None);
        assert_eq!(go_on(100), Some(Step::Begins(1)), "another one");
    }

    #[test]
    fn an_episode_that_goes_on_is_said_again_from_time_to_time() {
        let start = Instant::now();
        let mut episode = Episode::default();
        let mut said = Vec::new();
        for second in 0..200 {
            said.extend(episode.go_on(second + 1, start + Duration::from_secs(second)));
        }
        assert_eq!(said, [Step::Begins(1), Step::Lasts(61), Step::Lasts(181)]);
    }
}
