//! A tree, read for a command: what is not understood is said.

use std::path::Path;

use crate::recording::Recording;

/// More files of a tree are only counted.
const FILES_NAMED: usize = 10;

/// Reads a tree. What is not understood is logged.
pub(super) fn read(path: &Path) -> anyhow::Result<Recording> {
    let recording = Recording::read(path)?;
    for (path, why) in recording.strangers.iter().take(FILES_NAMED) {
        log::warn!("{} left out: {why}", path.display());
    }
    let more = recording.strangers.len().saturating_sub(FILES_NAMED);
    if more > 0 {
        log::warn!("{more} more left out that are no connections");
    }
    for (below, why) in recording.unreadable.iter().take(FILES_NAMED) {
        log::warn!("{}: evidence unknown: {why}", path.join(below).display());
    }
    let more = recording.unreadable.len().saturating_sub(FILES_NAMED);
    if more > 0 {
        log::warn!("{more} more whose evidence is unknown, because it cannot be read");
    }
    Ok(recording)
}
