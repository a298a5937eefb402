//! A table for people: a line for each record, in columns.

use std::fmt;

use super::fields::{FIELDS, fields};
use crate::record::Record;

/// Records as a table.
pub struct Table<'a>(pub &'a [Record]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = FIELDS.map(|field| field.to_uppercase().replace('_', " "));
        let mut widths = head.each_ref().map(String::len);
        for record in self.0 {
            widen(&mut widths, &row(record));
        }
        write_line(f, &head, widths)?;
        self.0.iter().try_for_each(|record| write_line(f, &row(record), widths))
    }
}

/// A dash is unknown.
fn row(record: &Record) -> [String; FIELDS.len()] {
    fields(record).map(|field| if field.is_empty() { "-".to_owned() } else { field })
}

fn widen(widths: &mut [usize; FIELDS.len()], fields: &[String; FIELDS.len()]) {
    for (width, field) in widths.iter_mut().zip(fields) {
        *width = (*width).max(field.len());
    }
}

/// The last column is not padded.
fn write_line(
    f: &mut fmt::Formatter<'_>,
    [fields @ .., last]: &[String; FIELDS.len()],
    widths: [usize; FIELDS.len()],
) -> fmt::Result {
    for (field, width) in fields.iter().zip(widths) {
        write!(f, "{field:width$}  ")?;
    }
    writeln!(f, "{last}")
}
