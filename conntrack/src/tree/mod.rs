//! The tree: connections as empty files, one each, in `DIR/{in,out,else}/{tcp,udp}/`.
//!
//! Nothing is ever removed, truncated or opened for writing: a file is made by mknodat(2), which
//! follows no link, and shown again by setting its times. All work goes through directory handles
//! that were opened without following links, anew for each batch: a directory that was deleted or
//! moved away in between is made again where it belongs.

mod directory;
mod error;
mod known;
mod limits;
mod name;
mod owners;
mod reading;
mod shown;

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::SystemTime,
};

use directory::Directory;
pub use error::TreeError;
use known::Known;
pub use limits::Limits;
use limits::Room;
pub use name::{direction_directory, file_name, path, protocol_directory};
pub use owners::{Owner, Owners};
pub use reading::{Entry, read};
pub use shown::{Cause, Obstacle, Shown};

use crate::connection::{Connection, Direction, Protocol, Sighting};

/// When connections were last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastSeen {
    /// Just now, by the clock of the file system.
    Now,
    /// Then, by the clock of whoever captured it. A file that is newer stays as it is.
    At(SystemTime),
}

/// A tree of connections in the file system.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    owners: Owners,
    room: Room,
    /// In the order of [`directories`].
    known: [Known; 6],
}

impl Tree {
    /// Opens the tree at `root`, making it and its six directories where they are missing.
    ///
    /// # Errors
    /// A path that cannot be made or written, by its name and with what to do about it.
    pub fn open_or_make(root: &Path) -> Result<Self, TreeError> {
        Self::open_or_make_among(Owners::ours(), root)
    }

    /// The same where these owners are fine.
    ///
    /// # Errors
    /// As [`Self::open_or_make`].
    pub fn open_or_make_among(owners: Owners, root: &Path) -> Result<Self, TreeError> {
        // Without "." components and trailing slashes, which would follow a link at the end.
        let root: PathBuf = root.components().collect();
        owners.check_way(&root)?;
        let directory = Directory::open_or_make_root(&root, owners)?;
        for (direction, protocol) in directories() {
            directory.below(direction, protocol)?.check_writable()?;
        }
        Ok(Self { root, owners, room: Room::default(), known: Default::default() })
    }

    /// The same tree with limits, from the files on that it holds now.
    ///
    /// # Errors
    /// A directory whose files cannot be counted.
    pub fn with_limits(self, limits: Limits) -> Result<Self, TreeError> {
        let root = self.open_root()?;
        Ok(Self { room: Room::new(limits, &root)?, ..self })
    }

    /// Whether a tree at `root` could be opened or made, as far as it can be told without making any.
    ///
    /// # Errors
    /// As [`Self::open_or_make`].
    pub fn check(root: &Path) -> Result<(), TreeError> {
        let (root, owners): (PathBuf, _) = (root.components().collect(), Owners::ours());
        owners.check_way(&root)?;
        let Some(directory) = Directory::root_if_there(&root, owners)? else {
            return Directory::place_of(&root, owners)?.check_writable();
        };
        directory.check_writable()?;
        for (direction, protocol) in directories() {
            if let Some(below) = directory.below_if_there(direction, protocol)? {
                below.check_writable()?;
            }
        }
        Ok(())
    }

    /// The directory below which everything is that the tree ever makes: that in which the root
    /// stands, so that a root which somebody removed can come back; or the root itself, where we
    /// could not make it again.
    ///
    /// # Errors
    /// A root that cannot be opened.
    pub fn reach(&self) -> Result<OwnedFd, TreeError> {
        let root = self.open_root()?;
        let above = root.above()?;
        let reach = if above.check_writable().is_ok() { above } else { root };
        Ok(reach.into())
    }

    /// Hands each connection in the directory of `direction` and `protocol` to `each`; files that
    /// stand for none are passed over.
    ///
    /// # Errors
    /// The directory that cannot be read.
    pub fn for_each(
        &self,
        direction: Direction,
        protocol: Protocol,
        mut each: impl FnMut(Connection),
    ) -> Result<(), TreeError> {
        let root = self.open_root()?;
        root.below(direction, protocol)?.for_each_name(|name| {
            if let Some(connection) = name::connection(direction, protocol, name) {
                each(connection);
            }
        })
    }

    fn open_root(&self) -> Result<Directory, TreeError> {
        Directory::open_or_make_root(&self.root, self.owners)
    }

    /// Makes the connections visible: a file for each, its modification time set to when it was
    /// last seen. They may come in any order, and more than once.
    pub fn show(&mut self, mut sightings: Vec<Sighting>, last_seen: LastSeen) -> Shown {
        let mut shown = Shown::default();
        if sightings.is_empty() {
            return shown;
        }
        // By directory first; `else` comes last, and gets what `in` and `out` leave of the room.
        sightings.sort_unstable_by_key(|sighting| sighting.connection);
        sightings.dedup_by(|later, first| {
            let is_same = later.connection == first.connection;
            if is_same {
                first.merge(later);
            }
            is_same
        });
        match self.open_root() {
            Ok(root) => self.show_below(&root, &sightings, last_seen, &mut shown),
            Err(error) => shown.fail(sightings.len(), error),
        }
        shown.conclude(|cause| self.room.has_room(cause));
        shown
    }

    /// Each directory is opened once.
    fn show_below(
        &mut self,
        root: &Directory,
        sightings: &[Sighting],
        last_seen: LastSeen,
        shown: &mut Shown,
    ) {
        self.room.begin(root);
        let mut rest = sightings;
        for (known, (direction, protocol)) in self.known.iter_mut().zip(directories()) {
            let is_here = |it: &Sighting| {
                (it.connection.direction, it.connection.protocol) == (direction, protocol)
            };
            let (here, others) = rest.split_at(rest.partition_point(is_here));
            rest = others;
            if here.is_empty() {
                continue;
            }
            match root.below(direction, protocol) {
                Ok(directory) => {
                    let mut batch = Batch { directory, known, room: &mut self.room, last_seen };
                    batch.show(here, shown);
                }
                Err(error) => shown.fail(here.len(), error),
            }
        }
    }
}

/// Every directory of connections, in the order of connections.
fn directories() -> impl Iterator<Item = (Direction, Protocol)> {
    let both = [Protocol::Tcp, Protocol::Udp];
    Direction::ALL.into_iter().flat_map(move |direction| both.map(|it| (direction, it)))
}

/// What is shown in one directory at one time.
struct Batch<'a> {
    directory: Directory,
    known: &'a mut Known,
    room: &'a mut Room,
    last_seen: LastSeen,
}

impl Batch<'_> {
    fn show(&mut self, sightings: &[Sighting], shown: &mut Shown) {
        self.known.begin(&self.directory);
        let made_before = shown.made.total();
        let mut name = String::new();
        for sighting in sightings.iter().filter(|it| it.has_packet) {
            let connection = &sighting.connection;
            name.clear();
            name::push_file_name(&mut name, connection);
            if let Err(error) = self.show_one(connection.direction, &name, shown) {
                shown.fail(1, error);
            }
        }
        if shown.made.total() > made_before {
            self.known.leave(&self.directory);
        }
    }

    fn show_one(
        &mut self,
        direction: Direction,
        name: &str,
        shown: &mut Shown,
    ) -> Result<(), TreeError> {
        let held_back = match direction {
            Direction::Else => self.room.held_back(),
            Direction::In | Direction::Out => None,
        };
        let known = self.known.has(name);
        if self.directory.show(name, known, held_back, self.last_seen)? {
            shown.made.count(direction);
            self.room.use_up();
        } else {
            shown.touched.count(direction);
        }
        if !known {
            self.known.add(name);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
