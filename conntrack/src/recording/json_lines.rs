//! Recordings as JSON lines: an object a line, first the recording itself, then its connections. Files may be put
//! one behind the other. The fields are described in `docs/records.schema.json`; what is written and what is read
//! are one type. What is read is what anybody may have written.

use std::{
    borrow::Cow,
    io::{BufRead, Read as _},
    net::IpAddr,
    path::Path,
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::{Recording, error::ReadError, is_possible};
use crate::{
    connection::{Connection, Direction, Host, Protocol, SourcePort},
    one_or_more,
    record::{Outcome, Record},
    tree::{Provenance, direction_directory, protocol_directory},
    unit::Units,
    utc::exact,
};

/// What the field `version` says.
pub const VERSION: u32 = 1;

/// The longest line that is read.
const LONGEST: u64 = 1 << 20;

const ADVICE: &str = "give a tree, or a file of what -f jsonl prints";

const RECORDING: &str = "recording";
const CONNECTION: &str = "connection";
const INTERNET: &str = "INTERNET";

/// The first line of a recording. What is unknown is `null`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    version: u32,
    /// The program that wrote it.
    #[serde(borrow, default)]
    written_by: Cow<'a, str>,
    host: Option<String>,
    #[serde(default, rename = "device", with = "one_or_more")]
    devices: Vec<String>,
    /// The addresses of its own that were seen.
    #[serde(default)]
    addresses: Vec<IpAddr>,
    window: Option<Window>,
    #[serde(borrow)]
    since: Option<Cow<'a, str>>,
    mode: Option<String>,
    hook: Option<String>,
    flags: Option<Vec<String>>,
    ip_local_port_range: Option<(u16, u16)>,
    udp_in: Option<Vec<u16>>,
    lost: Option<u64>,
    /// How many lines of connections follow.
    connections: usize,
    /// How many connections of the recording do not.
    left_out: usize,
}

/// From the first sight of a connection to the last one.
#[derive(Debug, Serialize, Deserialize)]
struct Window {
    /// Of those whose first sight is known.
    first: Option<String>,
    last: String,
}

/// A line of a connection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    /// That of the recording, so that a line can stand alone.
    #[serde(borrow)]
    host: Option<Cow<'a, str>>,
    #[serde(borrow)]
    direction: Cow<'a, str>,
    #[serde(borrow)]
    protocol: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    /// `null` is any port.
    source_port: Option<u16>,
    #[serde(borrow)]
    destination: Cow<'a, str>,
    destination_port: u16,
    #[serde(borrow)]
    evidence: Cow<'a, str>,
    #[serde(default)]
    accepted: bool,
    /// Never read: it follows from the other two times.
    #[serde(borrow)]
    first_seen: Option<Cow<'a, str>>,
    #[serde(borrow)]
    last_seen: Cow<'a, str>,
    #[serde(borrow)]
    made: Option<Cow<'a, str>>,
    /// None is unknown.
    #[serde(borrow, default)]
    units: Vec<Cow<'a, str>>,
}

/// What a line is, before the rest of it is looked at.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

impl Head<'_> {
    /// Of a recording, of which `records` are written.
    pub(crate) fn of(recording: &Recording, records: &[Record]) -> Self {
        let provenance = recording.provenance.as_ref();
        let told = |text: fn(&Provenance) -> &String| {
            provenance.map(text).filter(|it| !it.is_empty()).cloned()
        };
        let left_out = recording.records.len() - records.len() + recording.left_out;
        Self {
            kind: RECORDING.into(),
            version: VERSION,
            written_by: concat!("conntrack ", env!("CARGO_PKG_VERSION")).into(),
            host: provenance.and_then(|it| it.host.clone()),
            devices: provenance.map(|it| it.devices.clone()).unwrap_or_default(),
            addresses: recording.part().own.into_iter().collect(),
            window: Window::of(records),
            since: provenance.and_then(|it| it.since).map(|it| exact(it).into()),
            mode: told(|it| &it.mode),
            hook: told(|it| &it.hook),
            flags: provenance.map(|it| it.flags.clone()),
            ip_local_port_range: provenance.and_then(|it| it.ip_local_port_range),
            udp_in: provenance.map(|it| it.udp_in.clone()),
            lost: provenance.and_then(|it| it.lost),
            connections: records.len(),
            left_out,
        }
    }

    /// What the tree said of itself; nothing if nothing is known.
    fn provenance(&self) -> Result<Option<Provenance>, String> {
        let provenance = Provenance {
            host: self.host.clone(),
            devices: self.devices.clone(),
            since: self.since.as_deref().map(|it| time("since", it)).transpose()?,
            mode: self.mode.clone().unwrap_or_default(),
            hook: self.hook.clone().unwrap_or_default(),
            flags: self.flags.clone().unwrap_or_default(),
            ip_local_port_range: self.ip_local_port_range,
            udp_in: self.udp_in.clone().unwrap_or_default(),
            lost: self.lost,
            ..Provenance::default()
        };
        let is_told = self.flags.is_some() || provenance != Provenance::default();
        Ok(is_told.then_some(provenance))
    }
}

impl Window {
    fn of(records: &[Record]) -> Option<Self> {
        let last = records.iter().map(|it| it.last_seen).max()?;
        let first = records.iter().filter_map(Record::first_seen).min();
        Some(Self { first: first.map(exact), last: exact(last) })
    }
}

impl<'a> Line<'a> {
    /// Of a record on this host.
    pub(crate) fn of(record: &Record, host: Option<&'a str>) -> Self {
        let Record { connection, outcome, accepted, made, last_seen, .. } = record;
        let units = record.units.words().map(|word| word.to_owned().into()).collect();
        Self {
            kind: CONNECTION.into(),
            host: host.map(Cow::from),
            direction: direction_directory(connection.direction).into(),
            protocol: protocol_directory(connection.protocol).into(),
            source: host_text(connection.source),
            source_port: match connection.source_port {
                SourcePort::Number(port) => Some(port),
                SourcePort::Any => None,
            },
            destination: host_text(connection.destination),
            destination_port: connection.destination_port,
            evidence: outcome.as_str().into(),
            accepted: *accepted,
            first_seen: record.first_seen().map(|it| exact(it).into()),
            last_seen: exact(*last_seen).into(),
            made: made.map(|it| exact(it).into()),
            units,
        }
    }

    fn record(&self) -> Result<Record, String> {
        let direction =
            Direction::ALL.into_iter().find(|it| direction_directory(*it) == self.direction);
        let protocol = [Protocol::Tcp, Protocol::Udp].into_iter();
        let protocol = protocol.into_iter().find(|it| protocol_directory(*it) == self.protocol);
        let connection = Connection {
            direction: direction.ok_or_else(|| no("direction", &self.direction))?,
            protocol: protocol.ok_or_else(|| no("protocol", &self.protocol))?,
            source: host("source", &self.source)?,
            source_port: self.source_port.map_or(SourcePort::Any, SourcePort::Number),
            destination: host("destination", &self.destination)?,
            destination_port: self.destination_port,
        };
        if !is_possible(&connection) {
            return Err("no connection of this direction".to_owned());
        }
        let outcome = Outcome::from_word(&self.evidence);
        let outcome = outcome
            .filter(|it| !matches!(it, Outcome::Seen(word) if !word.is_of(connection.protocol)));
        Ok(Record {
            connection,
            outcome: outcome.ok_or_else(|| no("evidence", &self.evidence))?,
            accepted: self.accepted,
            made: self.made.as_deref().map(|it| time("made", it)).transpose()?,
            last_seen: time("last_seen", &self.last_seen)?,
            units: units(&self.units)?,
        })
    }
}

fn host_text(host: Host) -> Cow<'static, str> {
    match host {
        Host::Address(address) => address.to_string().into(),
        Host::Internet => INTERNET.into(),
    }
}

fn host(field: &str, text: &str) -> Result<Host, String> {
    match text {
        INTERNET => Ok(Host::Internet),
        text => text.parse().map(Host::Address).map_err(|_| no(field, text)),
    }
}

fn units(words: &[Cow<'_, str>]) -> Result<Units, String> {
    Units::of_words(words.iter().map(|word| &**word)).ok_or_else(|| no("units", &words.join(" ")))
}

fn time(field: &str, text: &str) -> Result<SystemTime, String> {
    humantime::parse_rfc3339(text).map_err(|_| no(field, text))
}

/// What a field says is none of what it may.
fn no(field: &str, found: &str) -> String {
    const SHOWN: usize = 40;
    let start: String = found.chars().take(SHOWN).collect();
    let more = if start.len() < found.len() { "\u{2026}" } else { "" };
    format!("{field} is {start:?}{more}, which is none")
}

/// Reads recordings, one behind the other.
///
/// # Errors
/// What cannot be read, and a line that is not understood, is there twice, or is missing.
pub fn read(name: &Path, input: impl BufRead) -> Result<Vec<Recording>, ReadError> {
    let mut reader = Reader { name, recordings: Vec::new(), open: None, line: 0 };
    let mut input = input;
    let mut text = Vec::new();
    loop {
        text.clear();
        let read = (&mut input).take(LONGEST + 1).read_until(b'\n', &mut text);
        let length = read.map_err(|source| ReadError::Io { path: name.to_owned(), source })?;
        if length == 0 {
            return reader.end();
        }
        reader.line += 1;
        if text.last() == Some(&b'\n') {
            text.pop();
        } else if length as u64 > LONGEST {
            return Err(reader.error(format!("longer than {LONGEST} bytes: this is no recording")));
        }
        reader.take(&text)?;
    }
}

/// What was read up to a line.
struct Reader<'a> {
    name: &'a Path,
    recordings: Vec<Recording>,
    open: Option<Open>,
    line: u64,
}

/// A recording of which more may follow.
struct Open {
    recording: Recording,
    /// With the line of each.
    records: Vec<(Record, u64)>,
    /// How many there are to be.
    connections: usize,
    line: u64,
}

impl Reader<'_> {
    fn take(&mut self, text: &[u8]) -> Result<(), ReadError> {
        // An array could stand for the fields in their order.
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err(self.error(format!("no JSON object; {ADVICE}")));
        }
        let kind = self.parse::<Kind>(text)?.kind;
        match &*kind {
            RECORDING => {
                self.close()?;
                let head = self.parse(text)?;
                self.begin(&head)
            }
            CONNECTION => {
                let line: Line = self.parse(text)?;
                let record = line.record().map_err(|what| self.error(what))?;
                self.add(record, line.host.as_deref())
            }
            other => Err(self.error(no("type", other))),
        }
    }

    fn parse<'a, T: Deserialize<'a>>(&self, text: &'a [u8]) -> Result<T, ReadError> {
        serde_json::from_slice(text).map_err(|error| {
            let place = format!(" at line {} column {}", error.line(), error.column());
            let what = error.to_string();
            let what = what.strip_suffix(&place).unwrap_or(&what);
            self.error(format!("{what} (column {}); {ADVICE}", error.column()))
        })
    }

    fn begin(&mut self, head: &Head) -> Result<(), ReadError> {
        if head.version != VERSION {
            let version = head.version;
            return Err(self.error(format!(
                "version {version} of the format, and this program knows {VERSION} alone: use a newer one"
            )));
        }
        let provenance = head.provenance().map_err(|what| self.error(what))?;
        let name = self.name.to_owned();
        let left_out = head.left_out;
        self.open = Some(Open {
            recording: Recording { name, provenance, left_out, ..Recording::default() },
            records: Vec::new(),
            connections: head.connections,
            line: self.line,
        });
        Ok(())
    }

    fn add(&mut self, record: Record, host: Option<&str>) -> Result<(), ReadError> {
        let line = self.line;
        let Some(open) = &mut self.open else {
            return Err(self.error("a connection before the recording that it is of".to_owned()));
        };
        let told = open.recording.provenance.as_ref().and_then(|it| it.host.as_deref());
        let (connections, head) = (open.connections, open.line);
        if host.is_some() && host != told {
            return Err(self.error(format!("of another host than its recording in line {head}")));
        }
        if open.records.len() == connections {
            return Err(self.error(format!(
                "more than the {connections} connections that line {head} tells of"
            )));
        }
        open.records.push((record, line));
        Ok(())
    }

    /// Takes in the recording that was open.
    fn close(&mut self) -> Result<(), ReadError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let Open { mut recording, mut records, connections, line } = open;
        let found = records.len();
        if found < connections {
            return Err(self.error_at(
                line,
                format!("tells of {connections} connections, and {found} follow: it was cut short"),
            ));
        }
        records.sort_unstable_by_key(|(record, line)| (record.connection, *line));
        let is_same = |pair: &&[(Record, u64)]| pair[0].0.connection == pair[1].0.connection;
        if let Some([(_, first), (_, second)]) = records.windows(2).find(is_same) {
            return Err(self.error_at(*second, format!("the same connection as in line {first}")));
        }
        recording.records = records.into_iter().map(|(record, _)| record).collect();
        self.recordings.push(recording);
        Ok(())
    }

    fn end(mut self) -> Result<Vec<Recording>, ReadError> {
        self.close()?;
        if self.recordings.is_empty() {
            return Err(self.error_at(1, "there is none: the file is empty".to_owned()));
        }
        Ok(self.recordings)
    }

    fn error(&self, what: String) -> ReadError {
        self.error_at(self.line, what)
    }

    fn error_at(&self, line: u64, what: String) -> ReadError {
        ReadError::Line { path: self.name.to_owned(), line, what }
    }
}
