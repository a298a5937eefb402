//! The tree: connections as empty files, one each, in `DIR/{in,out,else}/{tcp,udp}/`.
//!
//! Nothing is ever removed, truncated or opened for writing: a file is made by mknodat(2), which
//! follows no link, and shown again by setting its times. All work goes through directory handles
//! that were opened without following links, anew for each batch: a directory that was deleted or
//! moved away in between is made again where it belongs. What came of a connection is an extended
//! attribute of its file.

mod attributes;
mod cause;
mod directory;
mod error;
mod evidence;
mod known;
mod last_seen;
mod limits;
mod name;
mod owner;
mod owners;
mod provenance;
mod reading;
mod shown;

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use attributes::Way;
pub use cause::Cause;
use directory::Directory;
pub(crate) use directory::kind;
pub use error::TreeError;
use evidence::{Found, Words};
use known::{Known, Word};
pub use last_seen::LastSeen;
pub use limits::Limits;
use limits::Room;
use name::directories;
pub use name::{direction_directory, file_name, path, protocol_directory};
pub use owner::Owner;
pub use owners::Owners;
pub use provenance::Provenance;
pub use reading::{Entry, read};
pub use shown::{Obstacle, Shown};

use crate::connection::{Connection, Direction, Protocol, Sighting};

/// A tree of connections in the file system.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    owners: Owners,
    room: Room,
    /// In the order of [`directories`].
    known: [Known; 6],
    /// How words of evidence are read and set.
    way: Way,
    /// What the root says of the recording, and whether that was written.
    provenance: Option<Provenance>,
    attested: bool,
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
        let way = Way::find(&directory);
        Ok(Self {
            root,
            owners,
            room: Room::default(),
            known: Default::default(),
            way,
            provenance: None,
            attested: false,
        })
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

    /// Whether it holds no connections.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn is_empty(&self) -> Result<bool, TreeError> {
        let root = self.open_root()?;
        for (direction, protocol) in directories() {
            if root.below(direction, protocol)?.count_names(1)? > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the root says of the recording up to now.
    ///
    /// # Errors
    /// A root that cannot be opened or read.
    pub fn provenance(&self) -> Result<Option<Provenance>, TreeError> {
        let root = self.open_root()?;
        Provenance::read(&root).map_err(|errno| TreeError::io("read", self.root.clone(), errno))
    }

    /// Has the root say this from now on, also where it is made again.
    ///
    /// # Errors
    /// That it cannot say it now. It is tried again whenever connections are shown.
    pub fn set_provenance(&mut self, provenance: &Provenance) -> Result<(), TreeError> {
        if self.provenance.as_ref() == Some(provenance) {
            return Ok(());
        }
        self.provenance = Some(provenance.clone());
        self.attested = false;
        match Directory::root_if_there(&self.root, self.owners)? {
            Some(root) => self.attest(&root),
            None => Ok(()),
        }
    }

    fn attest(&mut self, root: &Directory) -> Result<(), TreeError> {
        let Some(provenance) = &self.provenance else { return Ok(()) };
        // Another root may have taken its place.
        if !self.attested || !Provenance::is_at(root) {
            let written = provenance.write(root);
            self.attested = written.is_ok();
            let path = || self.root.clone();
            written.map_err(|source| TreeError::Evidence { path: path(), source })?;
        }
        Ok(())
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
            Ok(root) => {
                shown.evidence.first_error = self.attest(&root).err();
                self.show_below(&root, &sightings, last_seen, &mut shown);
            }
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
                    let words = Words::new(self.way);
                    let batch = Batch { directory, known, room: &mut self.room, words, last_seen };
                    batch.show(here, shown);
                }
                Err(error) => shown.fail(here.len(), error),
            }
        }
    }
}

/// What is shown in one directory at one time.
struct Batch<'a> {
    directory: Directory,
    known: &'a mut Known,
    room: &'a mut Room,
    words: Words,
    last_seen: LastSeen,
}

impl Batch<'_> {
    fn show(mut self, sightings: &[Sighting], shown: &mut Shown) {
        self.known.begin(&self.directory);
        let made_before = shown.made.total();
        let mut name = String::new();
        for sighting in sightings {
            name.clear();
            name::push_file_name(&mut name, &sighting.connection);
            if let Err(error) = self.show_one(sighting, &name, shown) {
                shown.fail(1, error);
            }
        }
        if shown.made.total() > made_before {
            self.known.leave(&self.directory);
        }
        shown.unkept(self.words.conclude());
    }

    /// What answers a connection makes no file, and is kept where one is there: made in an earlier batch
    /// or an earlier run.
    fn show_one(
        &mut self,
        sighting: &Sighting,
        name: &str,
        shown: &mut Shown,
    ) -> Result<(), TreeError> {
        let known = self.known.word(name);
        let found = match (sighting.has_packet, known) {
            (true, _) if self.show_file(sighting, name, known.is_some(), shown)? => Found::Made,
            (true, known) => Found::There(known.unwrap_or(Word::Unread)),
            (false, Some(word)) => Found::There(word),
            (false, None) => Found::Perhaps,
        };
        let word = self.words.keep(&self.directory, name, found, sighting);
        match word {
            Some(word) if Some(word) != known => self.known.set(name, word),
            _ => {}
        }
        Ok(())
    }

    /// Whether it was made.
    fn show_file(
        &mut self,
        sighting: &Sighting,
        name: &str,
        known: bool,
        shown: &mut Shown,
    ) -> Result<bool, TreeError> {
        let direction = sighting.connection.direction;
        let held_back = self.room.held_back(direction);
        let made = self.directory.show(name, known, held_back, self.last_seen)?;
        if made {
            shown.made.count(direction);
            self.room.use_up(direction);
        } else {
            shown.touched.count(direction);
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests;
