//! Causes that keep connections out of the tree: a warning when one begins, reminders while it lasts, a
//! message when it is over.

use std::time::Instant;

use super::pace::Pace;
use crate::tree::{Cause, Obstacle, Shown};

/// By [`Cause`].
#[derive(Debug, Default)]
pub(super) struct Obstacles([Option<Lasting>; Cause::ALL.len()]);

/// An obstacle that was reported and is not over.
#[derive(Clone, Copy, Debug)]
struct Lasting {
    pace: Pace,
    /// Connections since the last message.
    connections: u64,
}

impl Obstacles {
    /// Called after each batch.
    pub(super) fn look_at(&mut self, shown: &Shown) {
        let now = Instant::now();
        for cause in Cause::ALL {
            let obstacle = shown.obstacle(cause);
            let step = go_on(&mut self.0[cause as usize], obstacle, now);
            match (step, &obstacle.first_error, cause.farewell()) {
                (Some(Step::Begins), Some(error), _) => {
                    log::warn!("{error}; {}", cause.meanwhile());
                }
                (Some(Step::Lasts(connections)), Some(error), _) => {
                    let meanwhile = cause.meanwhile();
                    log::warn!(
                        "{connections} more connections are not recorded: {error}; {meanwhile}"
                    );
                }
                (Some(Step::Ends), _, Some(farewell)) => log::info!("{farewell}"),
                _ => {}
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Begins,
    Lasts(u64),
    Ends,
}

fn go_on(lasting: &mut Option<Lasting>, obstacle: &Obstacle, now: Instant) -> Option<Step> {
    match (&obstacle.first_error, &mut *lasting) {
        (Some(_), None) => {
            *lasting = Some(Lasting { pace: Pace::from(now), connections: 0 });
            Some(Step::Begins)
        }
        (Some(_), Some(since)) => {
            since.connections += obstacle.connections;
            let is_due = since.pace.is_due(now);
            is_due.then(|| Step::Lasts(std::mem::take(&mut since.connections)))
        }
        (None, Some(_)) if obstacle.is_over => {
            *lasting = None;
            Some(Step::Ends)
        }
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tree::TreeError;

    #[test]
    fn an_obstacle_that_lasts_is_said_again_from_time_to_time() {
        let in_the_way = || Obstacle {
            connections: 2,
            first_error: Some(TreeError::MaxFiles { max: 1 }),
            is_over: false,
        };
        let start = Instant::now();
        let mut lasting = None;
        let mut step = |obstacle: &Obstacle, minute: u64| {
            go_on(&mut lasting, obstacle, start + Duration::from_mins(minute))
        };
        assert_eq!(step(&Obstacle::default(), 0), None);
        assert_eq!(step(&in_the_way(), 0), Some(Step::Begins));
        assert_eq!(step(&in_the_way(), 0), None);
        assert_eq!(step(&Obstacle::default(), 1), None, "it cannot be told");
        assert_eq!(step(&in_the_way(), 1), Some(Step::Lasts(4)));
        assert_eq!(step(&in_the_way(), 2), None, "less often");
        assert_eq!(step(&in_the_way(), 3), Some(Step::Lasts(4)));
        let over = Obstacle { is_over: true, ..Obstacle::default() };
        assert_eq!(step(&over, 4), Some(Step::Ends));
        assert_eq!(step(&over, 5), None);
        assert_eq!(step(&in_the_way(), 6), Some(Step::Begins));
    }
}
