//! Comma-separated values (RFC 4180) with a header; lines end with a line feed alone.

use std::fmt;

use super::fields::{FIELDS, fields};
use crate::record::Record;

/// Records as comma-separated values.
pub struct Csv<'a>(pub &'a [Record]);

impl fmt::Display for Csv<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", FIELDS.join(","))?;
        self.0.iter().try_for_each(|record| writeln!(f, "{}", fields(record).join(",")))
    }
}
