//! A tree that is read, as typed: `-p DIR` or just `DIR`.

use std::path::{Path, PathBuf};

use clap::Args;

/// Which tree is read.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct Place {
    /// The tree
    #[arg(short, long, value_name = "DIR")]
    path: Option<PathBuf>,

    /// The same, without a flag
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl Place {
    /// clap sees to it that there is one.
    pub(super) fn path(&self) -> &Path {
        self.path.as_deref().or(self.directory.as_deref()).unwrap_or_else(|| Path::new(""))
    }
}
