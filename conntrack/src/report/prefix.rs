//! The beginning of a message: its kind in words, or for the journal its priority.

use std::{borrow::Cow, env, os::fd::BorrowedFd};

use log::Level;
use rustix::{fs::fstat, stdio::stderr};

use crate::program;

/// Prefix of a message, depending on who reads standard error.
pub(super) fn prefix(level: Level) -> Cow<'static, str> {
    if is_journal(stderr()) { for_journal(level).into() } else { for_people(level).into() }
}

fn for_people(level: Level) -> String {
    let kind = if level == Level::Warn { "warning: " } else { "" };
    format!("{}: {kind}", program::name())
}

/// The same for a line that has no prefix for people.
pub(super) fn priority(level: Level) -> &'static str {
    if is_journal(stderr()) { for_journal(level) } else { "" }
}

/// sd-daemon(3). The journal adds the program's name.
fn for_journal(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

/// Whether this is the journal: `JOURNAL_STREAM` names its device and inode. The variable
/// alone does not tell, because children of a service inherit it.
pub(super) fn is_journal(stream: BorrowedFd<'_>) -> bool {
    let Ok(journal) = env::var("JOURNAL_STREAM") else { return false };
    fstat(stream).is_ok_and(|stat| journal == format!("{}:{}", stat.st_dev, stat.st_ino))
}
