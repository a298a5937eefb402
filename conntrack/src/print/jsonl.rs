//! JSON lines: an object for the recording, then one for each connection. The form to hand on: it is read as a tree
//! is.

use std::fmt;

use serde::Serialize;

use crate::{
    record::Record,
    recording::{
        Recording,
        json_lines::{Head, Line},
    },
};

/// Some records of a recording as JSON lines.
pub struct JsonLines<'a> {
    /// What they are of.
    pub recording: &'a Recording,
    /// In this order.
    pub records: &'a [Record],
}

impl fmt::Display for JsonLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, &Head::of(self.recording, self.records))?;
        let host = self.recording.provenance.as_ref().and_then(|it| it.host.as_deref());
        self.records.iter().try_for_each(|record| write_line(f, &Line::of(record, host)))
    }
}

fn write_line(f: &mut fmt::Formatter<'_>, line: &impl Serialize) -> fmt::Result {
    let text = serde_json::to_string(line).map_err(|_| fmt::Error)?;
    writeln!(f, "{text}")
}

/// One recording behind the other.
pub struct Each<'a>(pub Vec<JsonLines<'a>>);

impl fmt::Display for Each<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|it| it.fmt(f))
    }
}
