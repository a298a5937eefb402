//! A small file system for one test; unmounted when the test ends, even if it fails.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A file system that is mounted.
pub struct Mount {
    point: TempDir,
    /// What it is on, where that is no memory.
    _image: Option<TempDir>,
}

impl Mount {
    /// A tmpfs with this many inodes, one of them for its root.
    pub fn with_inodes(inodes: u64) -> Self {
        Self::in_memory("tmpfs", &format!("size=16m,nr_inodes={inodes}"))
    }

    /// A file system that has no other place: `tmpfs`, or `ramfs`, which takes no extended attributes.
    pub fn in_memory(kind: &str, options: &str) -> Self {
        let mounted = Self::on(kind, options, OsStr::new("conntrack-test"), None);
        mounted.unwrap_or_else(|| panic!("no {kind}"))
    }

    /// A file system in a file that is as large as it says, made with these options; none where the
    /// program that makes it is not installed.
    pub fn on_image(kind: &str, megabytes: u64, options: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let image = directory.path().join("image");
        let file = File::create(&image).expect("made");
        file.set_len(megabytes << 20).expect("as large as that");
        let made =
            Command::new(format!("mkfs.{kind}")).args(options).arg("-q").arg(&image).output();
        let Ok(made) = made else {
            eprintln!("left out: there is no mkfs.{kind}");
            return None;
        };
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mount = Self::on(kind, "loop", image.as_os_str(), Some(directory));
        Some(mount.unwrap_or_else(|| panic!("no {kind} or no loop device")))
    }

    fn on(kind: &str, options: &str, source: &OsStr, image: Option<TempDir>) -> Option<Self> {
        let point = tempfile::tempdir().expect("a scratch directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", kind, "-o", options]).arg(source).arg(point.path());
        let mounted = mount.status().expect("mount runs").success();
        mounted.then_some(Self { point, _image: image })
    }

    pub fn path(&self) -> &Path {
        self.point.path()
    }

    /// Where a tree may be.
    pub fn tree(&self) -> PathBuf {
        self.path().join("tree")
    }

    pub fn free_inodes(&self) -> u64 {
        rustix::fs::statvfs(self.path()).expect("a file system").f_ffree
    }

    /// Has it take nothing any more.
    pub fn make_read_only(&self) {
        let mut mount = Command::new("mount");
        let remounted = mount.args(["-o", "remount,ro"]).arg(self.path()).status();
        assert!(remounted.expect("mount runs").success());
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
