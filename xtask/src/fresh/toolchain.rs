//! rustup and the pinned toolchain, as after installing rustup and entering the clone. The toolchain
//! is this machine's, mounted read-only; nothing else of cargo's folder is taken along.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{home::HOME, root::Root};
use crate::{command, workspace::Workspace};

/// Names of rustup's proxies in cargo's folder.
const PROXIES: [&str; 7] =
    ["cargo", "cargo-clippy", "cargo-fmt", "clippy-driver", "rustc", "rustdoc", "rustfmt"];

const BIN: &str = "/root/.cargo/bin";

/// Of this machine.
pub(crate) struct Toolchain {
    rustup: PathBuf,
    /// The toolchain of `rust-toolchain.toml`.
    sysroot: PathBuf,
    /// Its path inside.
    inner: String,
}

impl Toolchain {
    pub(crate) fn find(workspace: &Workspace) -> Result<Self> {
        let rustup = command::find("rustup");
        let rustup = rustup.context("no rustup to copy: see https://rustup.rs")?;
        let file = workspace.root.join("rust-toolchain.toml");
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let channel =
            channel(&text).with_context(|| format!("no channel in {}", file.display()))?;
        let mut which = workspace.program("rustup");
        let rustc = command::output(which.args(["which", "--toolchain", channel, "rustc"]))?;
        let (sysroot, inner) =
            places(&rustc).with_context(|| format!("rustup has no toolchain at {rustc}"))?;
        Ok(Self { rustup, sysroot, inner })
    }

    pub(crate) fn sysroot(&self) -> &Path {
        &self.sysroot
    }

    pub(crate) fn inner(&self) -> &str {
        &self.inner
    }

    /// Installs rustup and its proxies, and makes the mount point of the toolchain.
    pub(crate) fn install(&self, root: &Root) -> Result<()> {
        root.make_folder(&self.inner)?;
        self.install_rustup(root, BIN)
    }

    /// Installs rustup and its proxies into the folder `inner`.
    pub(crate) fn install_rustup(&self, root: &Root, inner: &str) -> Result<()> {
        let bin = root.make_folder(inner)?;
        root.copy(&self.rustup, &format!("{inner}/rustup"))?;
        for proxy in PROXIES {
            symlink("rustup", bin.join(proxy)).with_context(|| proxy.to_owned())?;
        }
        Ok(())
    }
}

/// The channel that `rust-toolchain.toml` pins.
fn channel(text: &str) -> Option<&str> {
    let value = text.lines().find_map(|line| line.strip_prefix("channel = "))?;
    Some(value.trim().trim_matches('"'))
}

/// The sysroot of this rustc, and its path inside.
fn places(rustc: &str) -> Option<(PathBuf, String)> {
    let sysroot = Path::new(rustc.trim_end()).ancestors().nth(2)?;
    let name = sysroot.file_name()?.to_str()?;
    Some((sysroot.to_path_buf(), format!("{HOME}/.rustup/toolchains/{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_channel_is_found() {
        let pinned = include_str!("../../../rust-toolchain.toml");
        assert!(channel(pinned).is_some_and(|it| it.starts_with(|c: char| c.is_ascii_digit())));
        assert_eq!(channel("[toolchain]\nchannel = \"1.2.3\"\n"), Some("1.2.3"));
        assert_eq!(channel("[toolchain]\n"), None);
    }

    #[test]
    fn the_toolchain_keeps_its_name() {
        let (sysroot, inner) = places("/r/toolchains/1.2.3-x/bin/rustc\n").expect("a toolchain");
        assert_eq!(sysroot, Path::new("/r/toolchains/1.2.3-x"));
        assert_eq!(inner, "/root/.rustup/toolchains/1.2.3-x");
        assert_eq!(places("rustc"), None);
    }
}
