//! The metrics file, replaced atomically: written to a temporary file beside it, then renamed. Only a
//! regular file is replaced, never a device node, FIFO, socket or symbolic link; no link is followed.

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

/// Before the umask. It is read by other users.
const MODE: Mode = Mode::from_raw_mode(0o644);

/// A path that cannot take metrics.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// A directory, or a path that ends in none.
    #[error("cannot write metrics to {}: it is a directory; name a file in it", .0.display())]
    Directory(PathBuf),
    /// The existing file is not a regular one.
    #[error("cannot write metrics to {}: it is {found}; name a regular file, or one that is not there yet", .path.display())]
    NotRegular {
        /// Its path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// The parent directory does not exist.
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
    /// Whether permission was denied.
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
    /// Does not match `*.prom`, which a metrics collector may look for.
    temporary: OsString,
    /// A warning was logged and the failure lasts.
    is_failing: bool,
    errors: u64,
}

impl MetricsFile {
    /// Checks that `path` can be written.
    ///
    /// # Errors
    /// Why it cannot.
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

    /// Replaces the file. Failures are counted, and logged once per episode.
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

    /// Tries it by creating a temporary file.
    fn check(&self) -> Result<(), MetricsError> {
        let directory = self.open_directory().map_err(|errno| self.error(errno))?;
        self.check_replaceable(&directory)?;
        let tried = self.make_temporary(&directory).and_then(|_made| self.remove(&directory));
        tried.map_err(|errno| self.error(errno))
    }

    /// Fails if something other than a regular file has the name.
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
            // Free its space. The first error is the one to report.
            let _left_behind = self.remove(&directory);
        }
        replaced
    }

    fn replace_in(&self, directory: &OwnedFd, text: &str) -> Result<(), MetricsError> {
        let temporary = self.make_temporary(directory).map_err(|errno| self.error(errno))?;
        File::from(temporary).write_all(text.as_bytes()).map_err(|error| self.error(error))?;
        // As late as possible.
        self.check_replaceable(directory)?;
        let renamed = renameat(directory, &self.temporary, directory, &self.name);
        renamed.map_err(|errno| self.error(errno))
    }

    fn remove(&self, directory: &OwnedFd) -> rustix::io::Result<()> {
        unlinkat(directory, &self.temporary, AtFlags::empty())
    }

    /// The parent directory, reopened each time because it may have been moved.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn open_directory(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, &self.directory, flags, Mode::empty())
    }

    /// Creates the temporary file; removes one left by a killed run with our process id.
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
