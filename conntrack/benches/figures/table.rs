//! The table: its rows as Markdown.

use std::fmt;

/// The table's first two lines.
pub(crate) const HEADER: &str = "| what | measured | baseline | compared | target | met |\n\
                                 |---|---|---|---|---|---|";

/// One figure and its baseline.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) measured: String,
    pub(crate) baseline: String,
    /// Their ratio or difference.
    pub(crate) compared: String,
    pub(crate) target: String,
    /// `None` where there is no target.
    pub(crate) met: Option<bool>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, measured, baseline, compared, target, met } = self;
        let met = match met {
            Some(true) => "yes",
            Some(false) => "**missed**",
            None => "–",
        };
        write!(f, "| {what} | {measured} | {baseline} | {compared} | {target} | {met} |")
    }
}
