//! Folders that are filled once and kept.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context as _, Result};

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
