//! How to keep rules over a reboot, as the distribution does it.

use std::{fmt, fs, path::PathBuf};

use crate::print::nftables::TABLE;

/// What distributions load when they start: Debian and its kind, Red Hat and its kind.
const LOADED_AT_START: [&str; 2] = ["/etc/nftables.conf", "/etc/sysconfig/nftables.conf"];
const OURS: &str = "/etc/nftables.d/conntrack.nft";

/// What to type, for people.
#[derive(Debug)]
pub struct Advice {
    file: Option<PathBuf>,
    flushes: bool,
}

impl Advice {
    /// For this machine.
    pub fn of_this_machine() -> Self {
        let file = LOADED_AT_START.iter().map(PathBuf::from).find(|path| path.exists());
        let text = file.as_ref().and_then(|path| fs::read_to_string(path).ok());
        let flushes = text.is_some_and(|text| flushes(&text));
        Self { file, flushes }
    }
}

fn flushes(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with("flush ruleset"))
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The rules are kept until the next boot. To keep them over it, as root:")?;
        writeln!(f, "  mkdir -p /etc/nftables.d && nft -s list table {TABLE} > {OURS}")?;
        match &self.file {
            Some(file) => {
                let file = file.display();
                writeln!(f, "  echo 'include \"{OURS}\"' >> {file}")?;
                writeln!(f, "  systemctl enable nftables")?;
                if self.flushes {
                    writeln!(
                        f,
                        "{file} flushes all rules whenever nftables is started or reloaded: until it has \
                         that line, these go then, too."
                    )?;
                }
            }
            None => writeln!(f, "  and have {OURS} loaded at start, with: nft -f {OURS}")?,
        }
        writeln!(f, "To go back to what was there before: conntrack apply --undo")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_flushes_is_told() {
        assert!(flushes("#!/usr/sbin/nft -f\n\n  flush ruleset\n"));
        assert!(!flushes("# flush ruleset\ntable inet x { }\n"));
    }

    #[test]
    fn there_is_always_something_to_type() {
        for (file, flushes) in [(None, false), (Some("/etc/nftables.conf"), true)] {
            let advice = Advice { file: file.map(PathBuf::from), flushes }.to_string();
            assert!(advice.contains("nft -s list table inet conntrack_learned"), "{advice}");
            assert_eq!(advice.contains("flushes"), flushes, "{advice}");
            assert!(advice.contains("--undo"), "{advice}");
        }
    }
}
