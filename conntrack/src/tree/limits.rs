//! Limits: how many files the tree may hold, and how many inodes of its file system stay free.
//!
//! They hold back new files in `else` alone, where each packet of a scan can be a file of its own;
//! `in` and `out` go on, and so does what is there already. No clock is read here: time is batches.

use super::{cause::Cause, directory::Directory, error::TreeError, name::directories};

/// What the tree may use up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// No new files are made in `else` while the tree holds this many, wherever they are.
    pub max_files: Option<u64>,
    /// No new files are made in `else` while fewer of the file system's inodes are free, in percent;
    /// 0 is no limit.
    pub min_free_inodes: u8,
}

/// Batches between two counts of the files at the limit, where only a count can tell that somebody
/// removed some.
const BATCHES_PER_COUNT: u32 = 60;

/// What is left of the limits.
#[derive(Debug, Default)]
pub(super) struct Room {
    limits: Limits,
    /// Files in the tree; only kept up to date where there is a limit, and never counted beyond it.
    files: u64,
    batches_since_count: u32,
    /// Inodes that are left free, and what is free above them; `None` without a limit.
    inodes: Option<Inodes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inodes {
    floor: u64,
    spare: u64,
}

impl Room {
    /// Counts the files, if there is a limit to them.
    pub(super) fn new(limits: Limits, root: &Directory) -> Result<Self, TreeError> {
        let mut left = Self { limits, ..Self::default() };
        left.count(root)?;
        Ok(left)
    }

    /// Before a batch: asks the file system anew.
    pub(super) fn begin(&mut self, root: &Directory) {
        self.inodes = inodes(root, self.limits.min_free_inodes);
        self.batches_since_count = self.batches_since_count.saturating_add(1);
        let at_limit = self.limits.max_files.is_some_and(|max| self.files >= max);
        if at_limit && self.batches_since_count >= BATCHES_PER_COUNT {
            // A directory that cannot be read says why when a file is to be made in it.
            let _not_counted = self.count(root);
        }
    }

    fn count(&mut self, root: &Directory) -> Result<(), TreeError> {
        let Some(max) = self.limits.max_files else { return Ok(()) };
        let mut files = 0;
        for (direction, protocol) in directories() {
            let most = max.saturating_sub(files);
            files += root.below(direction, protocol)?.count_names(most)?;
        }
        self.files = files;
        self.batches_since_count = 0;
        Ok(())
    }

    /// A file was made, in whichever directory.
    pub(super) const fn use_up(&mut self) {
        self.files = self.files.saturating_add(1);
        if let Some(inodes) = &mut self.inodes {
            inodes.spare = inodes.spare.saturating_sub(1);
        }
    }

    /// Why no new file is made in `else` now.
    pub(super) fn held_back(&self) -> Option<TreeError> {
        match (self.limits.max_files, self.inodes) {
            (Some(max), _) if self.files >= max => Some(TreeError::MaxFiles { max }),
            (_, Some(Inodes { spare: 0, .. })) => {
                Some(TreeError::FewInodes { percent: self.limits.min_free_inodes })
            }
            _ => None,
        }
    }

    /// Whether there is room by a tenth of the limit: less comes and goes where others make and
    /// remove files beside us, and is nothing to talk about.
    pub(super) fn has_room(&self, cause: Cause) -> bool {
        match cause {
            Cause::MaxFiles => {
                self.limits.max_files.is_none_or(|max| max.saturating_sub(self.files) > max / 10)
            }
            _ => self.inodes.is_none_or(|Inodes { floor, spare }| spare > floor / 10),
        }
    }
}

/// Some file systems have no fixed number of inodes and report 0; one that does not say has no limit
/// either.
fn inodes(root: &Directory, percent: u8) -> Option<Inodes> {
    let (total, free) = root.inodes()?;
    (total > 0 && percent > 0).then(|| above_floor(total, free, percent))
}

fn above_floor(total: u64, free: u64, percent: u8) -> Inodes {
    let floor = (u128::from(total) * u128::from(percent)).div_ceil(100);
    let floor = u64::try_from(floor).unwrap_or(u64::MAX);
    Inodes { floor, spare: free.saturating_sub(floor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_above_the_floor_can_be_used() {
        for (total, free, percent, floor, spare) in [
            (1_000, 1_000, 5, 50, 950),
            (1_000, 51, 5, 50, 1),
            (1_000, 50, 5, 50, 0),
            (1_000, 49, 5, 50, 0),
            (1_000, 1_000, 100, 1_000, 0),
            // Any percentage of a few inodes is at least one of them.
            (10, 10, 5, 1, 9),
            (u64::MAX, u64::MAX, 100, u64::MAX, 0),
        ] {
            let expected = Inodes { floor, spare };
            assert_eq!(above_floor(total, free, percent), expected, "{total} {free} {percent}");
        }
    }

    fn room(max_files: u64, files: u64) -> Room {
        let limits = Limits { max_files: Some(max_files), min_free_inodes: 0 };
        Room { limits, files, ..Room::default() }
    }

    #[test]
    fn whatever_is_made_uses_up_what_is_left() {
        let mut room = Room { inodes: Some(above_floor(100, 7, 5)), ..room(10, 9) };
        let held_back = |room: &Room| room.held_back().map(|error| error.cause());
        assert_eq!(held_back(&room), None);
        room.use_up();
        assert_eq!(held_back(&room), Some(Cause::MaxFiles));
        room.limits.max_files = None;
        assert_eq!(held_back(&room), None);
        room.use_up();
        assert_eq!(held_back(&room), Some(Cause::FewInodes));
    }

    #[test]
    fn there_is_room_again_when_it_is_more_than_comes_and_goes() {
        assert!(!room(1_000, 900).has_room(Cause::MaxFiles));
        assert!(room(1_000, 899).has_room(Cause::MaxFiles));
        assert!(!room(1, 1).has_room(Cause::MaxFiles));
        assert!(room(1, 0).has_room(Cause::MaxFiles));
        let free = |free| Room { inodes: Some(above_floor(1_000, free, 10)), ..Room::default() };
        assert!(!free(110).has_room(Cause::FewInodes));
        assert!(free(111).has_room(Cause::FewInodes));
    }
}
