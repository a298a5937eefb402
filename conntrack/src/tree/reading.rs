//! Reading a tree back, with the times of its files, for whoever evaluates it. Makes nothing,
//! changes nothing, follows no symbolic link; [`super::Tree`] is the one that writes.

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
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, statat},
    io::Errno,
};

use super::{
    TreeError,
    name::{connection, direction_directory, protocol_directory},
};
use crate::{
    connection::{Direction, Protocol},
    record::Record,
};

/// Something that a tree holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file that stands for a connection.
    Record(Record),
    /// What stands for no connection: its path relative to the root, and why.
    Stranger(PathBuf, &'static str),
}

/// Hands everything in the tree at `root` to `each`, in no particular order. Directories that are
/// missing hold nothing.
///
/// # Errors
/// A root that is no tree, or a directory that cannot be read.
pub fn read(root: &Path, mut each: impl FnMut(Entry)) -> Result<(), TreeError> {
    // Without "." components and trailing slashes, which would follow a link at the end.
    let root: PathBuf = root.components().collect();
    let top = Listing::open(CWD, &root, &root, PathBuf::new())?;
    let mut is_tree = false;
    top.for_each(|name| {
        match Direction::ALL.into_iter().find(|it| direction_directory(*it).as_bytes() == name) {
            Some(direction) => {
                is_tree = true;
                top.child(direction_directory(direction))?.read_direction(direction, &mut each)?;
            }
            None => each(top.stranger(name, "no directory of a tree")),
        }
        Ok(())
    })?;
    if is_tree { Ok(()) } else { Err(TreeError::NoTree { root }) }
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

    fn child(&self, name: &str) -> Result<Self, TreeError> {
        let (path, relative) = (self.path.join(name), self.relative.join(name));
        Self::open(&self.handle, Path::new(name), &path, relative)
    }

    /// Hands each name but "." and ".." to `each`, until it fails.
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
        &self,
        direction: Direction,
        each: &mut impl FnMut(Entry),
    ) -> Result<(), TreeError> {
        self.for_each(|name| {
            let is_named = |it: &Protocol| protocol_directory(*it).as_bytes() == name;
            if let Some(protocol) = [Protocol::Tcp, Protocol::Udp].into_iter().find(is_named) {
                let files = self.child(protocol_directory(protocol))?;
                files.read_files(direction, protocol, each)?;
            } else {
                each(self.stranger(name, "no directory of a tree"));
            }
            Ok(())
        })
    }

    fn read_files(
        &self,
        direction: Direction,
        protocol: Protocol,
        each: &mut impl FnMut(Entry),
    ) -> Result<(), TreeError> {
        self.for_each(|name| {
            self.entry(direction, protocol, name)?.into_iter().for_each(&mut *each);
            Ok(())
        })
    }

    /// What a name stands for; nothing if it was removed since the directory was listed.
    fn entry(
        &self,
        direction: Direction,
        protocol: Protocol,
        name: &[u8],
    ) -> Result<Option<Entry>, TreeError> {
        let text = std::str::from_utf8(name).ok();
        let Some(connection) = text.and_then(|name| connection(direction, protocol, name)) else {
            return Ok(Some(self.stranger(name, "no name of a connection")));
        };
        match statat(&self.handle, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                Ok(Some(Entry::Record(Record { connection, last_seen: modified(&stat) })))
            }
            Ok(_) => Ok(Some(self.stranger(name, "no file"))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => {
                Err(TreeError::io("read", self.path.join(OsStr::from_bytes(name)), errno))
            }
        }
    }

    fn stranger(&self, name: &[u8], why: &'static str) -> Entry {
        Entry::Stranger(self.relative.join(OsStr::from_bytes(name)), why)
    }
}

/// A time before 1970 becomes 1970: whoever may write a file may set any time.
fn modified(stat: &Stat) -> SystemTime {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    let since = Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds.into());
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}
