//! Connections as lines for people: narrow columns first, both ends last, so that an address of IPv6 shifts
//! nothing. What is wider than the terminal goes on in a line of its own.

use std::{fmt, time::SystemTime};

use super::Services;
use crate::{
    local_time::Local,
    print::ends::{destination, source, with_port},
    record::Record,
    report::log::printable,
    tree::{direction_directory, protocol_directory},
    utc::Utc,
};

/// Addresses of IPv4 with a port are not longer: up to here sources are padded, so that destinations
/// stand in a column.
const PADDED: usize = 21;

/// How times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// For programs.
    Utc,
    /// In this machine's time zone, to the minute.
    Local,
}

/// Records as lines.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    /// In this order.
    pub records: &'a [Record],
    /// How times are written.
    pub clock: Clock,
    /// Whether the time is when it was first seen, not last.
    pub with_made: bool,
    /// Names of ports, if they are wanted.
    pub services: Option<Services>,
    /// Columns of a line at most; `None` never breaks one.
    pub columns: Option<usize>,
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self.records.iter().map(|record| self.row(record)).collect();
        let sources = rows.iter().map(|row| row.source.len());
        let pad = sources.filter(|length| *length <= PADDED).max().unwrap_or_default();
        self.write(f, &self.head(), pad)?;
        rows.iter().try_for_each(|row| self.write(f, row, pad))
    }
}

/// What stands before both ends, and these.
struct Row {
    time: String,
    direction: &'static str,
    protocol: &'static str,
    evidence: &'static str,
    source: String,
    destination: String,
}

impl Lines<'_> {
    fn head(&self) -> Row {
        Row {
            time: if self.with_made { "FIRST SEEN" } else { "LAST SEEN" }.to_owned(),
            direction: "DIR",
            protocol: "PROTO",
            evidence: "EVIDENCE",
            source: "SOURCE".to_owned(),
            destination: "DESTINATION".to_owned(),
        }
    }

    fn row(&self, record: &Record) -> Row {
        let connection = &record.connection;
        let port = connection.destination_port;
        let services = self.services.as_ref();
        let service = services.and_then(|it| it.name(port, connection.protocol)).map(printable);
        let time = if self.with_made { record.made } else { Some(record.last_seen) };
        Row {
            time: time.map_or_else(|| "unknown".to_owned(), |time| self.time(time)),
            direction: direction_directory(connection.direction),
            protocol: protocol_directory(connection.protocol),
            evidence: record.outcome.as_str(),
            source: source(connection),
            destination: service.map_or_else(
                || destination(connection),
                |service| with_port(connection.destination, &service),
            ),
        }
    }

    fn time(&self, time: SystemTime) -> String {
        match self.clock {
            Clock::Utc => Utc(time).to_string(),
            Clock::Local => Local { time, with_seconds: false }.to_string(),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, row: &Row, pad: usize) -> fmt::Result {
        let Row { time, direction, protocol, evidence, source, destination } = row;
        let width = match self.clock {
            Clock::Utc => "2026-01-31T00:00:00Z".len(),
            Clock::Local => "2026-01-31 00:00".len(),
        };
        let before = format!("{time:width$} {direction:<4} {protocol:<5} {evidence:<8} ");
        let line = format!("{before}{source:pad$} > {destination}");
        let Some(columns) = self.columns.filter(|columns| line.len() > *columns) else {
            return writeln!(f, "{line}");
        };
        writeln!(f, "{before}{source}")?;
        let rest = format!("> {destination}");
        let indent = before.len().min(columns.saturating_sub(rest.len()));
        writeln!(f, "{:indent$}{rest}", "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        connection::{Direction, Evidence, Host},
        record::Outcome,
        show::tests::record,
    };

    fn lines(records: &[Record], columns: Option<usize>) -> Lines<'_> {
        Lines { records, clock: Clock::Utc, with_made: false, services: None, columns }
    }

    #[test]
    fn narrow_columns_come_first() {
        let answered = Outcome::Seen(Evidence::Answered);
        let mut records =
            [record(Direction::In, 22, answered), record(Direction::Out, 443, Outcome::None)];
        records[1].connection.destination = Host::Internet;
        assert_eq!(
            lines(&records, Some(100)).to_string(),
            "LAST SEEN            DIR  PROTO EVIDENCE SOURCE   > DESTINATION\n\
             1970-01-02T03:46:17Z in   tcp   answered 10.0.0.1 > 10.0.0.2:22\n\
             1970-01-02T03:39:16Z out  tcp   none     10.0.0.1 > INTERNET:443\n"
        );
    }

    #[test]
    fn two_long_addresses_take_two_lines_where_they_have_to() {
        let mut record = record(Direction::In, 65_535, Outcome::Unknown);
        let long = "2001:db8:1111:2222:3333:4444:5555:6666";
        let host = Host::Address(long.parse().expect("an address"));
        record.connection.source = Host::Internet;
        record.connection.destination = host;
        let records = [record.clone()];
        let text = lines(&records, Some(100)).to_string();
        assert_eq!(text.lines().count(), 2, "one of them fits: {text}");
        record.connection.source = host;
        let records = [record];
        let text = lines(&records, Some(100)).to_string();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        let text = lines(&records, None).to_string();
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}
