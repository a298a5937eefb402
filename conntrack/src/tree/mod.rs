//! The tree: connections as empty files, one each, in `DIR/{in,out,else}/{tcp,udp}/`.
//!
//! Nothing is ever removed, truncated or opened for writing: a file is made by mknodat(2), which
//! follows no link, and shown again by setting its times. All work goes through directory handles
//! that were opened without following links, anew for each batch: a directory that was deleted or
//! moved away in between is made again where it belongs.

mod directory;
mod error;
mod name;

use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
    time::SystemTime,
};

use directory::Directory;
pub use error::TreeError;
pub use name::{file_name, path};

use crate::connection::{Connection, Direction, Protocol};

/// When connections were last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastSeen {
    /// Just now, by the clock of the file system.
    Now,
    /// Then, by the clock of whoever captured it. A file that is newer stays as it is.
    At(SystemTime),
}

/// What came of showing connections.
#[derive(Debug, Default)]
pub struct Shown {
    /// Files that were not there before.
    pub made: u64,
    /// Connections that could not be shown.
    pub failed: u64,
    /// Why the first of them could not.
    pub first_error: Option<TreeError>,
}

/// A tree of connections in the file system.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    /// Connections whose files were there a moment ago. Only a cache: what it does not know costs
    /// one more system call.
    known: HashSet<Connection>,
}

/// Entries that [`Tree::known`] may have, at some 50 bytes each.
const KNOWN_MAX: usize = 65_536;

impl Tree {
    /// Opens the tree at `root`, making it and its six directories where they are missing.
    ///
    /// # Errors
    /// A path that cannot be made or written, by its name and with what to do about it.
    pub fn open_or_make(root: &Path) -> Result<Self, TreeError> {
        // Without "." components and trailing slashes, which would follow a link at the end.
        let root: PathBuf = root.components().collect();
        let directory = Directory::open_or_make_root(&root)?;
        for direction in Direction::ALL {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                directory.below(direction, protocol)?.check_writable()?;
            }
        }
        Ok(Self { root, known: HashSet::new() })
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
        let root = Directory::open_or_make_root(&self.root)?;
        root.below(direction, protocol)?.for_each_name(|name| {
            if let Some(connection) = name::connection(direction, protocol, name) {
                each(connection);
            }
        })
    }

    /// Makes the connections visible: a file for each, its modification time set to when it was
    /// last seen.
    pub fn show(&mut self, connections: &BTreeSet<Connection>, last_seen: LastSeen) -> Shown {
        let mut shown = Shown::default();
        if connections.is_empty() {
            return shown;
        }
        match Directory::open_or_make_root(&self.root) {
            Ok(root) => self.show_below(&root, connections, last_seen, &mut shown),
            Err(error) => shown.fail(connections.len(), error),
        }
        shown
    }

    /// The set is sorted by direction and protocol first, so each directory is opened once.
    fn show_below(
        &mut self,
        root: &Directory,
        connections: &BTreeSet<Connection>,
        last_seen: LastSeen,
        shown: &mut Shown,
    ) {
        let connections: Vec<_> = connections.iter().collect();
        let same_directory = |a: &&Connection, b: &&Connection| {
            (a.direction, a.protocol) == (b.direction, b.protocol)
        };
        for siblings in connections.chunk_by(same_directory) {
            match root.below(siblings[0].direction, siblings[0].protocol) {
                Ok(directory) => self.show_in(&directory, siblings, last_seen, shown),
                Err(error) => shown.fail(siblings.len(), error),
            }
        }
    }

    fn show_in(
        &mut self,
        directory: &Directory,
        siblings: &[&Connection],
        last_seen: LastSeen,
        shown: &mut Shown,
    ) {
        for &&connection in siblings {
            let was_there = self.known.contains(&connection);
            match directory.show(&file_name(&connection), was_there, last_seen) {
                Ok(made) => {
                    shown.made += u64::from(made);
                    self.remember(connection);
                }
                Err(error) => shown.fail(1, error),
            }
        }
    }

    fn remember(&mut self, connection: Connection) {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(connection);
    }
}

impl Shown {
    fn fail(&mut self, connections: usize, error: TreeError) {
        self.failed += connections as u64;
        self.first_error.get_or_insert(error);
    }
}

#[cfg(test)]
mod tests;
