//! Log messages on standard error: one line each, prefixed with the level, or with the priority for
//! the journal.

use std::{borrow::Cow, io::Write as _};

use env_logger::Target;
use log::LevelFilter;

use super::{prefix::prefix, screen::Screen};
use crate::watch::config::Verbosity;

/// Escapes control characters: names and paths may contain anything, a message stays one line.
pub(crate) fn printable(text: &str) -> String {
    let printed = |character: char| -> String {
        if character.is_control() { character.escape_default().collect() } else { character.into() }
    };
    text.chars().map(printed).collect()
}

/// Quotes a word for a POSIX shell; `None` if it contains control characters.
pub(crate) fn shell_quoted(word: &str) -> Option<String> {
    let is_plain = !word.chars().any(char::is_control);
    shlex::try_quote(word).ok().filter(|_| is_plain).map(Cow::into_owned)
}

/// Starts logging to the screen.
pub(crate) fn start_log(verbosity: Verbosity, screen: &Screen) {
    let level = match verbosity {
        Verbosity::Quiet => LevelFilter::Warn,
        Verbosity::Normal => LevelFilter::Info,
        Verbosity::Verbose => LevelFilter::Debug,
        Verbosity::Programs => LevelFilter::Trace,
    };
    env_logger::Builder::new()
        .filter_level(LevelFilter::Warn)
        // Its name is the beginning of the programs' too.
        .filter_module("conntrack", level)
        .format(move |line, record| {
            let text = printable(&record.args().to_string());
            writeln!(line, "{}{text}", prefix(record.level()))
        })
        .target(Target::Pipe(Box::new(screen.clone())))
        .init();
}
