//! What waits for a reader, in a bounded room: who is told of it never waits. What finds no room is lost, and counted.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    thread,
    time::{Duration, Instant},
};

use rustix::stdio::stdout;

use super::{
    journal::Journal,
    output::{Way, takes_output},
    screen::Screen,
};

/// Octets that wait, some thousand items.
const ROOM: usize = 1 << 20;

/// Where items go.
#[derive(Debug)]
pub(super) enum Sink {
    /// A terminal, above the live line.
    Screen(Screen),
    /// Standard output.
    Stream(Way),
    /// The journal, each item a datagram.
    Journal(Journal),
}

impl Sink {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Screen(_) | Self::Stream(_) => "standard output",
            Self::Journal(_) => "the journal",
        }
    }

    /// Octets that it took; 0 if it takes none now.
    fn take(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Screen(screen) => {
                screen.say(String::from_utf8_lossy(octets).trim_end());
                Ok(octets.len())
            }
            Self::Stream(way) => way.write(stdout(), octets),
            Self::Journal(journal) => journal.send(octets),
        }
    }

    /// Waits until it takes something; returns whether it does.
    fn wait(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        match self {
            Self::Screen(_) => true,
            Self::Stream(way) => way.wait(stdout(), until),
            Self::Journal(journal) => !left.is_zero() && takes_output(journal.descriptor(), left),
        }
    }
}

/// How the reader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Reads,
    /// Something was lost, or could not be written, since it last had all.
    LagsBehind,
    /// There is none any more.
    IsGone,
}

#[derive(Debug)]
pub(super) struct Queue {
    sink: Sink,
    /// How long a full room is waited for, unless the reader lags behind already.
    patience: Duration,
    waiting: VecDeque<Vec<u8>>,
    /// Of all that waits.
    octets: usize,
    /// Octets of the first that are written.
    written: usize,
    reader: Reader,
    told: u64,
    lost: u64,
}

impl Queue {
    pub(super) const fn new(sink: Sink, patience: Duration) -> Self {
        Self {
            sink,
            patience,
            waiting: VecDeque::new(),
            octets: 0,
            written: 0,
            reader: Reader::Reads,
            told: 0,
            lost: 0,
        }
    }

    pub(super) const fn sink(&self) -> &Sink {
        &self.sink
    }

    /// How many items the reader has.
    pub(super) const fn told(&self) -> u64 {
        self.told
    }

    /// How many it will never have.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// Puts an item behind the others, or loses it.
    pub(super) fn add(&mut self, item: Vec<u8>) {
        self.make_room(item.len());
        if self.reader == Reader::IsGone || self.lacks_room(item.len()) {
            self.lose();
            return;
        }
        self.octets += item.len();
        self.waiting.push_back(item);
    }

    const fn lacks_room(&self, octets: usize) -> bool {
        self.octets + octets > ROOM
    }

    /// As far as the reader takes something in time.
    fn make_room(&mut self, octets: usize) {
        let deadline = Instant::now() + self.patience;
        while self.lacks_room(octets) {
            let before = (self.octets, self.written);
            self.flow();
            let is_stuck = (self.octets, self.written) == before;
            let may_wait = self.reader == Reader::Reads;
            if is_stuck && !(may_wait && self.sink.wait(deadline)) {
                return;
            }
        }
    }

    fn lose(&mut self) {
        self.lost += 1;
        if self.reader == Reader::Reads {
            self.reader = Reader::LagsBehind;
            let name = self.sink.name();
            log::warn!("{name} is read too slowly: events are lost and counted; the tree has all");
        }
    }

    /// Hands on what the reader takes now; returns whether nothing is left.
    pub(super) fn flow(&mut self) -> bool {
        while let Some(first) = self.waiting.front() {
            let rest = first.len() - self.written;
            match self.sink.take(&first[self.written..]) {
                Ok(0) => return false,
                Ok(taken) if taken < rest => self.written += taken,
                Ok(_) => {
                    self.told += 1;
                    self.forget_first();
                }
                Err(error) if error.kind() == ErrorKind::BrokenPipe => self.end(),
                Err(error) => {
                    self.complain(&error);
                    return false;
                }
            }
        }
        if self.reader == Reader::LagsBehind {
            self.reader = Reader::Reads;
            log::info!("events are told again; lost up to now: {}", self.lost);
        }
        true
    }

    fn forget_first(&mut self) {
        let first = self.waiting.pop_front();
        self.octets -= first.map_or(0, |it| it.len());
        self.written = 0;
    }

    fn end(&mut self) {
        let name = self.sink.name();
        log::warn!("nobody reads {name} any more: events are no longer told; the tree goes on");
        self.reader = Reader::IsGone;
        self.lose_all();
    }

    /// A full disk, a journal that restarts: it is tried again.
    fn complain(&mut self, error: &io::Error) {
        if self.reader == Reader::Reads {
            self.reader = Reader::LagsBehind;
            let name = self.sink.name();
            log::warn!("cannot write events to {name}: {error}; trying again");
        }
    }

    fn lose_all(&mut self) {
        self.lost += self.waiting.len() as u64;
        self.waiting.clear();
        self.octets = 0;
        self.written = 0;
    }

    /// The last items have this long, or the reader's patience if it is longer, each time that the reader takes some;
    /// what is left then is lost.
    pub(super) fn finish(&mut self, patience: Duration) {
        const PAUSE: Duration = Duration::from_millis(10);
        let is_patient = self.reader == Reader::Reads && self.patience > patience;
        let patience = if is_patient { self.patience } else { patience };
        let mut deadline = Instant::now() + patience;
        loop {
            let before = (self.octets, self.written);
            if self.flow() {
                return;
            }
            let is_stuck = (self.octets, self.written) == before;
            if is_patient && !is_stuck {
                deadline = Instant::now() + patience;
            }
            if !self.sink.wait(deadline) {
                return self.lose_all();
            }
            if is_stuck {
                thread::sleep(PAUSE);
            }
        }
    }
}
