//! Each connection when it is new and when its evidence changes: an object on a line of standard output, with the
//! fields of the format JSON lines, or an entry of the journal with the same fields, where standard output is the journal.
//! A reader that is too slow costs events, never the tree.

use std::{
    io::{IsTerminal as _, stderr, stdout},
    os::fd::AsFd as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use log::Level;
use serde_json::{Map, Value};
use tokio::{sync::Notify, time::sleep};

use super::{
    journal::{Journal, push_field},
    output::{Stream, Way},
    prefix::is_journal,
    queue::{Queue, Sink},
    screen::Screen,
    told::Told,
};
use crate::{
    connection::{Sighting, Whose},
    print::ends::Ends,
    program,
    record::{Outcome, Record},
    recording::json_lines::Line,
};

/// Between two tries to hand on what waits.
const PAUSE: Duration = Duration::from_millis(20);

/// For the last events.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

/// How many events the reader has, and how many it will never have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) told: u64,
    pub(super) lost: u64,
}

impl Counts {
    /// For the report.
    pub(super) fn line(self) -> (Level, String) {
        let Self { told, lost } = self;
        match lost {
            0 => (Level::Info, format!("events told: {told}")),
            lost => (Level::Warn, format!("events told: {told}, lost: {lost} (not read)")),
        }
    }
}

/// What all events of a run have in common.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The machine's name, if it is this one.
    pub host: Option<String>,
    /// The device that is watched, if it is one; several as in `eth0, wg0`.
    pub device: Option<String>,
    /// What a connection has of which nobody answered yet: with a file that may mean that answers are not in it.
    pub unseen: Outcome,
}

/// Where events go. Clones share it.
#[derive(Clone, Debug)]
pub struct Events {
    queue: Arc<Mutex<Queue>>,
    has_more: Arc<Notify>,
    origin: Arc<Origin>,
}

impl Events {
    /// To the journal if standard output is one, else to standard output; where that is the screen's terminal, above
    /// its live line. `patience` is how long a slow reader is waited for.
    pub fn new(screen: &Screen, origin: Origin, patience: Duration) -> Self {
        let queue = Arc::new(Mutex::new(Queue::new(sink(screen), patience)));
        Self { queue, has_more: Arc::default(), origin: Arc::new(origin) }
    }

    /// Tells what a batch showed.
    pub(super) fn tell(&self, told: &Told<'_>) {
        let seen = told.seen.unwrap_or_else(SystemTime::now);
        let new = told.new.iter().map(|it| self.event("new", it, seen));
        let changed = told.changed.iter().map(|it| self.event("changed", it, seen));
        let mut queue = self.queue();
        for event in new.chain(changed) {
            let item = event.item(queue.sink());
            queue.add(item);
        }
        queue.flow();
        drop(queue);
        self.has_more.notify_one();
    }

    fn event(&self, kind: &'static str, sighting: &Sighting, seen: SystemTime) -> Event {
        let outcome = sighting.evidence.map_or(self.origin.unseen, Outcome::Seen);
        let mut record = Record::of(sighting.connection, outcome, seen);
        record.made = (kind == "new").then_some(seen);
        if let Whose::Unit(unit) = &sighting.whose {
            record.units.add(unit);
        }
        let text = format!("{kind}: {} {}", record.outcome.as_str(), Ends(&record.connection));
        Event { text, fields: fields(kind, &record, &self.origin) }
    }

    /// Hands on what waits, between batches.
    pub async fn keep_flowing(self) {
        loop {
            self.has_more.notified().await;
            while !self.queue().flow() {
                sleep(PAUSE).await;
            }
        }
    }

    /// The last events have a moment.
    pub(super) fn finish(&self) {
        self.queue().finish(LAST_PATIENCE);
    }

    pub(super) fn counts(&self) -> Counts {
        let queue = self.queue();
        Counts { told: queue.told(), lost: queue.lost() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // The state stays valid after a panic elsewhere.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sink(screen: &Screen) -> Sink {
    if is_journal(stdout().as_fd()) {
        match Journal::connect() {
            Ok(journal) => return Sink::Journal(journal),
            Err(error) => log::warn!("cannot reach the journal: {error}; events are lines in it"),
        }
    }
    if stdout().is_terminal() && stderr().is_terminal() {
        return Sink::Screen(screen.clone());
    }
    Sink::Stream(Way::find(Stream::Output.descriptor()))
}

/// Those of a connection in a file of JSON lines. Whether a person has accepted it is in the tree alone.
fn fields(kind: &str, record: &Record, origin: &Origin) -> Map<String, Value> {
    let line = serde_json::to_value(Line::of(record, origin.host.as_deref()));
    let Ok(Value::Object(mut fields)) = line else { return Map::new() };
    fields.remove("accepted");
    for (name, value) in
        [("type", Some("event")), ("event", Some(kind)), ("device", origin.device.as_deref())]
    {
        fields.insert(name.to_owned(), value.into());
    }
    fields
}

struct Event {
    text: String,
    fields: Map<String, Value>,
}

impl Event {
    /// As its reader takes it.
    fn item(&self, sink: &Sink) -> Vec<u8> {
        match sink {
            Sink::Journal(_) => self.entry(),
            Sink::Screen(_) | Sink::Stream(_) => self.line(),
        }
    }

    fn line(&self) -> Vec<u8> {
        // A map of texts and numbers is always an object.
        let mut line = serde_json::to_vec(&self.fields).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// The same fields in the journal's spelling; what is unknown is not there.
    fn entry(&self) -> Vec<u8> {
        let mut entry = Vec::new();
        push_field(&mut entry, "MESSAGE", &self.text);
        push_field(&mut entry, "PRIORITY", "6");
        push_field(&mut entry, "SYSLOG_IDENTIFIER", program::name());
        for (name, value) in &self.fields {
            let name = format!("CONNTRACK_{}", name.to_ascii_uppercase());
            for value in texts(value) {
                push_field(&mut entry, &name, &value);
            }
        }
        entry
    }
}

/// A value as texts: none where it is unknown, one for each of a list.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        other => vec![other.to_string()],
    }
}
