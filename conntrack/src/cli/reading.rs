//! Recordings, read for a command: what is not understood is said.

use std::path::{Path, PathBuf};

use crate::recording::{Recording, sources};

/// More files of a tree are only counted.
const FILES_NAMED: usize = 10;

/// Reads trees and files as one recording. What is not understood is logged, and what they contradict each other
/// in.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Recording> {
    Ok(merge(read_each(paths)?))
}

/// The same, each recording by itself.
pub(super) fn read_each(paths: &[PathBuf]) -> anyhow::Result<Vec<Recording>> {
    let mut recordings = Vec::new();
    for path in paths {
        recordings.extend(sources::read(path)?);
    }
    let is_one = recordings.len() == 1;
    let strangers = recordings.iter().flat_map(|recording| {
        let root = if is_one { Path::new("") } else { &recording.name };
        let line =
            move |(path, why): &Stranger| format!("{} left out: {why}", root.join(path).display());
        recording.strangers.iter().map(line)
    });
    say(strangers, "left out that are no connections");
    let unreadable = recordings.iter().flat_map(|recording| {
        let line = |(below, why): &Stranger| {
            format!("{}: evidence unknown: {why}", recording.name.join(below).display())
        };
        recording.unreadable.iter().map(line)
    });
    say(unreadable, "whose evidence is unknown, because it cannot be read");
    for recording in recordings.iter().filter(|it| it.left_out > 0) {
        let name = recording.name.display();
        log::warn!("{name} is not the whole recording: {} are not in it", recording.left_out);
    }
    Ok(recordings)
}

/// One recording of several.
pub(super) fn merge(recordings: Vec<Recording>) -> Recording {
    let (recording, conflicts) = Recording::merged(recordings);
    for conflict in conflicts {
        log::warn!("{conflict}");
    }
    recording
}

/// A file that is not as it should be, and why.
type Stranger = (PathBuf, &'static str);

/// Says the first lines, and what the others are about.
fn say(mut lines: impl Iterator<Item = String>, what: &str) {
    for line in lines.by_ref().take(FILES_NAMED) {
        log::warn!("{line}");
    }
    let more = lines.count();
    if more > 0 {
        log::warn!("{more} more {what}");
    }
}
