//! Episodes of packet loss: a warning when one begins, its total when it is over.

use crate::source::{PacketLoss, SourceCounters};

/// An episode ends after this many batches without loss.
const QUIET: u32 = 5;

/// One episode for each cause of loss.
#[derive(Debug, Default)]
pub(super) struct Losses([Episode; SourceCounters::LOSSES]);

impl Losses {
    /// Called after each batch.
    pub(super) fn look_at(&mut self, counters: &SourceCounters) {
        for (episode, loss) in self.0.iter_mut().zip(counters.losses()) {
            let Some(packets) = loss.packets else { continue };
            match episode.go_on(packets) {
                Some(Step::Begins(packets)) => {
                    let PacketLoss { what, advice, .. } = loss;
                    log::warn!("{what}: {packets} packets are lost; {advice}");
                }
                Some(Step::Ends(packets)) => {
                    log::info!("{}: that is over, {packets} packets were lost", loss.what);
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
    /// Packets lost before the current episode, if there is one.
    before: Option<u64>,
    /// Batches since the last loss.
    quiet: u32,
}

/// What to log, with the number of packets.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Begins(u64),
    Ends(u64),
}

impl Episode {
    fn go_on(&mut self, lost: u64) -> Option<Step> {
        let before = std::mem::replace(&mut self.lost, lost);
        if lost > before {
            self.quiet = 0;
            let begins = self.before.is_none();
            self.before.get_or_insert(before);
            return begins.then_some(Step::Begins(lost - before));
        }
        self.quiet = self.quiet.saturating_add(1);
        let is_over = self.quiet >= QUIET;
        self.before.take_if(|_| is_over).map(|before| Step::Ends(lost.saturating_sub(before)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_is_said_twice_however_long_it_is() {
        let mut episode = Episode::default();
        assert_eq!(episode.go_on(0), None);
        assert_eq!(episode.go_on(3), Some(Step::Begins(3)));
        for lost in 4..100 {
            assert_eq!(episode.go_on(lost), None);
        }
        for _ in 1..QUIET {
            assert_eq!(episode.go_on(99), None, "it may go on");
        }
        assert_eq!(episode.go_on(99), Some(Step::Ends(99)));
        assert_eq!(episode.go_on(99), None);
        assert_eq!(episode.go_on(100), Some(Step::Begins(1)), "another one");
    }
}
