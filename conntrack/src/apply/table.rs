//! Our table of nftables: what it is now, and the script that makes it that again.

use std::fs::File;

use crate::{
    host::programs::{ProgramError, run, run_with},
    print::nftables::TABLE,
};

/// Tracks connections and refuses nothing.
pub(super) const LEARNING: &str = "\
table inet conntrack_learned
delete table inet conntrack_learned
table inet conntrack_learned {
    chain input {
        type filter hook input priority filter; policy accept;
        ct state established,related counter accept
    }
    chain output {
        type filter hook output priority filter; policy accept;
        ct state established,related counter accept
    }
    chain forward {
        type filter hook forward priority filter; policy accept;
        ct state established,related counter accept
    }
}
";

/// The table, as `nft` lists it.
pub(super) struct Table(Vec<u8>);

impl Table {
    /// The table of this machine; `None` if there is none.
    pub(super) fn read() -> Result<Option<Self>, ProgramError> {
        if !names()?.contains(&TABLE.to_owned()) {
            return Ok(None);
        }
        list(TABLE).map(|text| Some(Self(text)))
    }
}

/// The tables that there are: family and name.
pub(super) fn names() -> Result<Vec<String>, ProgramError> {
    let listed = run("nft", &["list", "tables"], &[])?;
    let listed = String::from_utf8_lossy(&listed);
    Ok(listed.lines().filter_map(|line| line.strip_prefix("table ")).map(str::to_owned).collect())
}

pub(super) fn list(table: &str) -> Result<Vec<u8>, ProgramError> {
    let words: Vec<_> = ["list", "table"].into_iter().chain(table.split(' ')).collect();
    run("nft", &words, &[])
}

/// Loads a script, all of it or nothing.
pub(super) fn load(script: &[u8]) -> Result<(), ProgramError> {
    run("nft", &LOAD, script).map(drop)
}

/// Loads a file: all of it, also if this process is killed meanwhile.
pub(super) fn load_file(script: &File) -> Result<(), ProgramError> {
    run_with("nft", &LOAD, script).map(drop)
}

const LOAD: [&str; 2] = ["-f", "-"];

/// The script that goes back; in one transaction, and it does no harm to run it twice.
pub(super) fn undo(before: Option<&Table>) -> Vec<u8> {
    let mut script = format!("table {TABLE}\ndelete table {TABLE}\n").into_bytes();
    if let Some(Table(before)) = before {
        script.extend(before);
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_learns_is_our_table() {
        assert!(LEARNING.contains(&format!("table {TABLE} {{")));
        assert!(LEARNING.starts_with(&format!("table {TABLE}\ndelete table {TABLE}\n")));
        assert!(!LEARNING.contains("drop"));
    }
}
