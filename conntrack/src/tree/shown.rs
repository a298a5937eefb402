//! What came of showing connections: what was made, and what was not, by cause.

use super::{cause::Cause, error::TreeError};
use crate::connection::ByDirection;

/// What one cause kept from being shown.
#[derive(Debug, Default)]
pub struct Obstacle {
    /// Connections that it kept from it.
    pub connections: u64,
    /// Why the first of them could not.
    pub first_error: Option<TreeError>,
    /// Whether it is known not to be in the way now. Not so if nothing came its way.
    pub is_over: bool,
}

/// What came of showing connections.
#[derive(Debug, Default)]
pub struct Shown {
    /// Files that were not there before.
    pub made: ByDirection,
    /// Files that were there, and whose times were set.
    pub touched: ByDirection,
    /// Connections whose evidence could not be kept. They are shown all the same.
    pub evidence: Obstacle,
    obstacles: [Obstacle; Cause::ALL.len()],
}

impl Shown {
    /// What was in the way, or was not.
    pub const fn obstacle(&self, cause: Cause) -> &Obstacle {
        &self.obstacles[cause as usize]
    }

    /// Connections that could not be shown, whatever the cause.
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

    /// At the end of a batch: which causes are over, as far as the batch can tell.
    /// `has_room` knows about the limits.
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
