//! The beginning of a message: its kind in words, or for the journal its priority.

use std::env;

use log::Level;
use rustix::{fs::fstat, stdio::stderr};

/// What a message of this kind begins with, for whoever reads standard error.
pub(super) fn prefix(level: Level) -> &'static str {
    if is_journal() { for_journal(level) } else { for_people(level) }
}

fn for_people(level: Level) -> &'static str {
    if level == Level::Warn { "conntrack: warning: " } else { "conntrack: " }
}

/// As sd-daemon(3) has it. The journal knows who we are.
fn for_journal(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

/// Whether standard error is the journal's: systemd names its device and inode. It may name another
/// one, which a child of a service inherited.
fn is_journal() -> bool {
    let Ok(journal) = env::var("JOURNAL_STREAM") else { return false };
    fstat(stderr()).is_ok_and(|stat| journal == format!("{}:{}", stat.st_dev, stat.st_ino))
}
