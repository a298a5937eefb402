//! The tree: connections as empty files, one each, in `DIR/{in,out,else}/{tcp,udp}/`.
//!
//! Nothing is ever removed, truncated or opened for writing: mknodat(2), which follows no link, creates a
//! file, utimensat(2) updates it. All directories are opened without following links, again for each
//! slice of a batch, so a deleted or moved directory is created again. Evidence is an extended attribute
//! of the file.

mod attributes;
mod cause;
mod claim;
mod directory;
mod error;
mod evidence;
mod known;
mod last_seen;
mod limits;
mod name;
mod owner;
mod owners;
mod place;
mod provenance;
mod reading;
mod showing;
mod shown;
mod telling;

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use attributes::Way;
pub use cause::Cause;
pub use claim::Claim;
use directory::Directory;
pub(crate) use directory::kind;
pub use error::TreeError;
use evidence::Words;
use known::Known;
pub use last_seen::LastSeen;
pub use limits::Limits;
use limits::Room;
use name::directories;
pub use name::{direction_directory, file_name, path, protocol_directory};
pub use owner::Owner;
pub use owners::Owners;
use place::Place;
pub use provenance::Provenance;
pub use reading::{Entry, read};
pub use showing::Showing;
use showing::Slice;
pub use shown::{Obstacle, Shown};
pub use telling::Telling;

use crate::connection::{Connection, Direction, Protocol, Sighting};

/// A tree of connections in the file system.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    place: Place,
    room: Room,
    /// In the order of [`directories`].
    known: [Known; 6],
    /// How words of evidence are read and set.
    way: Way,
    /// What the root says of the recording, and whether that was written.
    provenance: Option<Provenance>,
    attested: bool,
    /// Which connections are told one by one.
    telling: Telling,
}

impl Tree {
    /// Opens the tree at `root`, making it and its six directories where they are missing.
    ///
    /// # Errors
    /// A path that cannot be made or written, by its name and with what to do about it.
    pub fn open_or_make(root: &Path) -> Result<Self, TreeError> {
        Self::open_or_make_among(Owners::ours(), root)
    }

    /// The same, with these owners allowed.
    ///
    /// # Errors
    /// As [`Self::open_or_make`].
    pub fn open_or_make_among(owners: Owners, root: &Path) -> Result<Self, TreeError> {
        // Drop "." and trailing slashes, which would follow a link in the last component.
        let root: PathBuf = root.components().collect();
        owners.check_way(&root)?;
        let place = Place::of(&root, owners)?;
        let directory = place.open_or_make_root()?;
        directory.check_ours()?;
        for (direction, protocol) in directories() {
            directory.below(direction, protocol)?.check_writable()?;
        }
        let way = Way::find(&directory);
        Ok(Self {
            root,
            place,
            room: Room::default(),
            known: Default::default(),
            way,
            provenance: None,
            attested: false,
            telling: Telling::Nothing,
        })
    }

    /// The same, and [`Shown`] has these connections one by one.
    #[must_use]
    pub fn telling(self, telling: Telling) -> Self {
        Self { telling, ..self }
    }

    /// Claims the tree for this process, as long as the claim is held; others may have done so, too.
    ///
    /// # Errors
    /// A root that cannot be opened, or a file system without locks.
    pub fn claim(&self) -> Result<Claim, TreeError> {
        let root = self.open_root()?;
        Claim::on(&root).map_err(|errno| TreeError::io("lock", self.root.clone(), errno))
    }

    /// Sets limits and counts the files already there.
    ///
    /// # Errors
    /// A directory whose files cannot be counted.
    pub fn with_limits(self, limits: Limits) -> Result<Self, TreeError> {
        let root = self.open_root()?;
        Ok(Self { room: Room::new(limits, &root)?, ..self })
    }

    /// Checks, without creating anything, whether a tree at `root` could be opened or created.
    ///
    /// # Errors
    /// As [`Self::open_or_make`].
    pub fn check(root: &Path) -> Result<(), TreeError> {
        Self::check_among(Owners::ours(), root)
    }

    /// The same, with these owners allowed.
    ///
    /// # Errors
    /// As [`Self::open_or_make`].
    pub fn check_among(owners: Owners, root: &Path) -> Result<(), TreeError> {
        let root: PathBuf = root.components().collect();
        owners.check_way(&root)?;
        let place = Place::of(&root, owners)?;
        let Some(directory) = place.root_if_there()? else {
            return place.directory()?.check_writable();
        };
        directory.check_writable()?;
        directory.check_ours()?;
        for (direction, protocol) in directories() {
            if let Some(below) = directory.below_if_there(direction, protocol)? {
                below.check_writable()?;
            }
        }
        Ok(())
    }

    /// The directory that contains all later writes: the root's parent, so that a removed root can be
    /// created again, or the root itself if the parent is not writable.
    ///
    /// # Errors
    /// A root that cannot be opened.
    pub fn reach(&self) -> Result<OwnedFd, TreeError> {
        self.place.reach()
    }

    /// Tells the tree that only files below `reach` can be written, so that it reports a replaced
    /// directory as such.
    pub fn confine(&mut self, reach: OwnedFd) {
        self.place.confine(reach);
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
        match self.place.root_if_there()? {
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

    /// Keeps that a person wants a connection to have a rule. Its file is made if it is missing.
    ///
    /// # Errors
    /// A file that cannot be made, or a file system without extended attributes.
    pub fn accept(&mut self, connection: Connection) -> Result<(), TreeError> {
        let Connection { direction, protocol, .. } = connection;
        let name = file_name(&connection);
        let directory = self.open_root()?.below(direction, protocol)?;
        if !directory.has_file(&name) {
            let shown = self.show(vec![Sighting::opened(connection)], LastSeen::Now);
            let failed = Cause::ALL.into_iter().find_map(|cause| {
                shown.obstacle(cause).first_error.as_ref().map(ToString::to_string)
            });
            if let Some(why) = failed {
                log::warn!("{why}");
            }
        }
        let kept = self.way.accept(&directory, &name);
        kept.map_err(|errno| TreeError::Evidence {
            path: directory.join(&name),
            source: errno.into(),
        })
    }

    fn open_root(&self) -> Result<Directory, TreeError> {
        self.place.open_or_make_root()
    }

    /// Shows connections: creates a file for each and sets its modification time. Any order; duplicates
    /// are merged.
    pub fn show(&mut self, sightings: Vec<Sighting>, last_seen: LastSeen) -> Shown {
        let mut showing = self.begin(sightings, last_seen);
        while !showing.is_done() {
            self.go_on(&mut showing, || false);
        }
        self.conclude(showing)
    }

    /// Starts showing connections; continue with [`Self::go_on`].
    pub fn begin(&mut self, sightings: Vec<Sighting>, last_seen: LastSeen) -> Showing {
        let mut showing = Showing::new(sightings, last_seen);
        if !showing.is_done() {
            match self.place.open_root_again() {
                Ok(root) => {
                    showing.shown.evidence.first_error = self.attest(&root).err();
                    self.room.begin(&root);
                }
                Err(error) => showing.fail(error),
            }
        }
        showing
    }

    /// Shows one slice: at least one connection, until `is_time_up` or the end of a directory. Reopens
    /// the directories.
    pub fn go_on(&mut self, showing: &mut Showing, is_time_up: impl Fn() -> bool) {
        let Some((direction, protocol)) = showing.directory() else { return };
        let root = self.place.open_root_again();
        let opened = root.and_then(|root| root.below(direction, protocol));
        let place = directories().position(|it| it == (direction, protocol));
        match (opened, place.and_then(|place| self.known.get_mut(place))) {
            (Ok(directory), Some(known)) => {
                let words = Words::new(self.way);
                let last_seen = showing.last_seen;
                let slice = Slice {
                    directory,
                    known,
                    room: &mut self.room,
                    words,
                    last_seen,
                    telling: self.telling,
                };
                slice.show(showing, is_time_up);
            }
            (Err(error), _) => showing.fail_directory(error),
            (Ok(_), None) => {}
        }
    }

    /// Ends it and returns the result. Counts the rest as not written.
    pub fn conclude(&self, mut showing: Showing) -> Shown {
        if !showing.is_done() {
            showing.give_up();
        }
        showing.shown.conclude(|cause| self.room.has_room(cause));
        showing.shown
    }
}

#[cfg(test)]
mod tests;
