//! An open directory of the tree and the system calls made in it. None follows a symbolic link.

use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, accessat,
        fstat, fstatvfs, mkdirat, mknodat, openat, statat, utimensat,
    },
    io::{Errno, Result},
};

use super::{
    error::TreeError,
    last_seen::LastSeen,
    name::{direction_directory, directories, protocol_directory},
    owners::{self, Owners},
};
use crate::connection::{Direction, Protocol};

/// Before the umask.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

/// What may be in a root that is no tree yet: a part of one, and what mkfs.ext4(8) makes.
const NO_OTHERS: [&str; 6] = [".", "..", "in", "out", "else", "lost+found"];

pub(super) struct Directory {
    handle: OwnedFd,
    /// For messages only; calls use the handle.
    path: PathBuf,
    owners: Owners,
}

impl Directory {
    pub(super) const fn of(handle: OwnedFd, path: PathBuf, owners: Owners) -> Self {
        Self { handle, path, owners }
    }

    /// The tree's root, by its name in the directory where it stands.
    pub(super) fn open_or_make_root(
        place: &OwnedFd,
        name: &Path,
        path: &Path,
        owners: Owners,
    ) -> std::result::Result<Self, TreeError> {
        Self::root(open_or_make(place, name, path)?, place, path, owners)
    }

    /// The tree's root, if there is one.
    pub(super) fn root_if_there(
        place: &OwnedFd,
        name: &Path,
        path: &Path,
        owners: Owners,
    ) -> std::result::Result<Option<Self>, TreeError> {
        let opened = open_if_there(place, name, path)?;
        opened.map(|handle| Self::root(handle, place, path, owners)).transpose()
    }

    fn root(
        handle: OwnedFd,
        place: &OwnedFd,
        path: &Path,
        owners: Owners,
    ) -> std::result::Result<Self, TreeError> {
        owners.check(path, &handle, || (owners::place_of(path), fstat(place)))?;
        Ok(Self { handle, path: path.to_owned(), owners })
    }

    /// The directory of a direction and a protocol below the root.
    pub(super) fn below(
        &self,
        direction: Direction,
        protocol: Protocol,
    ) -> std::result::Result<Self, TreeError> {
        self.child(direction_directory(direction))?.child(protocol_directory(protocol))
    }

    /// The directory of a direction and a protocol, if it is there.
    pub(super) fn below_if_there(
        &self,
        direction: Direction,
        protocol: Protocol,
    ) -> std::result::Result<Option<Self>, TreeError> {
        match self.child_if_there(direction_directory(direction))? {
            Some(directory) => directory.child_if_there(protocol_directory(protocol)),
            None => Ok(None),
        }
    }

    fn child(&self, name: &str) -> std::result::Result<Self, TreeError> {
        let path = self.path.join(name);
        let handle = open_or_make(&self.handle, Path::new(name), &path)?;
        self.checked(handle, path)
    }

    fn child_if_there(&self, name: &str) -> std::result::Result<Option<Self>, TreeError> {
        let path = self.path.join(name);
        let opened = open_if_there(&self.handle, Path::new(name), &path)?;
        opened.map(|handle| self.checked(handle, path)).transpose()
    }

    fn checked(&self, handle: OwnedFd, path: PathBuf) -> std::result::Result<Self, TreeError> {
        self.owners.check(&path, &handle, || (self.path.clone(), fstat(&self.handle)))?;
        Ok(Self { handle, path, owners: self.owners })
    }

    /// Checks that a root is a whole tree already, or holds nothing but a part of one. What is in a whole
    /// tree besides, somebody has put there since.
    pub(super) fn check_ours(&self) -> std::result::Result<(), TreeError> {
        if self.owners == Owners::Anybody || self.is_whole()? {
            return Ok(());
        }
        let failed = |errno| TreeError::io("read", self.path.clone(), errno);
        for entry in Dir::read_from(&self.handle).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if !NO_OTHERS.iter().any(|it| it.as_bytes() == name) {
                let such_as = PathBuf::from(OsStr::from_bytes(name));
                return Err(TreeError::HoldsOthers { root: self.path.clone(), such_as });
            }
        }
        Ok(())
    }

    fn is_whole(&self) -> std::result::Result<bool, TreeError> {
        for (direction, protocol) in directories() {
            if self.below_if_there(direction, protocol)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Detects missing permission or a read-only file system before the first connection.
    pub(super) fn check_writable(&self) -> std::result::Result<(), TreeError> {
        use rustix::fs::Access;
        accessat(&self.handle, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
            .map_err(|errno| TreeError::io("write to", self.path.clone(), errno))
    }

    /// Calls `each` with the name of each entry; skips names that are not UTF-8, which are never ours.
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

    /// The number of entries, counted up to `most`.
    pub(super) fn count_names(&self, most: u64) -> std::result::Result<u64, TreeError> {
        let failed = |errno| TreeError::io("read", self.path.clone(), errno);
        let mut names = 0;
        for entry in Dir::read_from(&self.handle).map_err(failed)? {
            if names == most {
                break;
            }
            let entry = entry.map_err(failed)?;
            names += u64::from(!matches!(entry.file_name().to_bytes(), b"." | b".."));
        }
        Ok(names)
    }

    /// Total and free inodes of the file system, if it tells.
    pub(super) fn inodes(&self) -> Option<(u64, u64)> {
        fstatvfs(&self.handle).ok().map(|stat| (stat.f_files, stat.f_favail))
    }

    /// Whether the entry `name` is there and a file.
    pub(super) fn has_file(&self, name: &str) -> bool {
        let stat = statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| file_type(&stat) == FileType::RegularFile)
    }

    /// Where the entry `name` is, for messages.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Identity and change time.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let stat = fstat(&self.handle).ok()?;
        Some(Stamp { device: stat.st_dev, inode: stat.st_ino, changed: changed(&stat) })
    }

    /// Shows the file `name`: creates it if it is missing, unless `held_back`, and sets its times; returns
    /// whether it was created. A `known` file costs one system call.
    pub(super) fn show(
        &self,
        name: &str,
        known: bool,
        held_back: Option<TreeError>,
        last_seen: LastSeen,
    ) -> std::result::Result<bool, TreeError> {
        let touched = match last_seen {
            LastSeen::Now if known => self.set_times(name, last_seen),
            _ if known || held_back.is_some() => self.touch(name, last_seen),
            _ => Err(Errno::NOENT),
        };
        let shown = match (touched, held_back) {
            (Err(Errno::NOENT), Some(why)) => return Err(why),
            (Err(Errno::NOENT), None) => self.make_or_touch(name, last_seen),
            (touched, _) => touched.map(|()| false),
        };
        shown.map_err(|errno| {
            let path = self.path.join(name);
            refusal(self.handle.as_fd(), Path::new(name), &path, errno, FILE)
        })
    }

    /// mknodat(2) creates the file or fails with EEXIST; it never opens anything.
    fn make_or_touch(&self, name: &str, last_seen: LastSeen) -> Result<bool> {
        match mknodat(&self.handle, name, FileType::RegularFile, FILE_MODE, 0) {
            Ok(()) if last_seen == LastSeen::Now => Ok(true),
            Ok(()) => self.set_times(name, last_seen).map(|()| true),
            Err(Errno::EXIST) => self.touch(name, last_seen).map(|()| false),
            Err(errno) => Err(errno),
        }
    }

    /// Sets the times of an existing file; a capture's time never sets them back. EEXIST if it is no
    /// regular file.
    fn touch(&self, name: &str, last_seen: LastSeen) -> Result<()> {
        let stat = statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_newer = matches!(last_seen, LastSeen::At(time) if modified(&stat) >= timespec(time));
        match file_type(&stat) {
            FileType::RegularFile if is_newer => Ok(()),
            FileType::RegularFile => self.set_times(name, last_seen),
            _ => Err(Errno::EXIST),
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

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl From<Directory> for OwnedFd {
    fn from(directory: Directory) -> Self {
        directory.handle
    }
}

/// State of a directory. It changes whenever an entry is created, removed or renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    changed: Timespec,
}

fn open_or_make(
    parent: impl AsFd,
    name: &Path,
    path: &Path,
) -> std::result::Result<OwnedFd, TreeError> {
    let parent = parent.as_fd();
    let opened = open(parent, name).or_else(|errno| match errno {
        Errno::NOENT => {
            // Another process may have created it meanwhile.
            mkdirat(parent, name, DIRECTORY_MODE).or_else(|errno| match errno {
                Errno::EXIST => Ok(()),
                errno => Err(errno),
            })?;
            open(parent, name)
        }
        errno => Err(errno),
    });
    opened.map_err(|errno| refusal(parent, name, path, errno, DIRECTORY))
}

fn open_if_there(
    parent: impl AsFd,
    name: &Path,
    path: &Path,
) -> std::result::Result<Option<OwnedFd>, TreeError> {
    let parent = parent.as_fd();
    match open(parent, name) {
        Ok(handle) => Ok(Some(handle)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(refusal(parent, name, path, errno, DIRECTORY)),
    }
}

fn open(parent: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, OFlags::RDONLY | flags, Mode::empty())
}

/// Turns an errno into an error: something else has the name, or the file system refused.
fn refusal(
    parent: BorrowedFd<'_>,
    name: &Path,
    path: &Path,
    errno: Errno,
    wanted: Wanted,
) -> TreeError {
    if let Errno::NOTDIR | Errno::LOOP | Errno::EXIST = errno
        && let Ok(stat) = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        && file_type(&stat) != wanted.file_type
    {
        let found = kind(file_type(&stat));
        let wanted = wanted.in_words;
        return TreeError::Occupied { path: path.to_owned(), found, wanted };
    }
    TreeError::io("make", path.to_owned(), errno)
}

/// The expected type of an entry.
#[derive(Clone, Copy)]
struct Wanted {
    file_type: FileType,
    in_words: &'static str,
}

const DIRECTORY: Wanted = Wanted { file_type: FileType::Directory, in_words: "a directory" };
const FILE: Wanted = Wanted { file_type: FileType::RegularFile, in_words: "an empty file" };

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// A file type in words.
pub(crate) const fn kind(file_type: FileType) -> &'static str {
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

fn changed(stat: &Stat) -> Timespec {
    let tv_nsec = i64::try_from(stat.st_ctime_nsec).unwrap_or_default();
    Timespec { tv_sec: stat.st_ctime, tv_nsec }
}

/// A time before 1970 becomes 1970: a capture can hold any time.
fn timespec(time: SystemTime) -> Timespec {
    let since: Duration = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let tv_sec = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: since.subsec_nanos().into() }
}
