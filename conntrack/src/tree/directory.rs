//! A directory of the tree as an open handle, and the system calls that are made below it. None of
//! them follows a symbolic link.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, accessat,
        mkdirat, mknodat, openat, statat, utimensat,
    },
    io::{Errno, Result},
};

use super::{
    LastSeen, TreeError,
    name::{direction_directory, protocol_directory},
};
use crate::connection::{Direction, Protocol};

/// Before the umask, as for every program that makes files.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

pub(super) struct Directory {
    handle: OwnedFd,
    /// For messages only; every call goes through the handle.
    path: PathBuf,
}

impl Directory {
    /// The tree's root. Its parent must be there.
    pub(super) fn open_or_make_root(path: &Path) -> std::result::Result<Self, TreeError> {
        open_or_make(CWD, path, path).map_err(|error| match (&error, missing_ancestor(path)) {
            (TreeError::Io { source, .. }, Some(missing))
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                TreeError::NoParent { root: path.to_owned(), parent: missing.to_owned() }
            }
            _ => error,
        })
    }

    /// The directory of a direction and a protocol below the root.
    pub(super) fn below(
        &self,
        direction: Direction,
        protocol: Protocol,
    ) -> std::result::Result<Self, TreeError> {
        self.child(direction_directory(direction))?.child(protocol_directory(protocol))
    }

    fn child(&self, name: &str) -> std::result::Result<Self, TreeError> {
        open_or_make(&self.handle, Path::new(name), &self.path.join(name))
    }

    /// Finds out before the first connection that a file could not be made: no permission, or a
    /// file system that is mounted read-only.
    pub(super) fn check_writable(&self) -> std::result::Result<(), TreeError> {
        use rustix::fs::Access;
        accessat(&self.handle, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
            .map_err(|errno| TreeError::io("write to", self.path.clone(), errno))
    }

    /// Hands the name of each entry to `each`; a name that is not UTF-8 is none of ours.
    pub(super) fn for_each_name(
        &self,
        mut each: impl FnMut(&str),
    ) -> std::result::Result<(), TreeError> {
        let failed = |errno| TreeError::io("read", self.path.clone(), errno);
        for entry in Dir::read_from(&self.handle).map_err(failed)? {
            if let Ok(name) = entry.map_err(failed)?.file_name().to_str() {
                each(name);
            }
        }
        Ok(())
    }

    /// Makes the file `name` if it is missing and sets its times; whether it was made.
    pub(super) fn show(
        &self,
        name: &str,
        was_there: bool,
        last_seen: LastSeen,
    ) -> std::result::Result<bool, TreeError> {
        let path = || self.path.join(name);
        let done = match was_there.then(|| self.touch(name, last_seen)) {
            None | Some(Err(Errno::NOENT)) => self.make_or_touch(name, last_seen),
            Some(touched) => touched,
        };
        match done {
            Ok(Made::New) => Ok(true),
            Ok(Made::WasThere) => Ok(false),
            Ok(Made::Occupied(found)) => {
                Err(TreeError::Occupied { path: path(), found, wanted: "an empty file" })
            }
            Err(errno) => Err(TreeError::io("make", path(), errno)),
        }
    }

    /// mknodat(2) makes the file or says that something is there, and opens nothing either way.
    fn make_or_touch(&self, name: &str, last_seen: LastSeen) -> Result<Made> {
        match mknodat(&self.handle, name, FileType::RegularFile, FILE_MODE, 0) {
            Ok(()) if last_seen == LastSeen::Now => Ok(Made::New),
            Ok(()) => self.set_times(name, last_seen).map(|()| Made::New),
            Err(Errno::EXIST) => self.touch(name, last_seen),
            Err(errno) => Err(errno),
        }
    }

    /// Sets the times of what is there, if that is a file; but never back by a capture's clock.
    fn touch(&self, name: &str, last_seen: LastSeen) -> Result<Made> {
        let stat = statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_newer = matches!(last_seen, LastSeen::At(time) if modified(&stat) >= timespec(time));
        match file_type(&stat) {
            FileType::RegularFile if is_newer => Ok(Made::WasThere),
            FileType::RegularFile => self.set_times(name, last_seen).map(|()| Made::WasThere),
            other => Ok(Made::Occupied(kind(other))),
        }
    }

    fn set_times(&self, name: &str, last_seen: LastSeen) -> Result<()> {
        let time = match last_seen {
            LastSeen::Now => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
            LastSeen::At(time) => timespec(time),
        };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(&self.handle, name, &times, AtFlags::SYMLINK_NOFOLLOW)
    }
}

enum Made {
    New,
    WasThere,
    Occupied(&'static str),
}

fn open_or_make(
    parent: impl std::os::fd::AsFd,
    name: &Path,
    path: &Path,
) -> std::result::Result<Directory, TreeError> {
    let parent = parent.as_fd();
    let open = || {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(parent, name, OFlags::RDONLY | flags, Mode::empty())
    };
    let opened = open().or_else(|errno| match errno {
        Errno::NOENT => {
            // Somebody else may make it at the same moment; that is as good.
            mkdirat(parent, name, DIRECTORY_MODE).or_else(|errno| match errno {
                Errno::EXIST => Ok(()),
                errno => Err(errno),
            })?;
            open()
        }
        errno => Err(errno),
    });
    match opened {
        Ok(handle) => Ok(Directory { handle, path: path.to_owned() }),
        Err(errno) => Err(refusal(parent, name, path, errno)),
    }
}

/// The first directory above `path` that does not exist.
fn missing_ancestor(path: &Path) -> Option<&Path> {
    let above = path.ancestors().skip(1).filter(|ancestor| !ancestor.as_os_str().is_empty());
    above.take_while(|ancestor| !ancestor.exists()).last()
}

/// Why a directory could not be opened: something else stands there, or the file system said no.
fn refusal(
    parent: std::os::fd::BorrowedFd<'_>,
    name: &Path,
    path: &Path,
    errno: Errno,
) -> TreeError {
    if let Errno::NOTDIR | Errno::LOOP = errno
        && let Ok(stat) = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        && file_type(&stat) != FileType::Directory
    {
        let found = kind(file_type(&stat));
        return TreeError::Occupied { path: path.to_owned(), found, wanted: "a directory" };
    }
    TreeError::io("make", path.to_owned(), errno)
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

const fn kind(file_type: FileType) -> &'static str {
    match file_type {
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device node",
        FileType::Unknown => "something else",
    }
}

fn modified(stat: &Stat) -> Timespec {
    let tv_nsec = i64::try_from(stat.st_mtime_nsec).unwrap_or_default();
    Timespec { tv_sec: stat.st_mtime, tv_nsec }
}

/// A time before 1970 becomes 1970: a capture's clock may say anything.
fn timespec(time: SystemTime) -> Timespec {
    let since: Duration = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let tv_sec = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: since.subsec_nanos().into() }
}
