//! A record's fields, by name and as text: what CSV and the table print, and JSON names.

use crate::{
    connection::{Host, SourcePort},
    record::Record,
    tree::{direction_directory, protocol_directory},
    utc::Utc,
};

/// What a record is called in every output that has a column or a field for it.
pub(super) const FIELDS: [&str; 10] = [
    "direction",
    "protocol",
    "source",
    "source_port",
    "destination",
    "destination_port",
    "last_seen",
    "evidence",
    "made",
    "units",
];

/// A record's fields as text; empty is unknown. None holds a comma or a quote.
pub(super) fn fields(record: &Record) -> [String; FIELDS.len()] {
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
        record.outcome.as_str().to_owned(),
        record.made.map(|made| Utc(made).to_string()).unwrap_or_default(),
        record.units.to_string(),
    ]
}

pub(super) fn host(host: Host) -> String {
    match host {
        Host::Address(address) => address.to_string(),
        Host::Internet => "INTERNET".to_owned(),
    }
}
