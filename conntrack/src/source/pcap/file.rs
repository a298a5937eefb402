//! A capture file as a source: pcap and pcapng, read on a thread of its own as fast as the agent
//! takes the batches. A batch spans one interval of the capture's own time.

use std::{
    fmt::Display,
    fs::File,
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use conntrack_common::wire::LinkLayer;
use indicatif::{ProgressBar, ProgressStyle};
use pcap::{Capture, Offline, Packet};
use tokio::sync::mpsc;

use super::{cache::FlowCache, link, words};
use crate::source::{FlowBatch, Source, SourceCounters, SourceError};

/// Batches that may wait for the agent.
const AHEAD: usize = 2;

/// What the reading thread sends: a batch and the counters at its end, or why it stopped.
type Step = Result<(FlowBatch, SourceCounters), SourceError>;

/// A capture file that is being read.
pub struct FileSource {
    steps: mpsc::Receiver<Step>,
    counters: SourceCounters,
}

impl FileSource {
    /// Starts reading the file at `path`; `-` is standard input.
    ///
    /// # Errors
    /// A file that cannot be opened or is no capture, or one of a link type that is unknown.
    pub fn open(
        path: &Path,
        interval: Duration,
        max_flows: u32,
        progress: bool,
    ) -> Result<Self, SourceError> {
        let file = CaptureFile::open(path, progress)?;
        let (sender, steps) = mpsc::channel(AHEAD);
        let max_flows = usize::try_from(max_flows).unwrap_or(usize::MAX);
        let mut batches = Batches { cache: FlowCache::new(max_flows), interval, span: None };
        thread::Builder::new()
            .name("capture file".to_owned())
            .spawn(move || file.read(&mut batches, &sender))
            .map_err(|error| SourceError::failed("cannot start the reading thread", error))?;
        Ok(Self { steps, counters: SourceCounters::default() })
    }

    fn take(&mut self, step: Step) -> Result<FlowBatch, SourceError> {
        let (batch, counters) = step?;
        self.counters = counters;
        Ok(batch)
    }
}

impl Source for FileSource {
    async fn next_batch(&mut self) -> Result<Option<FlowBatch>, SourceError> {
        match self.steps.recv().await {
            Some(step) => self.take(step).map(Some),
            None => Ok(None),
        }
    }

    /// The batches that were read ahead. The thread ends at its next one.
    async fn finish(&mut self) -> Result<FlowBatch, SourceError> {
        self.steps.close();
        let mut rest = FlowBatch::default();
        while let Some(step) = self.steps.recv().await {
            let batch = self.take(step)?;
            rest.flows.extend(batch.flows);
            rest.captured_at = rest.captured_at.max(batch.captured_at);
        }
        Ok(rest)
    }

    fn counters(&self) -> SourceCounters {
        self.counters
    }
}

struct CaptureFile {
    path: PathBuf,
    capture: Capture<Offline>,
    link: LinkLayer,
    progress: ProgressBar,
}

impl CaptureFile {
    fn open(path: &Path, progress: bool) -> Result<Self, SourceError> {
        let length = length(path).map_err(|error| failed(path, error))?;
        let capture = Capture::from_file(path).map_err(|error| failed(path, words(&error)))?;
        let link = link::layer(capture.get_datalink())
            .map_err(|link_type| failed(path, format!("link type {link_type} cannot be read")))?;
        let progress = if progress { progress_bar(length) } else { ProgressBar::hidden() };
        Ok(Self { path: path.to_owned(), capture, link, progress })
    }

    fn read(mut self, batches: &mut Batches, sender: &mpsc::Sender<Step>) {
        let end = loop {
            match self.capture.next_packet() {
                Ok(packet) => {
                    self.progress.inc(record_length(&packet));
                    let complete = batches.add(&packet, self.link);
                    if let Some(step) = complete
                        && sender.blocking_send(Ok(step)).is_err()
                    {
                        return; // nobody listens any more
                    }
                }
                Err(pcap::Error::NoMorePackets) => break Ok(()),
                Err(error) => break Err(failed(&self.path, words(&error))),
            }
        };
        self.progress.finish_and_clear();
        // What was read before an error counts. If nobody listens any more, nobody misses it.
        let last = sender.blocking_send(Ok(batches.complete()));
        if let (Ok(()), Err(error)) = (last, end) {
            let _unheard = sender.blocking_send(Err(error));
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
    fn add(&mut self, packet: &Packet<'_>, link: LinkLayer) -> Option<(FlowBatch, SourceCounters)> {
        let time = time(packet);
        let is_over = |(first, _)| time.duration_since(first).is_ok_and(|age| age >= self.interval);
        let complete =
            (self.span.is_some_and(is_over) || self.cache.is_full()).then(|| self.complete());
        let (first, latest) = self.span.unwrap_or((time, time));
        self.span = Some((first, latest.max(time)));
        self.cache.observe(packet.data, link);
        complete
    }

    fn complete(&mut self) -> (FlowBatch, SourceCounters) {
        let captured_at = self.span.take().map(|(_, latest)| latest);
        let batch = FlowBatch { flows: self.cache.take(), captured_at };
        (batch, SourceCounters { packets: self.cache.counters(), dropped: 0 })
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

/// The file's length, if it has one; an early and plain word about a file that cannot be opened.
fn length(path: &Path) -> io::Result<Option<u64>> {
    if path == Path::new("-") {
        return Ok(None);
    }
    let metadata = File::open(path)?.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(metadata.is_file().then_some(metadata.len()))
}

/// Bytes that a packet takes in the file, with the record header of classic pcap. In pcapng blocks
/// are a little longer, so the bar ends a little early there.
fn record_length(packet: &Packet<'_>) -> u64 {
    const RECORD_HEADER: u64 = 16;
    RECORD_HEADER + u64::from(packet.header.caplen)
}

/// Draws on standard error, and nowhere if that is no terminal.
fn progress_bar(length: Option<u64>) -> ProgressBar {
    const TEMPLATE: &str = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    match length {
        Some(length) => {
            let style = ProgressStyle::with_template(TEMPLATE);
            ProgressBar::new(length)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        }
        None => ProgressBar::new_spinner(),
    }
}

fn failed(path: &Path, why: impl Display) -> SourceError {
    SourceError::File { path: path.display().to_string(), why: why.to_string() }
}
