//! A file that is replaced as a whole: whoever reads it finds the old text or the new one. The new
//! one is written beside it under a name of our own, and then given its name. Only a regular file is
//! replaced: a device node, a pipe or a link stays what it is, and no link is followed.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process,
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, renameat, statat, unlinkat},
    io::Errno,
};

use crate::tree::kind;

/// Before the umask. Whoever reads it is somebody else.
const MODE: Mode = Mode::from_raw_mode(0o644);

/// A path that cannot take metrics.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// A directory, or a path that ends in none.
    #[error("cannot write metrics to {}: it is a directory; name a file in it", .0.display())]
    Directory(PathBuf),
    /// What is replaced would be something else than a file.
    #[error("cannot write metrics to {}: it is {found}; name a regular file, or one that is not there yet", .path.display())]
    NotRegular {
        /// Its path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// The directory that it should be in does not exist.
    #[error("cannot write metrics to {}: {} does not exist; make it first", .path.display(), .directory.display())]
    NoDirectory {
        /// The file.
        path: PathBuf,
        /// What is missing.
        directory: PathBuf,
    },
    /// The file system said no.
    #[error("cannot write metrics to {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
}

impl MetricsError {
    /// Whether it is a matter of who we are.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// Where metrics are written.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    directory: PathBuf,
    name: OsString,
    /// Not what a collector that looks for `*.prom` takes for metrics.
    temporary: OsString,
    /// Said, and not over yet.
    is_failing: bool,
    errors: u64,
}

impl MetricsFile {
    /// Metrics will be written to `path`, whose directory must be there and take files.
    ///
    /// # Errors
    /// Why they cannot be.
    pub fn new(path: &Path) -> Result<Self, MetricsError> {
        let is_directory = || MetricsError::Directory(path.to_owned());
        let name = path.file_name().ok_or_else(is_directory)?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or(Path::new(".")).to_owned();
        let mut temporary = OsString::from(".");
        temporary.push(&name);
        temporary.push(format!(".{}.tmp", process::id()));
        let path = path.to_owned();
        let file = Self { path, directory, name, temporary, is_failing: false, errors: 0 };
        file.check()?;
        Ok(file)
    }

    /// Times that it could not be written.
    pub(super) const fn errors(&self) -> u64 {
        self.errors
    }

    /// Replaces the file. That it cannot be is counted, and said until it is over once.
    pub(super) fn write(&mut self, text: &str) {
        match self.replace(text) {
            Ok(()) if self.is_failing => {
                self.is_failing = false;
                log::info!("metrics are written again");
            }
            Ok(()) => {}
            Err(error) => {
                self.errors += 1;
                if !self.is_failing {
                    self.is_failing = true;
                    log::warn!("{error}; going on without");
                }
            }
        }
    }

    /// Finds out before anything else is done whether it can be written.
    fn check(&self) -> Result<(), MetricsError> {
        let directory = self.open_directory().map_err(|errno| self.error(errno))?;
        self.check_replaceable(&directory)?;
        let tried = self.make_temporary(&directory).and_then(|_made| self.remove(&directory));
        tried.map_err(|errno| self.error(errno))
    }

    /// Whether there is nothing of its name, or a regular file.
    fn check_replaceable(&self, directory: &OwnedFd) -> Result<(), MetricsError> {
        let path = || self.path.clone();
        match statat(directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Ok(()),
                FileType::Directory => Err(MetricsError::Directory(path())),
                other => Err(MetricsError::NotRegular { path: path(), found: kind(other) }),
            },
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.error(errno)),
        }
    }

    fn replace(&self, text: &str) -> Result<(), MetricsError> {
        let directory = self.open_directory().map_err(|errno| self.error(errno))?;
        let replaced = self.replace_in(&directory, text);
        if replaced.is_err() {
            // It may take up the room that is missing; the error is the one to tell.
            let _left_behind = self.remove(&directory);
        }
        replaced
    }

    fn replace_in(&self, directory: &OwnedFd, text: &str) -> Result<(), MetricsError> {
        let temporary = self.make_temporary(directory).map_err(|errno| self.error(errno))?;
        File::from(temporary).write_all(text.as_bytes()).map_err(|error| self.error(error))?;
        // As late as it can be.
        self.check_replaceable(directory)?;
        let renamed = renameat(directory, &self.temporary, directory, &self.name);
        renamed.map_err(|errno| self.error(errno))
    }

    fn remove(&self, directory: &OwnedFd) -> rustix::io::Result<()> {
        unlinkat(directory, &self.temporary, AtFlags::empty())
    }

    /// The directory that the file is replaced in. Opened anew each time: it may have been moved away.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn open_directory(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, &self.directory, flags, Mode::empty())
    }

    /// A new file, whatever is there. One that a killed run with our process id left is removed.
    fn make_temporary(&self, directory: &OwnedFd) -> rustix::io::Result<OwnedFd> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = || openat(directory, &self.temporary, flags, MODE);
        match make() {
            Err(Errno::EXIST) => {
                self.remove(directory)?;
                make()
            }
            other => other,
        }
    }

    fn error(&self, source: impl Into<io::Error>) -> MetricsError {
        let source = source.into();
        let path = self.path.clone();
        let directory = self.directory.clone();
        match source.kind() {
            io::ErrorKind::NotFound => MetricsError::NoDirectory { path, directory },
            _ => MetricsError::Io { path, source },
        }
    }
}
