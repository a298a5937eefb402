//! Folders that verbs have for themselves, and those that are filled once and kept.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// A verb's folder, by its real path: `/proc/self/mountinfo` has real paths.
pub(crate) fn of_verb(workspace: &Workspace, verb: &str) -> Result<PathBuf> {
    let folder = workspace.target.join("xtask").join(verb);
    let made = fs::create_dir_all(&folder).and_then(|()| fs::canonicalize(&folder));
    made.with_context(|| folder.display().to_string())
}

/// A lock: while it is held, no other run of this verb uses its folder.
pub(crate) fn alone(folder: &Path, verb: &str) -> Result<File> {
    let path = folder.join("lock");
    let lock = File::create(&path).with_context(|| path.display().to_string())?;
    lock.try_lock().with_context(|| format!("another `cargo xtask {verb}` is running here"))?;
    Ok(lock)
}

/// Has `make` fill a folder, unless it was filled before from the same `out_of`. It gets its name only
/// once it is complete.
pub(crate) fn once(
    folder: &Path,
    out_of: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let made_of = folder.with_extension("made-of");
    if folder.exists() && fs::read_to_string(&made_of).is_ok_and(|before| before == out_of) {
        return Ok(());
    }
    let partial = folder.with_extension("partial");
    start_anew(&partial)?;
    make(&partial)?;
    start_anew(folder)?;
    fs::rename(&partial, folder).with_context(|| folder.display().to_string())?;
    fs::write(&made_of, out_of).with_context(|| made_of.display().to_string())
}

/// Makes the folder, or empties it.
pub(crate) fn start_anew(folder: &Path) -> Result<()> {
    let result = match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(folder),
    };
    result.with_context(|| folder.display().to_string())
}
