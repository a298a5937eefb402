//! Why a recording cannot be read.

use std::{io, path::PathBuf};

use crate::tree::TreeError;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file of JSON lines.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// Its name.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What it holds.
    #[error("{} line {line}: {what}", .path.display())]
    Line {
        /// Its name.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong there, and what to do.
        what: String,
    },
}
