//! Which file imports from which. How that was found out is not known here.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    path::{Path, PathBuf},
};

/// Every file with those that it imports from, each with one place where it does.
#[derive(Debug, Default)]
pub(super) struct Graph {
    files: BTreeMap<PathBuf, BTreeMap<PathBuf, Place>>,
}

/// Where something is imported, and what.
#[derive(Debug)]
struct Place {
    line: usize,
    name: String,
}

/// That a file imports something from another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Import<'g> {
    pub(super) from: &'g Path,
    pub(super) to: &'g Path,
    place: &'g Place,
}

impl Graph {
    /// A file does not import from itself. Of several places where one imports from another, the first
    /// stands.
    pub(super) fn add(&mut self, from: &Path, to: &Path, line: usize, name: String) {
        if from != to {
            let imports = self.files.entry(from.to_owned()).or_default();
            imports.entry(to.to_owned()).or_insert(Place { line, name });
        }
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    pub(super) fn imports(&self) -> impl Iterator<Item = Import<'_>> {
        self.files().flat_map(|file| self.imports_of(file))
    }

    pub(super) fn imports_of<'g>(&'g self, file: &Path) -> impl Iterator<Item = Import<'g>> {
        let found = self.files.get_key_value(file).into_iter();
        found.flat_map(|(from, imports)| {
            imports.iter().map(move |(to, place)| Import { from, to, place })
        })
    }
}

impl Display for Import<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, name } = self.place;
        write!(f, "{}:{line} imports {name} from {}", self.from.display(), self.to.display())
    }
}
