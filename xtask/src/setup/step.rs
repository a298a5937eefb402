//! How a step is told.

use std::fmt::Display;

/// One line for one step.
pub(super) fn say(what: impl Display, step: impl Display) {
    eprintln!("{what}: {step}");
}
