//! Limits: how many files the tree may hold, and how many inodes of its file system stay free.
//!
//! `else` is limited first, because there each packet of a scan can be a file. Packets to many ports, or
//! from many private addresses, create files in `in` and `out` too, so these have their own limits and a
//! lower floor of free inodes. Existing files are always updated. Time is counted in batches.

use super::{cause::Cause, directory::Directory, error::TreeError, name::directories};
use crate::connection::{ByDirection, Direction};

/// Configured limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// No new files in `else` while the whole tree holds this many.
    pub max_files: Option<u64>,
    /// No new files in `in` while it holds this many.
    pub max_files_in: Option<u64>,
    /// No new files in `out` while it holds this many.
    pub max_files_out: Option<u64>,
    /// No new files in `else` while fewer inodes are free, in percent, and none at all below
    /// 1/[`Self::HARD_FLOOR`] of that; 0 is no limit.
    pub min_free_inodes: u8,
}

impl Limits {
    /// The floor for `in` and `out` is the floor for `else`, divided by this.
    pub const HARD_FLOOR: u64 = 5;

    /// The limit of one direction.
    const fn of(&self, direction: Direction) -> Option<u64> {
        match direction {
            Direction::In => self.max_files_in,
            Direction::Out => self.max_files_out,
            Direction::Else => None,
        }
    }

    /// Counting the files of a direction stops here.
    fn counted(&self, direction: Direction) -> u64 {
        self.of(direction).max(self.max_files).unwrap_or_default()
    }
}

/// Batches between two counts of the files while at a limit, to notice removed files.
const BATCHES_PER_COUNT: u32 = 60;

/// What the limits leave.
#[derive(Debug, Default)]
pub(super) struct Room {
    limits: Limits,
    /// Files in the tree, counted up to the limits.
    files: ByDirection,
    batches_since_count: u32,
    /// `None` without a limit.
    inodes: Option<Inodes>,
}

/// Free inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inodes {
    /// For `else`.
    soft: Above,
    /// For all.
    hard: Above,
}

/// A floor, and the free inodes above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Above {
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

    /// Called before a batch; asks the file system for free inodes.
    pub(super) fn begin(&mut self, root: &Directory) {
        self.inodes = inodes(root, self.limits.min_free_inodes);
        self.batches_since_count = self.batches_since_count.saturating_add(1);
        let at_limit = Direction::ALL.into_iter().any(|it| self.at_max(it).is_some());
        if at_limit && self.batches_since_count >= BATCHES_PER_COUNT {
            // An unreadable directory is reported when a file is created in it.
            let _not_counted = self.count(root);
        }
    }

    fn count(&mut self, root: &Directory) -> Result<(), TreeError> {
        let mut files = ByDirection::default();
        for (direction, protocol) in directories() {
            let most = self.limits.counted(direction).saturating_sub(files.get(direction));
            if most > 0 {
                let names = root.below(direction, protocol)?.count_names(most)?;
                files.count_more(direction, names);
            }
        }
        self.files = files;
        self.batches_since_count = 0;
        Ok(())
    }

    /// A file was made.
    pub(super) fn use_up(&mut self, direction: Direction) {
        self.files.count(direction);
        if let Some(inodes) = &mut self.inodes {
            inodes.soft.spare = inodes.soft.spare.saturating_sub(1);
            inodes.hard.spare = inodes.hard.spare.saturating_sub(1);
        }
    }

    /// Why new files of this direction are held back now, if they are.
    pub(super) fn held_back(&self, direction: Direction) -> Option<TreeError> {
        self.at_max(direction).or_else(|| self.at_floor(direction))
    }

    fn at_max(&self, direction: Direction) -> Option<TreeError> {
        if direction == Direction::Else {
            let max = self.limits.max_files.filter(|max| self.files.total() >= *max)?;
            return Some(TreeError::MaxFiles { max });
        }
        let max = self.limits.of(direction)?;
        (self.files.get(direction) >= max).then_some(TreeError::MaxFilesOf { direction, max })
    }

    fn at_floor(&self, direction: Direction) -> Option<TreeError> {
        let inodes = self.inodes?;
        let percent = self.limits.min_free_inodes;
        match direction {
            Direction::Else if inodes.soft.spare == 0 => Some(TreeError::FewInodes { percent }),
            _ if inodes.hard.spare == 0 => Some(TreeError::FewestInodes { percent }),
            _ => None,
        }
    }

    /// Whether there is room for another tenth of the limit (hysteresis: 10 %).
    pub(super) fn has_room(&self, cause: Cause) -> bool {
        let below = |max: Option<u64>, files: u64| {
            max.is_none_or(|max| max.saturating_sub(files) > max / 10)
        };
        let above = |of: fn(&Inodes) -> Above| {
            self.inodes.is_none_or(|inodes| of(&inodes).spare > of(&inodes).floor / 10)
        };
        match cause {
            Cause::MaxFiles => below(self.limits.max_files, self.files.total()),
            Cause::MaxFilesIn => below(self.limits.max_files_in, self.files.get(Direction::In)),
            Cause::MaxFilesOut => below(self.limits.max_files_out, self.files.get(Direction::Out)),
            Cause::FewestInodes => above(|inodes| inodes.hard),
            _ => above(|inodes| inodes.soft),
        }
    }
}

/// `None` if the file system has no fixed number of inodes (reports 0) or does not tell.
fn inodes(root: &Directory, percent: u8) -> Option<Inodes> {
    let (total, free) = root.inodes()?;
    (total > 0 && percent > 0).then(|| above_floors(total, free, percent))
}

fn above_floors(total: u64, free: u64, percent: u8) -> Inodes {
    let floor = (u128::from(total) * u128::from(percent)).div_ceil(100);
    let floor = u64::try_from(floor).unwrap_or(u64::MAX);
    let above = |floor| Above { floor, spare: free.saturating_sub(floor) };
    Inodes { soft: above(floor), hard: above(floor / Limits::HARD_FLOOR) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_above_the_floor_can_be_used() {
        for (total, free, percent, soft, hard) in [
            (1_000, 1_000, 5, (50, 950), (10, 990)),
            (1_000, 51, 5, (50, 1), (10, 41)),
            (1_000, 50, 5, (50, 0), (10, 40)),
            (1_000, 10, 5, (50, 0), (10, 0)),
            (1_000, 9, 5, (50, 0), (10, 0)),
            (1_000, 1_000, 100, (1_000, 0), (200, 800)),
            // Rounded up.
            (10, 10, 5, (1, 9), (0, 10)),
            (u64::MAX, u64::MAX, 100, (u64::MAX, 0), (u64::MAX / 5, u64::MAX - u64::MAX / 5)),
        ] {
            let [soft, hard] = [soft, hard].map(|(floor, spare)| Above { floor, spare });
            let expected = Inodes { soft, hard };
            assert_eq!(above_floors(total, free, percent), expected, "{total} {free} {percent}");
        }
    }

    const ALL: [Direction; 3] = Direction::ALL;

    fn room(limits: Limits, files: [u64; 3]) -> Room {
        let mut room = Room { limits, ..Room::default() };
        ALL.into_iter().zip(files).for_each(|(it, files)| room.files.count_more(it, files));
        room
    }

    fn causes(room: &Room) -> [Option<Cause>; 3] {
        ALL.map(|direction| room.held_back(direction).map(|error| error.cause()))
    }

    #[test]
    fn whatever_is_made_uses_up_what_is_left() {
        let limits = Limits { max_files: Some(10), ..Limits::default() };
        let inodes = Some(above_floors(200, 13, 5));
        let mut room = Room { inodes, ..room(limits, [3, 3, 3]) };
        assert_eq!(causes(&room), [None; 3]);
        room.use_up(Direction::In);
        assert_eq!(causes(&room), [None, None, Some(Cause::MaxFiles)]);
        room.limits.max_files = None;
        assert_eq!(causes(&room), [None; 3]);
        (0..2).for_each(|_| room.use_up(Direction::Out));
        assert_eq!(causes(&room), [None, None, Some(Cause::FewInodes)]);
        (0..8).for_each(|_| room.use_up(Direction::Out));
        let fewest = Some(Cause::FewestInodes);
        assert_eq!(causes(&room), [fewest, fewest, Some(Cause::FewInodes)]);
    }

    #[test]
    fn in_and_out_have_limits_of_their_own() {
        let limits = Limits { max_files_in: Some(2), max_files_out: Some(3), ..Limits::default() };
        assert_eq!(causes(&room(limits, [1, 2, 100])), [None; 3]);
        let both = [Some(Cause::MaxFilesIn), Some(Cause::MaxFilesOut), None];
        assert_eq!(causes(&room(limits, [2, 3, 0])), both);
    }

    #[test]
    fn there_is_room_again_when_it_is_more_than_comes_and_goes() {
        let limits = |max| Limits {
            max_files: Some(max),
            max_files_in: Some(max),
            max_files_out: Some(max),
            min_free_inodes: 0,
        };
        for (cause, of) in [(Cause::MaxFiles, 2), (Cause::MaxFilesIn, 0), (Cause::MaxFilesOut, 1)] {
            let has_room = |max, files| {
                let mut all = [0; 3];
                all[of] = files;
                room(limits(max), all).has_room(cause)
            };
            assert!(!has_room(1_000, 900));
            assert!(has_room(1_000, 899));
            assert!(!has_room(1, 1));
            assert!(has_room(1, 0));
        }
        let free = |free| Room { inodes: Some(above_floors(1_000, free, 10)), ..Room::default() };
        assert!(!free(110).has_room(Cause::FewInodes));
        assert!(free(111).has_room(Cause::FewInodes));
        assert!(!free(22).has_room(Cause::FewestInodes));
        assert!(free(23).has_room(Cause::FewestInodes));
    }
}
