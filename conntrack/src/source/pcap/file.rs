//! A capture file as a source: pcap and pcapng, read on a thread of its own, so that a pipe that
//! says nothing keeps nobody waiting. A batch spans one interval of the capture's own time.
//!
//! The file is opened on one thread and read on another, which starts when the first batch is asked
//! for: what whoever opened it gives up meanwhile, the reader never has.

use std::{
    collections::VecDeque,
    fmt::Display,
    fs::File,
    io::{self, Read},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, UNIX_EPOCH},
};

use conntrack_common::policy::Policy;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

use super::{
    batches::Batches,
    capture::{Capture, decompressed},
    link_types::{LinkTypes, Unreadable},
};
use crate::source::{FlowBatch, Source, SourceCounters, SourceError};

/// Batches that may wait for the agent.
const AHEAD: usize = 2;

/// A capture file that is being read.
pub struct FileSource {
    /// Until it is read.
    opened: Option<Box<CaptureFile>>,
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
        let shared = Arc::new(Shared::new(Batches::new(interval, max_flows, policy)?));
        let (sender, opened) = oneshot::channel();
        let path = path.to_owned();
        start(move || {
            // Nobody listens for it if we were told to stop meanwhile.
            let _unheard = sender.send(CaptureFile::open(path, progress));
        })?;
        let panicked = |_| SourceError::failed("capture file", "the opening thread panicked");
        let opened = Some(Box::new(opened.await.map_err(panicked)??));
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
        self.shared.stop();
        (self.next_left().unwrap_or_default(), Ok(()))
    }

    fn next_left(&mut self) -> Option<FlowBatch> {
        self.shared.state().complete.pop_front()
    }

    fn set_policy(&mut self, policy: &Policy) -> Result<(), SourceError> {
        self.shared.state().batches.set_policy(policy);
        Ok(())
    }

    fn counters(&self) -> SourceCounters {
        self.shared.state().batches.counters()
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
    fn new(batches: Batches) -> Self {
        let state = State { complete: VecDeque::new(), batches, end: None, stopped: false };
        Self { state: Mutex::new(state), changed: Notify::new(), room: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of the other side does not make what is in there any worse.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what the file has in memory, as there is room for the batches that it completes; whether to
    /// go on.
    fn add(&self, file: &mut CaptureFile) -> Result<bool, SourceError> {
        let mut state = self.wait_for_room(self.state());
        while !state.stopped {
            match file.add_buffered(&mut state.batches)? {
                Added::Nothing => return Ok(true),
                Added::Packet => {}
                Added::PacketBehind(batch) => {
                    state.complete.push_back(batch);
                    self.changed.notify_one();
                    state = self.wait_for_room(state);
                }
            }
        }
        Ok(false)
    }

    fn wait_for_room<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let is_full = |state: &mut State| state.complete.len() >= AHEAD && !state.stopped;
        self.room.wait_while(state, is_full).unwrap_or_else(PoisonError::into_inner)
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

    /// Nothing is read any more; what was read is complete.
    fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        self.room.notify_one();
        let last = state.batches.complete();
        state.complete.push_back(last);
    }
}

struct CaptureFile {
    path: PathBuf,
    capture: Capture<Box<dyn Read + Send>>,
    links: LinkTypes,
    progress: ProgressBar,
}

impl CaptureFile {
    fn open(path: PathBuf, progress: ProgressDrawTarget) -> Result<Self, SourceError> {
        let failed = |why: &dyn Display| failed(&path, why);
        let OpenFile { file, length, modified } = open(&path).map_err(|error| failed(&error))?;
        let progress = progress_bar(length, progress);
        let counted = Counted { file, progress: progress.clone() };
        let octets = decompressed(counted).map_err(|error| failed(&error))?;
        let capture = Capture::new(octets, modified).map_err(|error| failed(&error))?;
        let links = LinkTypes::of(&capture).map_err(|link| failed(&cannot_be_read(&link)))?;
        Ok(Self { path, capture, links, progress })
    }

    fn read(mut self, shared: &Shared) {
        let _guard = EndOfPanic(shared);
        let end = self.read_all(shared);
        self.progress.finish_and_clear();
        shared.end(end);
    }

    fn read_all(&mut self, shared: &Shared) -> Result<(), SourceError> {
        while shared.add(self)? {
            if !self.capture.fill().map_err(|error| failed(&self.path, error))? {
                let checked = self.links.check();
                return checked.map_err(|link| failed(&self.path, cannot_be_read(&link)));
            }
        }
        Ok(())
    }

    /// Adds the next packet that is in memory.
    fn add_buffered(&mut self, batches: &mut Batches) -> Result<Added, SourceError> {
        let packet = self.capture.buffered_packet().map_err(|error| failed(&self.path, error))?;
        let Some(packet) = packet else { return Ok(Added::Nothing) };
        let link = self.links.layer(packet.link_type);
        if let Some(link_type) = self.links.take_unsaid() {
            log::warn!("{}: packets of {link_type} are not read", self.path.display());
        }
        let complete = batches.add(packet.data, link, packet.time);
        Ok(complete.map_or(Added::Packet, Added::PacketBehind))
    }
}

/// What was added to the batches.
enum Added {
    /// There is no whole packet in memory.
    Nothing,
    Packet,
    /// A packet behind this batch.
    PacketBehind(FlowBatch),
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

/// A file that is open.
struct OpenFile {
    file: File,
    /// If it is a regular one.
    length: Option<u64>,
    /// When it was written, since 1970, if it is a regular one.
    modified: Option<Duration>,
}

/// It is opened once: a pipe has but one reading.
fn open(path: &Path) -> io::Result<OpenFile> {
    let file = if path == Path::new("-") {
        File::from(io::stdin().as_fd().try_clone_to_owned()?)
    } else {
        File::open(path)?
    };
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Ok(OpenFile { file, length: None, modified: None });
    }
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok(OpenFile { file, length: Some(metadata.len()), modified })
}

/// Shows how far a file was read.
struct Counted {
    file: File,
    progress: ProgressBar,
}

impl Read for Counted {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(bytes)?;
        self.progress.inc(read as u64);
        Ok(read)
    }
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

fn cannot_be_read(link_type: &Unreadable) -> String {
    format!("{link_type} cannot be read")
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// The destination port of each flow, with its batch's time in Unix seconds.
    fn ports(batch: &FlowBatch) -> Vec<(u16, Option<u64>)> {
        let since_1970 = |time: SystemTime| time.duration_since(UNIX_EPOCH).expect("not before");
        let seconds = batch.captured_at.map(|time| since_1970(time).as_secs());
        batch.flows.iter().map(|flow| (flow.key.dst_port(), seconds)).collect()
    }

    #[tokio::test]
    async fn what_is_left_at_the_end_keeps_its_times() {
        const NEAR: u64 = 1_767_225_600;
        const FAR: u64 = NEAR + 100_000_000;
        let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/times-far-off.pcap");
        let hidden = ProgressDrawTarget::hidden();
        let interval = Duration::from_secs(1);
        let source = FileSource::open(&capture, interval, 100, hidden, &Policy::NONE);
        let mut source = source.await.expect("a capture");
        source.start_reading().expect("a thread");
        while source.shared.state().complete.len() < AHEAD {
            thread::yield_now();
        }
        let (oldest, finished) = source.finish().await;
        finished.expect("no error");
        let mut left = ports(&oldest);
        while let Some(batch) = source.next_left() {
            left.extend(ports(&batch));
        }
        assert_eq!(left[..2], [(1001, Some(NEAR)), (1002, Some(NEAR))]);
        assert_eq!(left[2..], [(1003, Some(FAR)), (1004, Some(NEAR))]);
    }
}
