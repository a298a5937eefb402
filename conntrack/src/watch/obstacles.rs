//! Causes that keep connections out of the tree: a warning when one begins, reminders while it lasts, a
//! message when it is over.

use crate::tree::{Cause, Obstacle, Shown};

/// Batches between two reminders: ten minutes at the default interval.
const REMINDER: u32 = 600;

/// By [`Cause`].
#[derive(Debug, Default)]
pub(super) struct Obstacles([Option<Lasting>; Cause::ALL.len()]);

/// An obstacle that was reported and is not over.
#[derive(Clone, Copy, Debug, Default)]
struct Lasting {
    /// Batches and connections since the last message.
    batches: u32,
    connections: u64,
}

impl Obstacles {
    /// Called after each batch.
    pub(super) fn look_at(&mut self, shown: &Shown) {
        for cause in Cause::ALL {
            let obstacle = shown.obstacle(cause);
            let step = go_on(&mut self.0[cause as usize], obstacle);
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

fn go_on(lasting: &mut Option<Lasting>, obstacle: &Obstacle) -> Option<Step> {
    match (&obstacle.first_error, &mut *lasting) {
        (Some(_), None) => {
            *lasting = Some(Lasting::default());
            Some(Step::Begins)
        }
        (Some(_), Some(since)) => {
            since.batches += 1;
            since.connections += obstacle.connections;
            let connections = since.connections;
            (since.batches >= REMINDER).then(|| {
                *since = Lasting::default();
                Step::Lasts(connections)
            })
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
    use super::*;
    use crate::tree::TreeError;

    #[test]
    fn an_obstacle_that_lasts_is_said_again_from_time_to_time() {
        let in_the_way = || Obstacle {
            connections: 2,
            first_error: Some(TreeError::MaxFiles { max: 1 }),
            is_over: false,
        };
        let mut lasting = None;
        assert_eq!(go_on(&mut lasting, &Obstacle::default()), None);
        assert_eq!(go_on(&mut lasting, &in_the_way()), Some(Step::Begins));
        for _ in 0..2 {
            for _ in 1..REMINDER {
                assert_eq!(go_on(&mut lasting, &in_the_way()), None);
                assert_eq!(go_on(&mut lasting, &Obstacle::default()), None, "it cannot be told");
            }
            let connections = u64::from(REMINDER) * 2;
            assert_eq!(go_on(&mut lasting, &in_the_way()), Some(Step::Lasts(connections)));
        }
        let over = Obstacle { is_over: true, ..Obstacle::default() };
        assert_eq!(go_on(&mut lasting, &over), Some(Step::Ends));
        assert_eq!(go_on(&mut lasting, &over), None);
        assert_eq!(go_on(&mut lasting, &in_the_way()), Some(Step::Begins));
    }
}
