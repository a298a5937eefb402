//! Watching a device with libpcap, on a thread of its own: it waits in libpcap and puts flows into
//! a cache that the agent empties once an interval.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use conntrack_common::wire::{LinkLayer, PacketBytes, vlan};
use pcap::{Active, BreakLoop, Capture, Packet};
use tokio::time::{Instant, Interval, sleep};

use super::{cache::FlowCache, filter, link, words};
use crate::source::{self, FlowBatch, Source, SourceCounters, SourceError};

/// Bytes kept of a packet. Headers can be far inside: eight extension headers of 2 KiB each.
const SNAPLEN: i32 = 65_535;

/// How long the kernel may keep packets back to hand several over at once. Each time takes up a
/// block of the buffer, however few there are.
const BUFFERED: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_millis(50);

/// Octets of buffer: 64 of the blocks of 256 KiB that libpcap makes of it, so that a reader that does
/// not get to run for 640 ms loses nothing to their number.
const BUFFER: i32 = 16 << 20;

/// A device that is being watched with libpcap.
pub struct LiveSource {
    device: String,
    shared: Arc<Shared>,
    ticks: Interval,
    buffered: Duration,
    reader: Option<Reader>,
}

struct Reader {
    stop: BreakLoop,
    thread: JoinHandle<Result<(), pcap::Error>>,
}

struct Shared {
    cache: Mutex<FlowCache>,
    dropped: AtomicU64,
    stopping: AtomicBool,
}

impl LiveSource {
    /// Starts watching the device of this name; `any` is all devices. Without promiscuous mode,
    /// which would show other hosts' traffic and change the device.
    ///
    /// # Errors
    /// What libpcap says.
    pub fn open(device: &str, interval: Duration, max_flows: u32) -> Result<Self, SourceError> {
        let buffered = (interval / 4).clamp(*BUFFERED.start(), *BUFFERED.end());
        let mut capture = capture(device, buffered).map_err(|error| failed(&error))?;
        let link = link::layer(capture.get_datalink()).map_err(|link_type| {
            SourceError::failed("cannot watch", format!("{device}: link type {link_type}"))
        })?;
        capture.filter(&filter::expression(link), true).map_err(|error| failed(&error))?;

        let max_flows = usize::try_from(max_flows).unwrap_or(usize::MAX);
        let shared = Arc::new(Shared {
            cache: Mutex::new(FlowCache::new(max_flows)),
            dropped: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        let reader = Reader::start(capture, link, Arc::clone(&shared))?;
        let ticks = source::ticks(interval);
        Ok(Self { device: device.to_owned(), shared, ticks, buffered, reader: Some(reader) })
    }

    fn batch(&self) -> FlowBatch {
        FlowBatch { flows: self.shared.cache().take(), captured_at: None }
    }
}

impl Source for LiveSource {
    async fn next_batch(&mut self) -> Result<Option<FlowBatch>, SourceError> {
        self.ticks.tick().await;
        if let Some(reader) = self.reader.take_if(|reader| reader.thread.is_finished()) {
            return Err(reader.failure(&self.device));
        }
        Ok(Some(self.batch()))
    }

    async fn finish(&mut self) -> (FlowBatch, Result<(), SourceError>) {
        if let Some(reader) = self.reader.take() {
            // What the kernel still keeps back comes within that time.
            sleep(self.buffered * 2).await;
            self.shared.stopping.store(true, Ordering::Relaxed);
            reader.stop().await;
        }
        (self.batch(), Ok(()))
    }

    fn counters(&self) -> SourceCounters {
        SourceCounters {
            packets: self.shared.cache().counters(),
            dropped: self.shared.dropped.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    fn cache(&self) -> MutexGuard<'_, FlowCache> {
        // A panic of the other side does not make what is in the cache any worse.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    fn start(
        mut capture: Capture<Active>,
        link: LinkLayer,
        shared: Arc<Shared>,
    ) -> Result<Self, SourceError> {
        let stop = capture.breakloop_handle();
        let thread = thread::Builder::new()
            .name("libpcap".to_owned())
            .spawn(move || read(capture, link, &shared))
            .map_err(|error| SourceError::failed("cannot start the libpcap thread", error))?;
        Ok(Self { stop, thread })
    }

    /// Before libpcap 1.10 a reader that waits for a packet does not hear that it should stop, so
    /// it is not waited for longer than it takes one that does.
    async fn stop(self) {
        const PATIENCE: Duration = Duration::from_millis(500);
        const STEP: Duration = Duration::from_millis(2);
        self.stop.breakloop();
        let deadline = Instant::now() + PATIENCE;
        while !self.thread.is_finished() && Instant::now() < deadline {
            sleep(STEP).await;
        }
    }

    fn failure(self, device: &str) -> SourceError {
        match self.thread.join() {
            Ok(Err(error)) if error.to_string().contains("disappeared") => {
                SourceError::DeviceGone(device.to_owned())
            }
            Ok(Err(error)) => failed(&error),
            Ok(Ok(())) => SourceError::failed("libpcap", "stopped reading"),
            Err(_panic) => SourceError::failed("libpcap", "the reading thread panicked"),
        }
    }
}

/// A frame to which libpcap has put back the VLAN tag that the NIC, or the kernel, had taken off.
struct Restored<'a>(&'a [u8]);

impl PacketBytes for Restored<'_> {
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.load(offset)
    }

    fn max_tags(&self) -> usize {
        vlan::MAX_TAGS_RESTORED
    }
}

fn capture(device: &str, buffered: Duration) -> Result<Capture<Active>, pcap::Error> {
    let milliseconds = i32::try_from(buffered.as_millis()).unwrap_or(i32::MAX).max(1);
    Capture::from_device(device)?
        .promisc(false)
        .snaplen(SNAPLEN)
        .buffer_size(BUFFER)
        .timeout(milliseconds)
        .open()
}

/// Reads until it is told to stop or the device goes away.
fn read(mut capture: Capture<Active>, link: LinkLayer, shared: &Shared) -> Result<(), pcap::Error> {
    let observe = |packet: Packet<'_>| shared.cache().observe(&Restored(packet.data), link);
    loop {
        let read = capture.dispatch(None, observe);
        if let Ok(stat) = capture.stats() {
            let dropped = u64::from(stat.dropped) + u64::from(stat.if_dropped);
            shared.dropped.store(dropped, Ordering::Relaxed);
        }
        if shared.stopping.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Err(error) = read {
            // A device that goes is said before the packets that were kept back.
            thread::sleep(*BUFFERED.end() * 2);
            capture.setnonblock()?.dispatch(None, observe)?;
            return Err(error);
        }
    }
}

fn failed(error: &pcap::Error) -> SourceError {
    SourceError::failed("libpcap", words(error))
}
