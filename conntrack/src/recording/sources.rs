//! The door to recordings: trees, and files of JSON lines. Every command that reads recordings reads them here.

use std::{
    fs::{self, File},
    io::{BufReader, stdin},
    path::Path,
};

use super::{Recording, error::ReadError, json_lines};

/// Instead of a path: standard input.
pub const STDIN: &str = "-";

/// Reads what is there: a directory is a tree, everything else a file of JSON lines, which may hold several
/// recordings.
///
/// # Errors
/// What is no tree and no such file, and what of it is not understood.
pub fn read(path: &Path) -> Result<Vec<Recording>, ReadError> {
    if path == Path::new(STDIN) {
        return json_lines::read(Path::new("standard input"), stdin().lock());
    }
    // What is missing is told as a tree that is missing.
    if fs::metadata(path).map_or(true, |it| it.is_dir()) {
        return Ok(vec![Recording::read(path)?]);
    }
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    json_lines::read(path, BufReader::new(File::open(path).map_err(failed)?))
}
