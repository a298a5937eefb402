//! A step of the setup, in one line.

use std::fmt::Display;

/// Prints the line.
pub(super) fn say(what: impl Display, step: impl Display) {
    eprintln!("{what}: {step}");
}
