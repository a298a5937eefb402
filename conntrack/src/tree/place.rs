//! The root's parent directory. It stays open, and the root is opened and created relative to it, so
//! nothing that is later put on the way can redirect us.
//!
//! Each use checks that the path still leads to it. If it leads to another directory, that one is used if
//! it is reached without symbolic links and Landlock allows writing there; otherwise it is an error.

use std::{
    ffi::OsStr,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Component, Path, PathBuf, absolute},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, statat},
    io::Errno,
};

use super::{directory::Directory, error::TreeError, owners::Owners};

#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
    owners: Owners,
    /// The root's name in the parent. A root without a name, such as `.`, is its own parent here.
    name: Option<PathBuf>,
    /// Absolute path of the parent.
    path: PathBuf,
    /// The same with links resolved, at the start.
    without_links: Option<PathBuf>,
    handle: OwnedFd,
    /// The only directory that Landlock allows to write below, if it is active.
    reach: Option<OwnedFd>,
}

impl Place {
    /// Opens the parent of `root`.
    pub(super) fn of(root: &Path, owners: Owners) -> Result<Self, TreeError> {
        let name = root.file_name().map(PathBuf::from);
        let above = if name.is_some() { super::owners::place_of(root) } else { root.to_owned() };
        let failed = |source: io::Error| {
            missing(root, TreeError::Io { action: "open", path: above.clone(), source })
        };
        let path = absolute(&above).map_err(failed)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = openat(CWD, &above, flags, Mode::empty()).map_err(|it| failed(it.into()))?;
        let without_links = path.canonicalize().ok();
        Ok(Self { root: root.to_owned(), owners, name, path, without_links, handle, reach: None })
    }

    /// The parent.
    pub(super) fn directory(&self) -> Result<Directory, TreeError> {
        let handle = self.handle.try_clone().map_err(|source| self.failed(source))?;
        Ok(Directory::of(handle, self.path.clone(), self.owners))
    }

    /// The root, created if it is missing.
    pub(super) fn open_or_make_root(&self) -> Result<Directory, TreeError> {
        Directory::open_or_make_root(&self.handle, self.name(), &self.root, self.owners)
    }

    /// The root, if it exists.
    pub(super) fn root_if_there(&self) -> Result<Option<Directory>, TreeError> {
        Directory::root_if_there(&self.handle, self.name(), &self.root, self.owners)
    }

    fn name(&self) -> &Path {
        self.name.as_deref().unwrap_or(Path::new("."))
    }

    /// See [`super::Tree::reach`].
    pub(super) fn reach(&self) -> Result<OwnedFd, TreeError> {
        let above = self.directory()?;
        if self.name.is_some() && above.check_writable().is_ok() {
            return Ok(above.into());
        }
        self.open_or_make_root().map(OwnedFd::from)
    }

    /// See [`super::Tree::confine`].
    pub(super) fn confine(&mut self, reach: OwnedFd) {
        self.reach = Some(reach);
    }

    /// The root, after checking that the path still leads here.
    pub(super) fn open_root_again(&mut self) -> Result<Directory, TreeError> {
        self.look_again()?;
        let root = self.open_or_make_root()?;
        match &self.reach {
            Some(reach) if !is_same(reach, &self.handle) && !is_same(reach, &root) => {
                Err(self.replaced(self.root.clone()))
            }
            _ => Ok(root),
        }
    }

    fn look_again(&mut self) -> Result<(), TreeError> {
        match statat(CWD, &self.path, AtFlags::empty()) {
            Ok(there) if fstat(&self.handle).is_ok_and(|stat| is_one(&stat, &there)) => Ok(()),
            Ok(there) => self.take(&there),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Err(self.gone()),
            // Without search permission the open handle still works.
            Err(_) => Ok(()),
        }
    }

    /// Switches to the directory that the path leads to now.
    fn take(&mut self, there: &Stat) -> Result<(), TreeError> {
        if self.reach.as_ref().is_some_and(|reach| is_same(reach, &self.handle)) {
            return Err(self.replaced(self.path.clone()));
        }
        self.owners.check_way(&self.root)?;
        let found = self.without_links.as_deref().map(open_without_links);
        match found {
            Some(Ok(found)) if fstat(&found).is_ok_and(|stat| is_one(&stat, there)) => {
                self.handle = found;
                Ok(())
            }
            _ => Err(TreeError::LedElsewhere { root: self.root.clone(), place: self.path.clone() }),
        }
    }

    fn failed(&self, source: io::Error) -> TreeError {
        TreeError::Io { action: "open", path: self.path.clone(), source }
    }

    fn gone(&self) -> TreeError {
        let root = self.root.clone();
        let place = self.path.clone();
        match self.reach {
            Some(_) => TreeError::Gone { root, place },
            None => TreeError::NoParent { root, parent: place },
        }
    }

    fn replaced(&self, place: PathBuf) -> TreeError {
        TreeError::Replaced { root: self.root.clone(), place }
    }
}

fn is_same(one: &OwnedFd, other: impl std::os::fd::AsFd) -> bool {
    matches!((fstat(one), fstat(other)), (Ok(one), Ok(other)) if is_one(&one, &other))
}

fn is_one(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Opens a directory; fails if there is a symbolic link on the way.
fn open_without_links(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS;
    match openat2(CWD, path, flags, Mode::empty(), resolve) {
        // Before Linux 5.6, or blocked by a seccomp filter.
        Err(Errno::NOSYS | Errno::PERM) => walk(path, flags | OFlags::NOFOLLOW),
        opened => opened,
    }
}

fn walk(path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut directory = openat(CWD, "/", flags, Mode::empty())?;
    for component in path.components() {
        if let Component::Normal(name) = component {
            directory = openat(directory.as_fd(), name, flags, Mode::empty())?;
        }
    }
    Ok(directory)
}

/// Names the missing directory, if that is the reason.
fn missing(root: &Path, error: TreeError) -> TreeError {
    match (&error, missing_ancestor(root)) {
        (TreeError::Io { source, .. }, Some(missing))
            if source.kind() == io::ErrorKind::NotFound =>
        {
            TreeError::NoParent { root: root.to_owned(), parent: missing.to_owned() }
        }
        _ => error,
    }
}

/// The topmost ancestor that does not exist.
fn missing_ancestor(path: &Path) -> Option<&Path> {
    let above =
        path.ancestors().skip(1).filter(|ancestor| *ancestor.as_os_str() != *OsStr::new(""));
    above.take_while(|ancestor| !ancestor.exists()).last()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn no_link_is_on_the_way_by_either_call() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let scratch = scratch.path().canonicalize().expect("there");
        fs::create_dir_all(scratch.join("a/b")).expect("made");
        symlink("a", scratch.join("link")).expect("linked");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let by_walking: &dyn Fn(&Path) -> _ = &|path| walk(path, flags);
        for open in [&open_without_links, by_walking] {
            let opened = open(&scratch.join("a/b")).expect("no link");
            let there = statat(CWD, scratch.join("link/b"), AtFlags::empty()).expect("there");
            assert!(is_one(&fstat(&opened).expect("a stat"), &there));
            assert!(open(&scratch.join("link/b")).is_err());
            assert!(open(&scratch.join("a/missing")).is_err());
        }
    }
}
