//! Evidence in a tree, read as `getfattr` would, and rules without what differs from run to run.

use std::{collections::BTreeMap, path::Path};

use rustix::{fs::lgetxattr, io::Errno};

use super::{PATIENCE, files, wait_until};

/// What came of each connection: paths relative to the root, and the word or nothing.
pub type Evidence = BTreeMap<String, String>;

/// The word of one file; empty where there is none, or where the file system takes none.
pub fn word(file: &Path) -> String {
    let mut value = [0; 64];
    match lgetxattr(file, "user.conntrack.evidence", &mut value) {
        Ok(length) => String::from_utf8_lossy(&value[..length]).into_owned(),
        Err(Errno::NODATA | Errno::NOENT | Errno::OPNOTSUPP) => String::new(),
        Err(error) => panic!("{}: {error}", file.display()),
    }
}

/// The words of all files below `root`.
pub fn evidence(root: &Path) -> Evidence {
    files(root).into_iter().map(|path| (path.clone(), word(&root.join(path)))).collect()
}

/// Waits until each of these files has its word.
#[track_caller]
pub fn wait_for_evidence<'e>(root: &Path, expected: impl IntoIterator<Item = (&'e str, &'e str)>) {
    let expected: Vec<_> = expected.into_iter().collect();
    let differs = |(path, wanted): &&(&str, &str)| {
        let file = root.join(path);
        !file.exists() || word(&file) != *wanted
    };
    if !wait_until(PATIENCE, || !expected.iter().any(|it| differs(&it))) {
        let wrong = expected.iter().filter(differs).take(20);
        let wrong: Vec<_> = wrong
            .map(|(path, wanted)| {
                let file = root.join(path);
                let found = if file.exists() { word(&file) } else { "no file".to_owned() };
                format!("{path}: {wanted:?} expected, {found:?} found")
            })
            .collect();
        panic!("{wrong:#?}");
    }
}

/// Rules with every time replaced by the same word.
pub fn without_times(rules: &str) -> String {
    const TIME: &str = "2026-11-25T18:56:59Z";
    let mut text = String::new();
    let mut rest = rules;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let is_time = from.get(..TIME.len()).is_some_and(|it| {
            it.chars().zip(TIME.chars()).all(|(c, model)| {
                if model.is_ascii_digit() { c.is_ascii_digit() } else { c == model }
            })
        });
        let length = if is_time {
            text.push_str("TIME");
            TIME.len()
        } else {
            let end = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
            text.push_str(&from[..end]);
            end
        };
        rest = &from[length..];
    }
    text + rest
}

/// What a firewall reads of rules: no comment lines, no times.
pub fn in_force(rules: &str) -> String {
    let text = without_times(rules);
    text.split_inclusive('\n').filter(|line| !line.trim_start().starts_with('#')).collect()
}
