//! Where the parts of `cargo xtask fleet` find everything.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// Where everything is.
pub(crate) struct Places {
    pub(crate) workspace: Workspace,
    /// The recipes: `docs/fleet`.
    pub(crate) recipes: PathBuf,
    /// This verb's folder.
    pub(crate) own: PathBuf,
    /// The program, built.
    pub(crate) conntrack: PathBuf,
}

/// A file's text.
pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}
