//! Recordings that are read, as typed: `-p DIR` or just `DIR`, trees and files of JSON lines, one or several.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Which recordings are read.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct Place {
    /// The tree, or a file of what -f jsonl prints (- is standard input) [repeatable: all of them together]
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::FilePath)]
    path: Vec<PathBuf>,

    /// The same, without a flag
    #[arg(value_name = "DIR", value_hint = ValueHint::FilePath)]
    directory: Vec<PathBuf>,
}

impl Place {
    /// clap sees to it that there is one.
    pub(super) fn paths(&self) -> &[PathBuf] {
        if self.path.is_empty() { &self.directory } else { &self.path }
    }
}
