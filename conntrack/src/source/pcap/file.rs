//! A capture file as a source, read on its own thread, so that an idle pipe does not block the agent. A batch
//! spans one interval of the capture's own time.
//!
//! One thread opens the file. Another reads it and starts with the first batch, after the process has
//! dropped its privileges.

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
    link_types::{LinkTypes, Unsupported},
};
use crate::source::{FlowBatch, Source, SourceCounters, SourceError};

/// Batches to queue for the agent at most.
const AHEAD: usize = 2;

/// A capture file being read.
pub struct FileSource {
    /// Taken by the reading thread.
    opened: Option<Box<CaptureFile>>,
    shared: Arc<Shared>,
    interval: Duration,
}

impl FileSource {
    /// Opens the file at `path`; `-` is standard input. Progress is drawn on `progress`.
    ///
    /// # Errors
    /// The file cannot be opened, is not a capture, or has an unsupported link type.
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
            // The receiver is gone after a signal to stop.
            let _unheard = sender.send(CaptureFile::open(path, progress));
        })?;
        let panicked = |_| SourceError::failed("capture file", "the opening thread panicked");
        let opened = Some(Box::new(opened.await.map_err(panicked)??));
        Ok(Self { opened, shared, interval })
    }

    /// Starts the reading thread, once.
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
            // An idle pipe: show what was read so far.
            if timeout(self.interval, self.shared.changed.notified()).await.is_err() {
                return Ok(Some(self.shared.oldest()));
            }
        }
    }

    /// Stops the reading thread at its next packet.
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

/// State shared by the reading thread and the agent.
struct Shared {
    state: Mutex<State>,
    /// To the agent: a batch is complete, or the file has ended.
    changed: Notify,
    /// To the reader: a batch was taken.
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
        // The state is valid even if the other thread panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds all buffered packets, waiting while the queue of batches is full; whether to continue.
    fn add(&self, file: &mut CaptureFile) -> Result<bool, SourceError> {
        let mut state = self.wait_for_room(self.state());
        while !state.stopped {
            match file.add_buffered(&mut state.batches)? {
                Added::Nothing => return Ok(true),
                Added::Packet => {}
                Added::PacketAfter(batch) => {
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

    /// The next complete batch, else the end of the file, if reached.
    fn next(&self) -> Option<Result<Option<FlowBatch>, SourceError>> {
        let mut state = self.state();
        if let Some(batch) = state.complete.pop_front() {
            self.room.notify_one();
            return Some(Ok(Some(batch)));
        }
        let end = state.end.take()?;
        Some(end.map(|()| None))
    }

    /// The oldest batch, even if incomplete.
    fn oldest(&self) -> FlowBatch {
        let mut state = self.state();
        let complete = state.complete.pop_front();
        self.room.notify_one();
        complete.unwrap_or_else(|| state.batches.complete())
    }

    /// Stops reading and completes the last batch.
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

    /// Adds the next buffered packet.
    fn add_buffered(&mut self, batches: &mut Batches) -> Result<Added, SourceError> {
        let packet = self.capture.buffered_packet().map_err(|error| failed(&self.path, error))?;
        let Some(packet) = packet else { return Ok(Added::Nothing) };
        let link = self.links.layer(packet.link_type);
        if let Some(link_type) = self.links.take_unsaid() {
            log::warn!("{}: packets of {link_type} are not read", self.path.display());
        }
        let complete = batches.add(packet.data, link, packet.time);
        Ok(complete.map_or(Added::Packet, Added::PacketAfter))
    }
}

/// Outcome of adding a packet.
enum Added {
    /// No complete packet is buffered.
    Nothing,
    Packet,
    /// A packet, after this complete batch.
    PacketAfter(FlowBatch),
}

/// Reports a panic of the reading thread to the agent, which would otherwise wait for ever.
struct EndOfPanic<'a>(&'a Shared);

impl Drop for EndOfPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end(Err(SourceError::failed("capture file", "the reading thread panicked")));
        }
    }
}

/// An open file.
struct OpenFile {
    file: File,
    /// Of a regular file.
    length: Option<u64>,
    /// Modification time of a regular file, since 1970.
    modified: Option<Duration>,
}

/// Opens the file once: a pipe can be read only once.
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

/// A file whose reads advance the progress bar.
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

fn cannot_be_read(link_type: &Unsupported) -> String {
    format!("{link_type} cannot be read")
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// Each flow's destination port, with the batch's time in Unix seconds.
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
