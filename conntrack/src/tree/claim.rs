//! A claim on a tree: a shared lock (flock(2)) on its root, by which others who record into it are seen. It
//! keeps nobody out.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock, openat},
    io::{Errno, Result},
};

/// Held until it is dropped.
#[derive(Debug)]
pub struct Claim {
    _lock: OwnedFd,
    has_others: bool,
}

impl Claim {
    /// Nobody else is there if the lock can be had alone for a moment.
    pub(super) fn on(root: impl AsFd) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = openat(root, ".", flags, Mode::empty())?;
        let has_others = match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => false,
            Err(Errno::AGAIN) => true,
            Err(errno) => return Err(errno),
        };
        match flock(&lock, FlockOperation::NonBlockingLockShared) {
            // Somebody is looking at this very moment.
            Ok(()) | Err(Errno::AGAIN) => Ok(Self { _lock: lock, has_others }),
            Err(errno) => Err(errno),
        }
    }

    /// Whether somebody else had a claim when this one was made.
    pub const fn has_others(&self) -> bool {
        self.has_others
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn each_but_the_first_sees_the_others() {
        let root = tempfile::tempdir().expect("a scratch directory");
        let claim = || Claim::on(File::open(root.path()).expect("opened")).expect("claimed");
        let first = claim();
        assert!(!first.has_others());
        let second = claim();
        assert!(second.has_others());
        drop(first);
        assert!(claim().has_others(), "the second is still there");
        drop(second);
        assert!(!claim().has_others());
    }
}
