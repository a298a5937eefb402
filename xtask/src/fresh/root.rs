//! The folder that becomes the root of a minimal Debian, and its removal, which must touch nothing
//! outside it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

/// The folder.
pub(crate) struct Root {
    path: PathBuf,
}

impl Root {
    /// `path` is a real path, without symbolic links.
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path outside of `inner`, a path inside.
    pub(crate) fn outside(&self, inner: &str) -> PathBuf {
        self.path.join(inner.trim_start_matches('/'))
    }

    /// Makes the folder `inner` and its parents.
    pub(crate) fn make_folder(&self, inner: &str) -> Result<PathBuf> {
        let path = self.outside(inner);
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Writes the file `inner`, replacing what is there.
    pub(crate) fn write(&self, inner: &str, text: &str) -> Result<()> {
        let path = self.cleared(inner)?;
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// Copies our file `from` to `inner`.
    pub(crate) fn copy(&self, from: &Path, inner: &str) -> Result<()> {
        let path = self.cleared(inner)?;
        let copied = fs::copy(from, path).map(|_bytes| ());
        copied.with_context(|| format!("cannot copy {}", from.display()))
    }

    /// The path outside of `inner`, after removing what is there: a symbolic link would lead out.
    fn cleared(&self, inner: &str) -> Result<PathBuf> {
        let path = self.outside(inner);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| path.display().to_string())
            }
            _ => Ok(path),
        }
    }

    /// Removes all of it. Our own mounts are in another mount namespace, so a mount that is visible
    /// here is somebody else's and must not be removed through.
    pub(crate) fn remove(&self) -> Result<()> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
        let mounted = mounted_in(&mounts, &self.path);
        ensure!(mounted.is_empty(), "not removed, unmount first: {}", mounted.join(" "));
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

/// The mount points at and below `path` in the text of `mountinfo`, in that file's spelling.
fn mounted_in<'t>(mountinfo: &'t str, path: &Path) -> Vec<&'t str> {
    let path = path.to_string_lossy().replace('\\', r"\134").replace(' ', r"\040");
    let path = path.replace('\t', r"\011").replace('\n', r"\012");
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| Path::new(point).starts_with(&path)).collect()
}

#[cfg(test)]
mod tests {
    use std::{env, os::unix::fs::symlink};

    use super::*;

    const MOUNTS: &str = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
        25 22 0:5 / /w/root/dev rw - devtmpfs devtmpfs rw\n\
        26 22 0:6 / /w/rootless rw - tmpfs tmpfs rw\n\
        27 22 0:7 / /my\\040w/root/proc rw - proc proc rw\n";

    #[test]
    fn mounts_are_those_at_the_folder_and_below() {
        let mounted = |path| mounted_in(MOUNTS, Path::new(path));
        assert_eq!(mounted("/w/root"), ["/w/root/dev"]);
        assert_eq!(mounted("/w/root/dev"), ["/w/root/dev"]);
        assert_eq!(mounted("/my w/root"), [r"/my\040w/root/proc"]);
        assert!(mounted("/w/root/de").is_empty());
    }

    #[test]
    fn a_folder_with_a_mount_is_not_removed() {
        let error = Root::new("/proc".into()).remove().expect_err("/proc is mounted");
        assert!(format!("{error:#}").starts_with("not removed, unmount first: /proc"));
    }

    #[test]
    fn nothing_goes_where_a_link_leads() -> Result<()> {
        let dir = fs::canonicalize(env::temp_dir())?;
        let dir = dir.join(format!("xtask-root-{}", std::process::id()));
        let kept = dir.join("kept");
        let root = Root::new(dir.join("root"));
        fs::create_dir_all(&kept)?;
        let folder = root.make_folder("/a/b")?;
        symlink(&kept, folder.join("link"))?;
        symlink(kept.join("no file"), folder.join("file"))?;
        root.write("/a/b/file", "text")?;
        root.copy(&folder.join("file"), "/a/b/copy")?;
        assert_eq!(fs::read_to_string(folder.join("copy"))?, "text");
        root.remove()?;
        root.remove()?;
        assert!(!kept.join("no file").exists() && kept.is_dir() && !root.path().exists());
        fs::remove_dir_all(&dir)?;
        Ok(())
    }
}
