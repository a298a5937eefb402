//! The program: as it is built for this machine, and linked statically for each architecture.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    command,
    musl::{TARGETS, Target},
    setup::StaticLibpcap,
    workspace::Workspace,
};

/// Builds it as its tests do; where it is.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    command::run(workspace.cargo().args(["build", "--package", "conntrack"]))?;
    Ok(workspace.target.join("debug/conntrack"))
}

/// The program of one target.
pub(crate) struct Program {
    pub(crate) target: &'static Target,
    pub(crate) path: PathBuf,
}

impl Program {
    /// Builds it for each target.
    pub(crate) fn build_all(workspace: &Workspace) -> Result<Vec<Self>> {
        TARGETS.iter().map(|target| Self::build(workspace, target)).collect()
    }

    /// Builds it for the target of this architecture, as `uname -m` prints it.
    pub(crate) fn build_for(workspace: &Workspace, architecture: &str) -> Result<Self> {
        let target = TARGETS.iter().find(|target| target.architecture == architecture);
        Self::build(workspace, target.with_context(|| format!("no target for {architecture}"))?)
    }

    fn build(workspace: &Workspace, target: &'static Target) -> Result<Self> {
        let libpcap = StaticLibpcap::find(workspace, target)?;
        let variable = target.rust.to_uppercase().replace('-', "_");
        let mut cargo = workspace.cargo();
        cargo.args(["build", "--release", "--locked", "--package", "conntrack"]);
        cargo.args(["--target", target.rust]).arg("--target-dir").arg(&workspace.target);
        // The toolchain brings this linker, and start files and a C library for musl.
        cargo.env(format!("CARGO_TARGET_{variable}_LINKER"), "rust-lld");
        // The build script would call the library for its version, and it cannot run here.
        cargo.env("LIBPCAP_LIBDIR", &libpcap.folder).env("LIBPCAP_VER", &libpcap.version);
        command::run(&mut cargo)?;
        let path = workspace.target.join(target.rust).join("release/conntrack");
        Ok(Self { target, path })
    }

    /// Copies it as `folder/ARCHITECTURE/conntrack`.
    pub(crate) fn copy_below(&self, folder: &std::path::Path) -> Result<()> {
        let folder = folder.join(self.target.architecture);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let copy = folder.join("conntrack");
        fs::copy(&self.path, &copy).with_context(|| copy.display().to_string())?;
        Ok(())
    }
}
