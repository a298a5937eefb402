//! Where this work tree and its build output are, and cargo made ready to work on it. It runs
//! nothing itself.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command;

/// The eBPF programs compile for a target of their own only, so whatever takes the whole
/// workspace takes it without them.
pub(crate) const ALL_BUT_EBPF: [&str; 3] = ["--workspace", "--exclude", "conntrack-ebpf"];

/// This work tree.
pub(crate) struct Workspace {
    /// The folder that holds the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// The folder that holds `debug` and `release`.
    pub(crate) target: PathBuf,
    path: OsString,
}

impl Workspace {
    /// The work tree that this program was started from by `cargo xtask`.
    pub(crate) fn find() -> Result<Self> {
        let xtask = env::var_os("CARGO_MANIFEST_DIR").context("start this as `cargo xtask`")?;
        let root = Path::new(&xtask).parent().context("no folder above xtask")?;
        let exe = env::current_exe().context("cannot tell where this program is")?;
        // Cargo built us as TARGET/debug/xtask, whichever way its target folder was chosen.
        let target = exe.ancestors().nth(2).context("this program is in no target folder")?;
        Ok(Self {
            root: root.to_path_buf(),
            target: target.to_path_buf(),
            path: env::join_paths(command::search_path()).context("cannot extend PATH")?,
        })
    }

    /// Cargo, with bpf-linker and the system's tools in its `PATH`. Where rustup is used, it has
    /// told us in the environment which toolchain we were started with, and takes that one again.
    pub(crate) fn cargo(&self) -> Command {
        self.program("cargo")
    }

    /// `program`, with the same `PATH`: root's own may lack the system's folders.
    pub(crate) fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", &self.path);
        command
    }
}

/// What is in `dir`; nothing if it is no folder.
pub(crate) fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let paths = || -> io::Result<_> { fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect() };
    paths().with_context(|| dir.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_empty() -> Result<()> {
        assert!(entries(Path::new("/no/such/folder"))?.is_empty());
        Ok(())
    }
}
