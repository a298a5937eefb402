//! What the program says on standard error: one line each, with its kind in words, or for the
//! journal with its priority.

use std::{borrow::Cow, env, io::Write as _};

use env_logger::Target;
use log::{Level, LevelFilter};
use rustix::{fs::fstat, stdio::stderr};

use super::Screen;
use crate::watch::config::Verbosity;

/// What names and paths hold may be anything; a message is one line and moves no cursor.
pub(crate) fn printable(text: &str) -> String {
    let printed = |character: char| -> String {
        if character.is_control() { character.escape_default().collect() } else { character.into() }
    };
    text.chars().map(printed).collect()
}

/// A word as one would type it in a shell; none where it cannot be shown as it is.
pub(crate) fn shell_quoted(word: &str) -> Option<String> {
    let is_plain = !word.chars().any(char::is_control);
    shlex::try_quote(word).ok().filter(|_| is_plain).map(Cow::into_owned)
}

/// Messages are lines on the screen, like those of other network tools.
pub(crate) fn start_log(verbosity: Verbosity, screen: &Screen) {
    let level = match verbosity {
        Verbosity::Quiet => LevelFilter::Warn,
        Verbosity::Normal => LevelFilter::Info,
        Verbosity::Verbose => LevelFilter::Debug,
    };
    env_logger::Builder::new()
        .filter_level(LevelFilter::Warn)
        .filter_module("conntrack", level)
        .format(move |line, record| {
            let text = printable(&record.args().to_string());
            writeln!(line, "{}{text}", prefix(record.level()))
        })
        .target(Target::Pipe(Box::new(screen.clone())))
        .init();
}

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
