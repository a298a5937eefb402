//! Result of showing connections: files created and updated, and connections not shown, by cause.

use super::{cause::Cause, error::TreeError};
use crate::connection::{ByDirection, Sighting};

/// The effect of one cause.
#[derive(Debug, Default)]
pub struct Obstacle {
    /// Connections not shown.
    pub connections: u64,
    /// The first error.
    pub first_error: Option<TreeError>,
    /// Whether the cause is known to be gone. False if nothing tested it.
    pub is_over: bool,
}

/// Result of showing connections.
#[derive(Debug, Default)]
pub struct Shown {
    /// Files created.
    pub made: ByDirection,
    /// Existing files updated.
    pub touched: ByDirection,
    /// Those whose files were created, where they are to be told.
    pub new: Vec<Sighting>,
    /// Those that were there and have another word now, where they are to be told: with that word.
    pub changed: Vec<Sighting>,
    /// Connections whose evidence could not be kept. They are shown all the same.
    pub evidence: Obstacle,
    obstacles: [Obstacle; Cause::ALL.len()],
}

impl Shown {
    /// The effect of a cause.
    pub const fn obstacle(&self, cause: Cause) -> &Obstacle {
        &self.obstacles[cause as usize]
    }

    /// Connections not shown, over all causes.
    pub fn not_shown(&self) -> u64 {
        self.obstacles.iter().map(|obstacle| obstacle.connections).sum()
    }

    pub(super) fn fail(&mut self, connections: usize, error: TreeError) {
        let obstacle = &mut self.obstacles[error.cause() as usize];
        obstacle.connections += connections as u64;
        obstacle.first_error.get_or_insert(error);
    }

    /// Evidence that could not be kept in one of the directories.
    pub(super) fn unkept(&mut self, evidence: Obstacle) {
        let all = &mut self.evidence;
        all.connections += evidence.connections;
        all.is_over |= evidence.is_over;
        if let Some(error) = evidence.first_error {
            all.first_error.get_or_insert(error);
        }
    }

    /// Called at the end of a batch: decides which causes are gone. `has_room` answers for the limits.
    pub(super) fn conclude(&mut self, has_room: impl Fn(Cause) -> bool) {
        let made = self.made.total();
        let touched = self.touched.total();
        for cause in Cause::ALL {
            let obstacle = &mut self.obstacles[cause as usize];
            obstacle.is_over = obstacle.connections == 0
                && match cause {
                    Cause::Refused => made + touched > 0,
                    Cause::Full => made > 0,
                    Cause::Unfinished => false,
                    _ => has_room(cause),
                };
        }
    }
}
