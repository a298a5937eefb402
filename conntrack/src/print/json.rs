//! JSON: an array of objects, one for each record and on a line of its own for tools that read lines.

use std::fmt;

use serde::Serialize;

use super::fields::host;
use crate::{
    connection::SourcePort,
    record::Record,
    tree::{direction_directory, protocol_directory},
    utc::Utc,
};

/// Records as JSON.
pub struct Json<'a>(pub &'a [Record]);

/// A record.
#[derive(Serialize)]
pub(crate) struct Object {
    direction: &'static str,
    protocol: &'static str,
    source: String,
    /// `null` is any port.
    source_port: Option<u16>,
    destination: String,
    destination_port: u16,
    last_seen: String,
    evidence: &'static str,
    /// `null` is unknown.
    made: Option<String>,
    /// None is unknown; the last may be `…`: there were more.
    units: Vec<String>,
}

impl From<&Record> for Object {
    fn from(record: &Record) -> Self {
        let connection = &record.connection;
        Self {
            direction: direction_directory(connection.direction),
            protocol: protocol_directory(connection.protocol),
            source: host(connection.source),
            source_port: match connection.source_port {
                SourcePort::Number(port) => Some(port),
                SourcePort::Any => None,
            },
            destination: host(connection.destination),
            destination_port: connection.destination_port,
            last_seen: Utc(record.last_seen).to_string(),
            evidence: record.outcome.as_str(),
            made: record.made.map(|made| Utc(made).to_string()),
            units: record.units.words().map(str::to_owned).collect(),
        }
    }
}

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, record) in self.0.iter().enumerate() {
            let object = serde_json::to_string(&Object::from(record)).map_err(|_| fmt::Error)?;
            write!(f, "{}\n{object}", if index > 0 { "," } else { "" })?;
        }
        f.write_str("\n]\n")
    }
}
