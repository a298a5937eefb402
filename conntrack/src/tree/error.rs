//! What can go wrong with the tree, each with its path and with what to do about it.

use std::{io, path::PathBuf};

/// A path of the tree that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The directory that the root should be made in does not exist.
    #[error("cannot make {}: {} does not exist; make it first", .root.display(), .parent.display())]
    NoParent {
        /// The tree's root.
        root: PathBuf,
        /// What is missing.
        parent: PathBuf,
    },
    /// Something else stands where a directory or an empty file should be.
    #[error("{} is {found}, not {wanted}; move it away or choose another directory", .path.display())]
    Occupied {
        /// Where it stands.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What should be there.
        wanted: &'static str,
    },
    /// The file system said no.
    #[error("cannot {action} {}: {source}{}", .path.display(), advice(source))]
    Io {
        /// What was tried: make, write to, read.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
}

/// What can be done about it, where that is not plain from the words.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; choose a directory that can be written, or run as root"
        }
        io::ErrorKind::StorageFull => "; make room",
        _ => "",
    }
}

impl TreeError {
    pub(super) fn io(action: &'static str, path: PathBuf, errno: rustix::io::Errno) -> Self {
        Self::Io { action, path, source: errno.into() }
    }
}
