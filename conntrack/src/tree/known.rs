//! What is known of a directory from one batch to the next: which of its files are there. Only a
//! cache: what it does not know costs system calls, and no more than that.

use std::{collections::HashSet, hash::BuildHasher as _};

use super::directory::{Directory, Stamp};

/// Names that are known of one directory. A hash table of 2^17 places, filled as far as it goes
/// without doubling: with 9 bytes each, 1.2 MB.
const MAX: usize = (1 << 17) / 8 * 7;

/// The files of one directory that were there when we left it.
///
/// Whoever puts something else in a file's place changes the directory, and that shows in its stamp:
/// then all is forgotten and looked at again. What somebody does in the very moment in which we make
/// files too goes by unnoticed until the next change. Nothing is followed then either; only that a
/// name is occupied is not said.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The directory as it was left.
    left: Option<Stamp>,
    /// Hashes of names, keyed anew for each run. If two are ever the same, the missing file is made
    /// when its times cannot be set.
    names: HashSet<u64>,
}

impl Known {
    /// Before a batch: forgets everything unless the directory is as it was left.
    pub(super) fn begin(&mut self, directory: &Directory) {
        let found = directory.stamp();
        if found.is_none() || found != self.left {
            self.names.clear();
            self.left = found;
        }
    }

    /// After a batch in which we changed the directory.
    pub(super) fn leave(&mut self, directory: &Directory) {
        self.left = directory.stamp();
    }

    /// Whether the file `name` was there a moment ago.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(&self.hash(name))
    }

    /// The file `name` is there.
    pub(super) fn add(&mut self, name: &str) {
        if self.names.len() >= MAX {
            self.names.clear();
        }
        self.names.insert(self.hash(name));
    }

    fn hash(&self, name: &str) -> u64 {
        self.names.hasher().hash_one(name)
    }
}
