//! Reading a tree back: names, times and evidence of its files. Makes nothing, changes nothing,
//! follows no symbolic link. [`super::Tree`] is what writes.

use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, Statx, StatxFlags, StatxTimestamp, openat, statx,
    },
    io::Errno,
};

use super::{
    Provenance, TreeError,
    attributes::{Attribute, Way},
    name::{connection, direction_directory, protocol_directory},
};
use crate::{
    connection::{Direction, Protocol},
    record::{Outcome, Record},
};

/// An entry of a tree.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file that stands for a connection.
    Record(Record),
    /// What stands for no connection: its path relative to the root, and why.
    Stranger(PathBuf, &'static str),
    /// Evidence that cannot be read, or with the empty path what the tree says of its recording: where
    /// and why. The record comes besides, its outcome unknown.
    Unreadable(PathBuf, &'static str),
}

/// Calls `each` for every entry of the tree at `root`, in no particular order. Missing directories count
/// as empty. Returns what the tree states about its recording.
///
/// # Errors
/// A root that is no tree, or a directory that cannot be read.
pub fn read(root: &Path, mut each: impl FnMut(Entry)) -> Result<Option<Provenance>, TreeError> {
    // Without "." components and trailing slashes, which would follow a link at the end.
    let root: PathBuf = root.components().collect();
    let top = Listing::open(CWD, &root, &root, PathBuf::new())?;
    let provenance = Provenance::find(&top.handle).unwrap_or_else(|why| {
        each(Entry::Unreadable(PathBuf::new(), why));
        None
    });
    let since = provenance.as_ref().and_then(|provenance| provenance.since);
    let evidence = Attributes { since, way: Way::find(&top.handle) };
    let mut is_tree = false;
    top.for_each(|name| {
        match Direction::ALL.into_iter().find(|it| direction_directory(*it).as_bytes() == name) {
            Some(direction) => {
                is_tree = true;
                let below = top.child(direction_directory(direction))?;
                below.read_direction(direction, evidence, &mut each)?;
            }
            None => each(top.stranger(name, "no directory of a tree")),
        }
        Ok(())
    })?;
    if is_tree {
        return Ok(provenance);
    }
    Err(TreeError::NoTree { below: top.trees_below(), root })
}

/// A directory that is open for reading.
struct Listing {
    handle: OwnedFd,
    /// For messages only.
    path: PathBuf,
    /// The same, from the root on.
    relative: PathBuf,
}

impl Listing {
    fn open(
        parent: impl AsFd,
        name: &Path,
        path: &Path,
        relative: PathBuf,
    ) -> Result<Self, TreeError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&parent, name, flags, Mode::empty()) {
            Ok(handle) => Ok(Self { handle, path: path.to_owned(), relative }),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(TreeError::Occupied {
                path: path.to_owned(),
                found: "a file or a symbolic link",
                wanted: "a directory",
            }),
            Err(errno) => Err(TreeError::io("read", path.to_owned(), errno)),
        }
    }

    /// Directories in this one that hold a tree, in order; of very many entries not all are looked at.
    fn trees_below(&self) -> Vec<PathBuf> {
        const LOOKED_AT: usize = 10_000;
        let entries = Dir::read_from(&self.handle).into_iter().flatten().flatten().take(LOOKED_AT);
        let names =
            entries.map(|entry| PathBuf::from(OsStr::from_bytes(entry.file_name().to_bytes())));
        let mut trees: Vec<_> = names
            .filter(|name| name.as_os_str() != "." && name.as_os_str() != "..")
            .filter(|name| self.has_tree(name))
            .map(|name| self.path.join(name))
            .collect();
        trees.sort_unstable();
        trees
    }

    fn has_tree(&self, name: &Path) -> bool {
        let Ok(below) = Self::open(&self.handle, name, name, PathBuf::new()) else { return false };
        let has = |direction| below.child(direction_directory(direction)).is_ok();
        Direction::ALL.into_iter().any(has)
    }

    fn child(&self, name: &str) -> Result<Self, TreeError> {
        let path = self.path.join(name);
        let relative = self.relative.join(name);
        Self::open(&self.handle, Path::new(name), &path, relative)
    }

    /// Calls `each` for every name but "." and "..", until it fails.
    fn for_each(
        &self,
        mut each: impl FnMut(&[u8]) -> Result<(), TreeError>,
    ) -> Result<(), TreeError> {
        let failed = |errno| TreeError::io("read", self.path.clone(), errno);
        for entry in Dir::read_from(&self.handle).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => each(name)?,
            }
        }
        Ok(())
    }

    fn read_direction(
        self,
        direction: Direction,
        evidence: Attributes,
        each: &mut impl FnMut(Entry),
    ) -> Result<(), TreeError> {
        self.for_each(|name| {
            let is_named = |it: &Protocol| protocol_directory(*it).as_bytes() == name;
            if let Some(protocol) = [Protocol::Tcp, Protocol::Udp].into_iter().find(is_named) {
                let listing = self.child(protocol_directory(protocol))?;
                Files { listing, direction, protocol, evidence }.read(each)?;
            } else {
                each(self.stranger(name, "no directory of a tree"));
            }
            Ok(())
        })
    }

    /// `None` if the file was removed since the directory was listed.
    fn stat(&self, name: &str) -> Result<Option<Statx>, TreeError> {
        let wanted = StatxFlags::TYPE | StatxFlags::MTIME | StatxFlags::BTIME;
        match statx(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW, wanted) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(TreeError::io("read", self.path.join(name), errno)),
        }
    }

    fn stranger(&self, name: &[u8], why: &'static str) -> Entry {
        Entry::Stranger(self.relative.join(OsStr::from_bytes(name)), why)
    }
}

/// The directory of one direction and protocol.
struct Files {
    listing: Listing,
    direction: Direction,
    protocol: Protocol,
    evidence: Attributes,
}

/// What is kept with files.
#[derive(Clone, Copy)]
struct Attributes {
    /// Since when there is evidence, if there is.
    since: Option<SystemTime>,
    /// How they are read.
    way: Way,
}

impl Files {
    fn read(&self, each: &mut impl FnMut(Entry)) -> Result<(), TreeError> {
        self.listing.for_each(|name| self.read_file(name, each))
    }

    fn read_file(&self, name: &[u8], each: &mut impl FnMut(Entry)) -> Result<(), TreeError> {
        let text = std::str::from_utf8(name).ok();
        let connection = |name| connection(self.direction, self.protocol, name);
        let Some((name, connection)) = text.and_then(|name| Some((name, connection(name)?))) else {
            each(self.listing.stranger(name, "no name of a connection"));
            return Ok(());
        };
        match self.listing.stat(name)? {
            Some(stat) if is_regular(&stat) => {
                let last_seen = time(stat.stx_mtime);
                let outcome = self.outcome(name, last_seen).unwrap_or_else(|why| {
                    each(Entry::Unreadable(self.listing.relative.join(name), why));
                    Outcome::Unknown
                });
                let accepted = self.evidence.way.is_accepted(&self.listing.handle, name);
                let units = self.evidence.way.units(&self.listing.handle, name);
                let units = units.ok().flatten().unwrap_or_default();
                let made = made(&stat);
                let record = Record { connection, outcome, accepted, made, last_seen, units };
                each(Entry::Record(record));
            }
            Some(_) => each(self.listing.stranger(name.as_bytes(), "no file")),
            None => {}
        }
        Ok(())
    }

    /// What came of the connection of a file, or why that cannot be read.
    fn outcome(&self, name: &str, last_seen: SystemTime) -> Result<Outcome, &'static str> {
        let Attributes { since, way } = self.evidence;
        if since.is_none_or(|since| last_seen < since) {
            return Ok(Outcome::Unknown);
        }
        match way.attribute(&self.listing.handle, name) {
            Ok(Attribute::None) => Ok(Outcome::None),
            Ok(Attribute::Word(word)) if word.is_of(self.protocol) => Ok(Outcome::Seen(word)),
            Ok(Attribute::Word(_) | Attribute::Other) => Err("no word of evidence"),
            Err(_refused) => Err("cannot be read"),
        }
    }
}

fn is_regular(stat: &Statx) -> bool {
    FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile
}

fn made(stat: &Statx) -> Option<SystemTime> {
    let is_known = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    is_known.then(|| time(stat.stx_btime))
}

/// A time before 1970 becomes 1970: a file can have any time.
fn time(time: StatxTimestamp) -> SystemTime {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let since = Duration::from_secs(seconds) + Duration::from_nanos(time.tv_nsec.into());
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}
