//! A small file system of a test's own, in memory; unmounted when the test ends, also when it fails.

use std::{path::Path, process::Command};

use tempfile::TempDir;

/// A tmpfs.
pub struct Mount {
    point: TempDir,
}

impl Mount {
    /// A file system that takes this many files and directories, its root among them.
    pub fn with_inodes(inodes: u64) -> Self {
        let point = tempfile::tempdir().expect("a scratch directory");
        let options = format!("size=16m,nr_inodes={inodes}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "conntrack-test"])
            .arg(point.path())
            .status();
        assert!(mounted.expect("mount runs").success());
        Self { point }
    }

    pub fn path(&self) -> &Path {
        self.point.path()
    }

    pub fn free_inodes(&self) -> u64 {
        rustix::fs::statvfs(self.path()).expect("a file system").f_ffree
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: whoever still has it open when a test fails does not keep it in place.
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is left behind", self.path().display());
        }
    }
}
