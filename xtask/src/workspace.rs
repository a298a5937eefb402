//! This work tree, its build output, and cargo commands for it. It runs nothing itself.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command;

/// The whole workspace except the eBPF programs, which compile only for their own target.
pub(crate) const ALL_BUT_EBPF: [&str; 3] = ["--workspace", "--exclude", "conntrack-ebpf"];

/// This work tree.
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// The folder of `debug` and `release`.
    pub(crate) target: PathBuf,
    path: OsString,
}

impl Workspace {
    /// The work tree that this program was started from by `cargo xtask`.
    pub(crate) fn find() -> Result<Self> {
        let xtask = env::var_os("CARGO_MANIFEST_DIR").context("start this as `cargo xtask`")?;
        let root = Path::new(&xtask).parent().context("no folder above xtask")?;
        let exe = env::current_exe().context("cannot tell where this program is")?;
        // Cargo built us as TARGET/debug/xtask, however the target folder was chosen.
        let target = exe.ancestors().nth(2).context("this program is in no target folder")?;
        Ok(Self {
            root: root.to_path_buf(),
            target: target.to_path_buf(),
            path: env::join_paths(command::search_path()).context("cannot extend PATH")?,
        })
    }

    /// Cargo, with bpf-linker and the system's tools in its `PATH`. rustup has put the toolchain that
    /// we were started with into the environment, and uses the same again.
    pub(crate) fn cargo(&self) -> Command {
        self.program("cargo")
    }

    /// `program`, with the same `PATH`: root's may lack the system's folders.
    pub(crate) fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", &self.path);
        command
    }
}

/// The entries of `dir`; none if it is not a folder.
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
