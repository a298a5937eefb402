//! Errors of the tree, with the path and what to do.

use std::{io, path::PathBuf};

use rustix::io::Errno;

use super::{cause::Cause, name::direction_directory, owner::Owner};
use crate::connection::Direction;

/// Why a path of the tree cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The root's parent does not exist.
    #[error("cannot make {}: {} does not exist; make it first", .root.display(), .parent.display())]
    NoParent {
        /// The tree's root.
        root: PathBuf,
        /// What is missing.
        parent: PathBuf,
    },
    /// The root's parent is gone; Landlock does not allow to write to another one.
    #[error(
        "cannot make {}: {} is gone; put it back, or make it and start conntrack again, which may \
         write to no other directory now",
        .root.display(),
        .place.display()
    )]
    Gone {
        /// The tree's root.
        root: PathBuf,
        /// What is gone.
        place: PathBuf,
    },
    /// The writable directory was replaced; Landlock does not allow to write to the new one.
    #[error(
        "cannot make {}: {} is another directory than at the start, and conntrack may write to that \
         one only; start it again",
        .root.display(),
        .place.display()
    )]
    Replaced {
        /// The tree's root.
        root: PathBuf,
        /// What was replaced.
        place: PathBuf,
    },
    /// A symbolic link on the way leads elsewhere than at the start.
    #[error(
        "cannot make {}: a symbolic link on the way to {} leads elsewhere than at the start; take it \
         away, or start conntrack again",
        .root.display(),
        .place.display()
    )]
    LedElsewhere {
        /// The tree's root.
        root: PathBuf,
        /// Where it stands.
        place: PathBuf,
    },
    /// Something else has the name of a directory or file of the tree.
    #[error("{} is {found}, not {wanted}; move it away or choose another directory", .path.display())]
    Occupied {
        /// Where it stands.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What should be there.
        wanted: &'static str,
    },
    /// The directory is no tree.
    #[error(
        "{} holds no tree: there is none of in, out and else{}",
        .root.display(),
        trees_below(.below)
    )]
    NoTree {
        /// What should be the tree's root.
        root: PathBuf,
        /// Directories in it that hold one.
        below: Vec<PathBuf>,
    },
    /// The directory is no tree yet, and something else is in it.
    #[error(
        "{} holds other things, such as {}; choose a directory of its own, or take it as it is with \
         --force-path",
        .root.display(),
        .such_as.display()
    )]
    HoldsOthers {
        /// What would be the tree's root.
        root: PathBuf,
        /// One of them.
        such_as: PathBuf,
    },
    /// The directory belongs to somebody else, in a place where anybody can create directories.
    #[error(
        "{} belongs to {owner}, and anybody can make directories in {}; choose another directory, \
         or take it as it is with --force-path",
        .path.display(),
        .place.display()
    )]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: Owner,
        /// Where it stands.
        place: PathBuf,
    },
    /// World-writable without the sticky bit: anybody can replace the tree.
    #[error(
        "anybody can replace what is in {}; `chmod +t` it, choose another directory, or take it as \
         it is with --force-path",
        .place.display()
    )]
    Replaceable {
        /// The place.
        place: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}{}", .path.display(), advice(action, source))]
    Io {
        /// What was tried: make, open, write to, read.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// What is known of a connection, or of the tree, cannot be kept.
    #[error("cannot keep the evidence of {}: {source}{}", .path.display(), advice_on_evidence(source))]
    Evidence {
        /// The connection's file, or the tree's root.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// `--max-files` is reached.
    #[error(
        "the tree holds {max} files, so new ones are not made in else; raise --max-files, remove \
         files, or leave else out with -e"
    )]
    MaxFiles {
        /// As many as it may.
        max: u64,
    },
    /// Shutdown came before they were written.
    #[error(
        "{connections} connections were not written before the end: the file system is too slow"
    )]
    Unfinished {
        /// How many were left.
        connections: usize,
    },
    /// `--max-files-in` or `--max-files-out` is reached.
    #[error(
        "{name} holds {max} files, so new ones are not made there; see whether they are a scan's, then \
         remove files or raise --max-files-{name}",
        name = direction_directory(*.direction)
    )]
    MaxFilesOf {
        /// Which one.
        direction: Direction,
        /// As many as it may.
        max: u64,
    },
    /// Below the hard floor of free inodes.
    #[error(
        "less than a fifth of {percent} % (--min-free-inodes) of the file system's inodes are free, \
         so no new files are made; make room"
    )]
    FewestInodes {
        /// How many have to be for `else`.
        percent: u8,
    },
    /// Below `--min-free-inodes`.
    #[error(
        "less than {percent} % of the file system's inodes are free, so new files are not made in \
         else; make room, lower --min-free-inodes, or leave else out with -e"
    )]
    FewInodes {
        /// How many have to be.
        percent: u8,
    },
}

/// Where to look instead; a few are enough.
fn trees_below(below: &[PathBuf]) -> String {
    const NAMED: usize = 8;
    let named = below.iter().take(NAMED).map(|path| path.display().to_string());
    let named = named.collect::<Vec<_>>().join(", ");
    match below.len().saturating_sub(NAMED) {
        _ if below.is_empty() => String::new(),
        0 => format!("; there are trees in {named}"),
        more => format!("; there are trees in {named} and {more} more"),
    }
}

/// Advice, where the error itself gives none.
fn advice(action: &str, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied if action == "read" => {
            "; run as the user who wrote it, or as root"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; choose a directory that can be written, or run as root"
        }
        io::ErrorKind::StorageFull => "; make room (`df` and `df -i` tell what is used up)",
        io::ErrorKind::QuotaExceeded => "; make room or raise the quota",
        _ => "",
    }
}

fn advice_on_evidence(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::Unsupported if error.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => {
            "; before Linux 6.13 that takes /proc: mount it"
        }
        io::ErrorKind::Unsupported => {
            "; choose a file system with user attributes: ext4, xfs, btrfs, tmpfs since Linux 6.6"
        }
        io::ErrorKind::StorageFull => "; make room for extended attributes",
        io::ErrorKind::QuotaExceeded => "; make room or raise the quota",
        _ => "",
    }
}

impl TreeError {
    /// Whether permission was denied.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// The cause that it counts as.
    pub fn cause(&self) -> Cause {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded) => {
                Cause::Full
            }
            Self::Unfinished { .. } => Cause::Unfinished,
            Self::MaxFiles { .. } => Cause::MaxFiles,
            Self::MaxFilesOf { direction: Direction::In, .. } => Cause::MaxFilesIn,
            Self::MaxFilesOf { .. } => Cause::MaxFilesOut,
            Self::FewInodes { .. } => Cause::FewInodes,
            Self::FewestInodes { .. } => Cause::FewestInodes,
            _ => Cause::Refused,
        }
    }

    pub(super) fn io(action: &'static str, path: PathBuf, errno: Errno) -> Self {
        Self::Io { action, path, source: errno.into() }
    }
}
