//! A capture file as a source: pcap and pcapng, read on a thread of its own, so that a pipe that
//! says nothing keeps nobody waiting. A batch spans one interval of the capture's own time.
//!
//! The file is opened on one thread and read on another, which starts when the first batch is asked
//! for: what whoever opened it gives up meanwhile, the reader never has.

use std::{
    collections::VecDeque,
    fmt::Display,
    fs::File,
    io,
    os::fd::{AsFd as _, IntoRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use conntrack_common::{policy::Policy, wire::LinkLayer};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pcap::{Capture, Offline, Packet};
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

use super::{cache::FlowCache, link, words};
use crate::source::{FlowBatch, Source, SourceCounters, SourceError};

/// Batches that may wait for the agent.
const AHEAD: usize = 2;

/// A capture file that is being read.
pub struct FileSource {
    /// Until it is read.
    opened: Option<CaptureFile>,
    shared: Arc<Shared>,
    interval: Duration,
}

impl FileSource {
    /// Opens the file at `path`; `-` is standard input. How far it is read is drawn on `progress`.
    ///
    /// # Errors
    /// A file that cannot be opened or is no capture, or one of a link type that is unknown.
    pub async fn open(
        path: &Path,
        interval: Duration,
        max_flows: u32,
        progress: ProgressDrawTarget,
        policy: &Policy,
    ) -> Result<Self, SourceError> {
        let shared = Arc::new(Shared::new(FlowCache::new(max_flows, policy)?, interval));
        let (sender, opened) = oneshot::channel();
        let path = path.to_owned();
        start(move || {
            // Nobody listens for it if we were told to stop meanwhile.
            let _unheard = sender.send(CaptureFile::open(path, progress));
        })?;
        let panicked = |_| SourceError::failed("capture file", "the opening thread panicked");
        let opened = Some(opened.await.map_err(panicked)??);
        Ok(Self { opened, shared, interval })
    }

    /// Once.
    fn start_reading(&mut self) -> Result<(), SourceError> {
        let Some(file) = self.opened.take() else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        start(move || file.read(&shared))
    }
}

fn start(work: impl FnOnce() + Send + 'static) -> Result<(), SourceError> {
    let started = thread::Builder::new().name("capture file".to_owned()).spawn(work);
    let failed = |error| SourceError::failed("cannot start a thread for the file", error);
    started.map(|_detached| ()).map_err(failed)
}

impl Source for FileSource {
    async fn next_batch(&mut self) -> Result<Option<FlowBatch>, SourceError> {
        self.start_reading()?;
        loop {
            if let Some(step) = self.shared.next() {
                return step;
            }
            // A pipe may be quiet for long: what it has said by then is shown.
            if timeout(self.interval, self.shared.changed.notified()).await.is_err() {
                return Ok(Some(self.shared.oldest()));
            }
        }
    }

    /// Everything that was read. The thread ends at its next packet.
    async fn finish(&mut self) -> (FlowBatch, Result<(), SourceError>) {
        (self.shared.stop(), Ok(()))
    }

    fn set_policy(&mut self, policy: &Policy) -> Result<(), SourceError> {
        self.shared.state().batches.cache.set_policy(policy);
        Ok(())
    }

    fn counters(&self) -> SourceCounters {
        self.shared.state().batches.cache.counters()
    }
}

/// What the reading thread and the agent share.
struct Shared {
    state: Mutex<State>,
    /// For the agent: a batch is complete, or the end is reached.
    changed: Notify,
    /// For the reader: there is room for another batch.
    room: Condvar,
}

struct State {
    complete: VecDeque<FlowBatch>,
    batches: Batches,
    end: Option<Result<(), SourceError>>,
    stopped: bool,
}

impl Shared {
    fn new(cache: FlowCache, interval: Duration) -> Self {
        let batches = Batches { cache, interval, span: None };
        let state = State { complete: VecDeque::new(), batches, end: None, stopped: false };
        Self { state: Mutex::new(state), changed: Notify::new(), room: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of the other side does not make what is in there any worse.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a packet, once there is room for the batch that it may complete; whether to go on.
    fn add(&self, packet: &Packet<'_>, link: LinkLayer) -> bool {
        let is_full = |state: &mut State| state.complete.len() >= AHEAD && !state.stopped;
        let state = self.room.wait_while(self.state(), is_full);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return false;
        }
        if let Some(batch) = state.batches.add(packet, link) {
            state.complete.push_back(batch);
            self.changed.notify_one();
        }
        true
    }

    fn end(&self, end: Result<(), SourceError>) {
        self.state().end = Some(end);
        self.changed.notify_one();
    }

    /// The next batch or the end, if it is there. What was read before an error counts.
    fn next(&self) -> Option<Result<Option<FlowBatch>, SourceError>> {
        let mut state = self.state();
        if let Some(batch) = state.complete.pop_front() {
            self.room.notify_one();
            return Some(Ok(Some(batch)));
        }
        let end = state.end.take()?;
        Some(end.map(|()| None))
    }

    /// The oldest batch, complete or not.
    fn oldest(&self) -> FlowBatch {
        let mut state = self.state();
        let complete = state.complete.pop_front();
        self.room.notify_one();
        complete.unwrap_or_else(|| state.batches.complete())
    }

    fn stop(&self) -> FlowBatch {
        let mut state = self.state();
        state.stopped = true;
        self.room.notify_one();
        let mut rest = FlowBatch::default();
        let last = state.batches.complete();
        for batch in state.complete.drain(..).chain([last]) {
            rest.flows.extend(batch.flows);
            rest.captured_at = rest.captured_at.max(batch.captured_at);
        }
        rest
    }
}

struct CaptureFile {
    path: PathBuf,
    capture: Capture<Offline>,
    link: LinkLayer,
    progress: ProgressBar,
}

impl CaptureFile {
    fn open(path: PathBuf, progress: ProgressDrawTarget) -> Result<Self, SourceError> {
        let (file, length) = open(&path).map_err(|error| failed(&path, error))?;
        let capture =
            capture(&path, file, length.is_some()).map_err(|error| failed(&path, words(&error)))?;
        let link = link::layer(capture.get_datalink())
            .map_err(|link_type| failed(&path, format!("link type {link_type} cannot be read")))?;
        let progress = progress_bar(length, progress);
        Ok(Self { path, capture, link, progress })
    }

    fn read(mut self, shared: &Shared) {
        let _guard = EndOfPanic(shared);
        let end = loop {
            match self.capture.next_packet() {
                Ok(packet) => {
                    self.progress.inc(record_length(&packet));
                    if !shared.add(&packet, self.link) {
                        break Ok(());
                    }
                }
                Err(pcap::Error::NoMorePackets) => break Ok(()),
                Err(error) => break Err(failed(&self.path, words(&error))),
            }
        };
        self.progress.finish_and_clear();
        shared.end(end);
    }
}

/// Has the agent hear of a reader that panicked, instead of waiting for it.
struct EndOfPanic<'a>(&'a Shared);

impl Drop for EndOfPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end(Err(SourceError::failed("capture file", "the reading thread panicked")));
        }
    }
}

/// Cuts the packets of a file into batches.
struct Batches {
    cache: FlowCache,
    interval: Duration,
    /// Times of the first and of the latest packet of the batch so far.
    span: Option<(SystemTime, SystemTime)>,
}

impl Batches {
    /// Adds a packet; hands out the batch before it if that is complete.
    fn add(&mut self, packet: &Packet<'_>, link: LinkLayer) -> Option<FlowBatch> {
        let time = time(packet);
        let is_over = |(first, _)| time.duration_since(first).is_ok_and(|age| age >= self.interval);
        let complete =
            (self.span.is_some_and(is_over) || self.cache.is_full()).then(|| self.complete());
        let (first, latest) = self.span.unwrap_or((time, time));
        self.span = Some((first, latest.max(time)));
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        self.cache.observe(packet.data, link, at);
        complete
    }

    fn complete(&mut self) -> FlowBatch {
        let captured_at = self.span.take().map(|(_, latest)| latest);
        FlowBatch { flows: self.cache.take(), captured_at, is_first: false }
    }
}

/// A packet's time; one before 1970 becomes 1970.
fn time(packet: &Packet<'_>) -> SystemTime {
    let timestamp = packet.header.ts;
    let seconds = u64::try_from(timestamp.tv_sec).unwrap_or_default();
    let microseconds = u64::try_from(timestamp.tv_usec).unwrap_or_default();
    let since = Duration::from_secs(seconds) + Duration::from_micros(microseconds);
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// The open file, and its length if it has one. It is opened once: a pipe has but one reading.
fn open(path: &Path) -> io::Result<(OwnedFd, Option<u64>)> {
    let file = if path == Path::new("-") {
        File::from(io::stdin().as_fd().try_clone_to_owned()?)
    } else {
        File::open(path)?
    };
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let length = metadata.is_file().then_some(metadata.len());
    Ok((file.into(), length))
}

/// A regular file by its name, which libpcap closes again if it is no capture; a pipe by its
/// descriptor, and a name that is not UTF-8 too, which libpcap's crate does not take.
#[expect(unsafe_code, reason = "the crate cannot know that the descriptor is good")]
fn capture(path: &Path, file: OwnedFd, is_regular: bool) -> Result<Capture<Offline>, pcap::Error> {
    if is_regular && path != Path::new("-") && path.to_str().is_some() {
        return Capture::from_file(path);
    }
    // SAFETY: the descriptor is open and nobody else's from here on; libpcap closes it.
    unsafe { Capture::from_raw_fd(file.into_raw_fd()) }
}

/// Bytes that a packet takes in the file, with the record header of classic pcap. In pcapng blocks
/// are a little longer, so the bar ends a little early there.
fn record_length(packet: &Packet<'_>) -> u64 {
    const RECORD_HEADER: u64 = 16;
    RECORD_HEADER + u64::from(packet.header.caplen)
}

fn progress_bar(length: Option<u64>, target: ProgressDrawTarget) -> ProgressBar {
    const TEMPLATE: &str = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let bar = ProgressBar::with_draw_target(length, target);
    if length.is_none() {
        return bar.with_style(ProgressStyle::default_spinner());
    }
    let style = ProgressStyle::with_template(TEMPLATE);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn failed(path: &Path, why: impl Display) -> SourceError {
    SourceError::File { path: path.display().to_string(), why: why.to_string() }
}
