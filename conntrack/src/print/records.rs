//! Records for other programs: JSON and CSV, one record per connection, in the order of the tree.

use std::fmt;

use serde::Serialize;

use crate::{
    connection::{Host, SourcePort},
    recording::{Record, utc::Utc},
    tree::{direction_directory, protocol_directory},
};

/// What a record is called in every output that has a column or a field for it.
pub(super) const FIELDS: [&str; 7] = [
    "direction",
    "protocol",
    "source",
    "source_port",
    "destination",
    "destination_port",
    "last_seen",
];

/// A record's fields as text. Neither commas nor quotes are in any of them.
pub(super) fn fields(record: &Record) -> [String; 7] {
    let connection = &record.connection;
    let source_port = match connection.source_port {
        SourcePort::Number(port) => port.to_string(),
        SourcePort::Any => "PORT".to_owned(),
    };
    [
        direction_directory(connection.direction).to_owned(),
        protocol_directory(connection.protocol).to_owned(),
        host(connection.source),
        source_port,
        host(connection.destination),
        connection.destination_port.to_string(),
        Utc(record.last_seen).to_string(),
    ]
}

fn host(host: Host) -> String {
    match host {
        Host::Address(address) => address.to_string(),
        Host::Internet => "INTERNET".to_owned(),
    }
}

/// Comma-separated values (RFC 4180), with a header; lines end as in other files here.
pub struct Csv<'a>(pub &'a [Record]);

impl fmt::Display for Csv<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", FIELDS.join(","))?;
        self.0.iter().try_for_each(|record| writeln!(f, "{}", fields(record).join(",")))
    }
}

/// An array of objects, each on a line of its own, so that line tools find their way too.
pub struct Json<'a>(pub &'a [Record]);

#[derive(Serialize)]
struct Object {
    direction: &'static str,
    protocol: &'static str,
    source: String,
    /// `null` is any port.
    source_port: Option<u16>,
    destination: String,
    destination_port: u16,
    last_seen: String,
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
