//! A small file system in memory, for one test; unmounted when the test ends, even if it fails.

use std::{path::Path, process::Command};

use tempfile::TempDir;

/// A tmpfs.
pub struct Mount {
    point: TempDir,
}

impl Mount {
    /// A file system with this many inodes, one of them for its root.
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
        // Lazily: when a test fails, a process may still have it open.
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is left behind", self.path().display());
        }
    }
}
