//! Owners of the directories on the way to the tree. In a world-writable directory such as `/tmp` another
//! user may have created ours first and could change its content, so there the owner must be root or us.
//! Elsewhere the parent's owner decided who may create directories.

use std::{
    os::fd::AsFd,
    path::{Path, PathBuf, absolute},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, Stat, fstat, statat},
    process::geteuid,
};

use super::{error::TreeError, owner::Owner};

/// Allowed owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Anybody.
    Anybody,
    /// In world-writable directories, only root and this user.
    RootAnd(u32),
}

impl Owners {
    /// Root and the current user.
    pub fn ours() -> Self {
        Self::RootAnd(geteuid().as_raw())
    }

    fn include(self, owner: u32) -> bool {
        match self {
            Self::Anybody => true,
            Self::RootAnd(user) => owner == 0 || owner == user,
        }
    }

    /// Checks an open directory. `place` gives its parent, and is called only if the owner is somebody
    /// else.
    pub(super) fn check(
        self,
        path: &Path,
        directory: impl AsFd,
        place: impl FnOnce() -> (PathBuf, rustix::io::Result<Stat>),
    ) -> Result<(), TreeError> {
        let failed = |errno| TreeError::io("open", path.to_owned(), errno);
        let owner = fstat(directory).map_err(failed)?.st_uid;
        if self.include(owner) {
            return Ok(());
        }
        let (place, stat) = place();
        if is_world_writable(&stat.map_err(failed)?) {
            return Err(TreeError::NotOurs { path: path.to_owned(), owner: Owner(owner), place });
        }
        Ok(())
    }

    /// Checks that nobody else can redirect the path to `root`, with a directory or link of theirs. Checks
    /// the path as given and with links resolved.
    pub(super) fn check_way(self, root: &Path) -> Result<(), TreeError> {
        if self == Self::Anybody {
            return Ok(());
        }
        // If it cannot be resolved, opening it fails and tells why.
        let Ok(written) = absolute(root) else { return Ok(()) };
        self.check_steps(&written)?;
        match (place_of(&written).canonicalize(), written.file_name()) {
            (Ok(place), Some(name)) => self.check_steps(&place.join(name)),
            _ => Ok(()),
        }
    }

    fn check_steps(self, way: &Path) -> Result<(), TreeError> {
        for step in way.ancestors() {
            let Some(place) = step.parent() else { continue };
            match statat(CWD, place, AtFlags::empty()) {
                Ok(stat) if is_world_writable(&stat) => self.check_step(step, place, &stat)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn check_step(self, step: &Path, place: &Path, stat: &Stat) -> Result<(), TreeError> {
        let place = place.to_owned();
        if !Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX) {
            return Err(TreeError::Replaceable { place });
        }
        match statat(CWD, step, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) if !self.include(there.st_uid) => {
                Err(TreeError::NotOurs { path: step.to_owned(), owner: Owner(there.st_uid), place })
            }
            _ => Ok(()),
        }
    }
}

/// The parent of a path.
pub(super) fn place_of(directory: &Path) -> PathBuf {
    match (directory.file_name(), directory.parent()) {
        (Some(_), Some(parent)) if !parent.as_os_str().is_empty() => parent.to_owned(),
        (Some(_), _) => PathBuf::from("."),
        (None, _) => directory.join(".."),
    }
}

/// Whether it is world-writable.
fn is_world_writable(directory: &Stat) -> bool {
    Mode::from_raw_mode(directory.st_mode).contains(Mode::WOTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_directory_stands() {
        for (directory, place) in
            [("/tmp/x", "/tmp"), ("/x", "/"), ("x", "."), ("a/x", "a"), (".", "./.."), ("/", "/..")]
        {
            assert_eq!(place_of(Path::new(directory)), Path::new(place), "{directory}");
        }
    }

    #[test]
    fn root_s_and_ours_are_fine() {
        let ours = Owners::RootAnd(1000);
        assert!(ours.include(0) && ours.include(1000) && !ours.include(1001));
        assert!(Owners::Anybody.include(1001));
    }
}
