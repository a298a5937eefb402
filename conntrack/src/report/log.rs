//! What the program says on standard error: one line each, with its kind in words, or for the
//! journal with its priority.

use std::{borrow::Cow, io::Write as _};

use env_logger::Target;
use log::LevelFilter;

use super::{prefix::prefix, screen::Screen};
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
