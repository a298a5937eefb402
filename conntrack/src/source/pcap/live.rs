//! Watching a device with libpcap, on a thread of its own: it waits in libpcap and puts flows into
//! a cache that the agent empties once an interval.
//!
//! The thread starts when the first batch is asked for. Up to then the kernel keeps the packets, and
//! whoever opened the device gives up what opening took; what is given up, the thread never has.

use std::{
    future::pending,
    io,
    ops::RangeInclusive,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use conntrack_common::{
    policy::Policy,
    wire::{LinkLayer, PacketBytes, vlan},
};
use pcap::{Active, BreakLoop, Capture, Packet};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    time::{ClockId, clock_gettime},
};
use tokio::{
    sync::Notify,
    time::{Interval, sleep},
};

use super::{
    bound::bound_to,
    cache::{FlowCache, Nanoseconds},
    filter, link,
};
use crate::{
    host::{
        device::{Device, State},
        memory,
        netlink::Connection,
    },
    privilege,
    source::{self, FlowBatch, Source, SourceCounters, SourceError, monitor::Monitor},
};

/// libpcap's name for all devices at once.
const ANY: &str = "any";

/// Bytes kept of a packet. Headers can be far inside: eight extension headers of 2 KiB each.
const SNAPLEN: i32 = 65_535;

/// How long the kernel may keep packets back to hand several over at once. Each time takes up a
/// block of the buffer, however few there are.
const BUFFERED: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_millis(50);

/// Octets of buffer: 64 of the blocks of 256 KiB that libpcap makes of it, so that a reader that does
/// not get to run for 640 ms loses nothing to their number.
const BUFFER: i32 = 16 << 20;

/// How long what is in the buffer is read at the end.
const PATIENCE: Duration = Duration::from_millis(500);

/// A device, or all devices, watched with libpcap.
pub struct LiveSource {
    /// None for all devices.
    guard: Option<Guard>,
    shared: Arc<Shared>,
    interval: Duration,
    ticks: Interval,
    /// None once the first batch has been handed out.
    first: Option<FirstBatch>,
    /// Taken by the reading thread.
    opened: Option<(Capture<Active>, LinkLayer)>,
    reader: Option<Reader>,
}

/// Looks after the device, and whether the socket still hears of it.
struct Guard {
    monitor: Monitor,
    /// libpcap's socket.
    socket: OwnedFd,
}

/// Decides when the first batch ends. A request in it makes answers of what came before, so it must hold an
/// interval's packets, however late the reader gets to run.
struct FirstBatch {
    /// libpcap's socket.
    socket: OwnedFd,
    /// Checks left: under a flood the reader may never be done.
    patience: u32,
}

struct Reader {
    stop: BreakLoop,
    thread: JoinHandle<Result<(), pcap::Error>>,
}

struct Shared {
    cache: Mutex<FlowCache>,
    /// For the agent: the cache gets full.
    wake: Notify,
    dropped: AtomicU64,
    stopping: AtomicBool,
}

impl LiveSource {
    /// Opens a device, or all of them. Without promiscuous mode, which would show other hosts' traffic
    /// and change the device.
    ///
    /// # Errors
    /// [`SourceError::DeviceDown`] where libpcap would not open it for that; else what libpcap says.
    pub fn open(
        device: Option<&Device>,
        interval: Duration,
        max_flows: u32,
        policy: &Policy,
    ) -> Result<Self, SourceError> {
        let buffered = (interval / 4).clamp(*BUFFERED.start(), *BUFFERED.end());
        let mut capture = capture(device, buffered)?;
        let guard = device.map(|device| Guard::new(&capture, device, interval)).transpose()?;
        let link = link::layer(capture.get_datalink()).map_err(|link_type| {
            SourceError::failed("cannot watch", format!("{}: link type {link_type}", name(device)))
        })?;
        capture.filter(&filter::expression(link), true).map_err(failed)?;
        let first = FirstBatch::of(&capture)?;

        let shared = Arc::new(Shared {
            cache: Mutex::new(FlowCache::new(max_flows, policy)?),
            wake: Notify::new(),
            dropped: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        memory::give_back();
        Ok(Self {
            guard,
            shared,
            interval,
            ticks: source::batch_ticks(interval),
            first: Some(first),
            opened: Some((capture, link)),
            reader: None,
        })
    }

    /// Once; after that it is being read, or no longer.
    fn start_reading(&mut self) -> Result<(), SourceError> {
        if let Some((capture, link)) = self.opened.take() {
            self.reader = Some(Reader::start(capture, link, Arc::clone(&self.shared))?);
            self.ticks = source::batch_ticks(self.interval);
        }
        Ok(())
    }

    /// Why the reader ended. It has only words for it; the kernel says whether the device is there.
    fn failure(&mut self, reader: Reader) -> SourceError {
        let missing = self.guard.as_mut().and_then(Guard::missing);
        missing.unwrap_or_else(|| reader.failure())
    }

    /// Nothing is forgotten if the future is dropped before it is ready.
    async fn due(ticks: &mut Interval, first: Option<&mut FirstBatch>) {
        ticks.tick().await;
        let Some(first) = first else { return };
        while first.is_behind() {
            ticks.reset_after(FirstBatch::STEP);
            ticks.tick().await;
        }
    }

    fn batch(&mut self) -> FlowBatch {
        let is_first = self.first.take().is_some();
        FlowBatch { flows: self.shared.cache().take(), captured_at: None, is_first }
    }
}

impl Source for LiveSource {
    async fn next_batch(&mut self) -> Result<Option<FlowBatch>, SourceError> {
        self.start_reading()?;
        tokio::select! {
            () = Self::due(&mut self.ticks, self.first.as_mut()) => {}
            () = self.shared.wake.notified() => {}
            error = keep(self.guard.as_mut()) => return Err(error),
        }
        if let Some(reader) = self.reader.take_if(|reader| reader.thread.is_finished()) {
            return Err(self.failure(reader));
        }
        Ok(Some(self.batch()))
    }

    async fn finish(&mut self) -> (FlowBatch, Result<(), SourceError>) {
        let started = self.start_reading();
        if let Some(reader) = &self.reader {
            self.shared.stopping.store(true, Ordering::Relaxed);
            reader.stop().await;
        }
        self.reader = None;
        (self.batch(), started)
    }

    fn set_policy(&mut self, policy: &Policy) -> Result<(), SourceError> {
        self.shared.cache().set_policy(policy);
        Ok(())
    }

    fn counters(&self) -> SourceCounters {
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        SourceCounters { dropped, ..self.shared.cache().counters() }
    }
}

impl FirstBatch {
    const STEP: Duration = Duration::from_millis(5);

    fn of(capture: &Capture<Active>) -> Result<Self, SourceError> {
        const PATIENCE: Duration = Duration::from_secs(5);
        let patience = u32::try_from(PATIENCE.as_millis() / Self::STEP.as_millis()).unwrap_or(1);
        let socket = duplicate(capture)?;
        Ok(Self { socket, patience })
    }

    /// Whether the reader is not through with what the kernel has handed over. A block of the buffer is the
    /// kernel's again once all its packets are in the cache.
    fn is_behind(&mut self) -> bool {
        self.patience = self.patience.saturating_sub(1);
        self.patience > 0 && is_readable(&self.socket)
    }
}

impl Guard {
    fn new(
        capture: &Capture<Active>,
        device: &Device,
        interval: Duration,
    ) -> Result<Self, SourceError> {
        let socket = duplicate(capture)?;
        let monitor = Monitor::new(device, interval).map_err(not_looked_after)?;
        let mut guard = Self { monitor, socket };
        // libpcap was given a name, which may have been given to another device meanwhile.
        guard.monitor.look()?;
        guard.look_at_socket()?;
        Ok(guard)
    }

    /// Until something is wrong.
    async fn keep(&mut self) -> SourceError {
        loop {
            let looked = self.monitor.next().await.and_then(|_state| self.look_at_socket());
            if let Err(error) = looked {
                return error;
            }
        }
    }

    /// That the device is gone or down, if it is.
    fn missing(&mut self) -> Option<SourceError> {
        match self.monitor.look() {
            Ok(Some(state)) if !state.is_up => Some(SourceError::DeviceDown(state.device.name)),
            Ok(_) => self.look_at_socket().err(),
            Err(gone) => Some(gone),
        }
    }

    /// The kernel unbinds it when the device goes, also if that is back by now.
    fn look_at_socket(&self) -> Result<(), SourceError> {
        let device = self.monitor.device();
        match bound_to(&self.socket) {
            Ok(index) if index == Some(device.index) => Ok(()),
            Ok(_another) => Err(SourceError::DeviceGone(device.name.clone())),
            Err(error) => Err(SourceError::caused_by("libpcap's socket", error)),
        }
    }
}

fn duplicate(capture: &Capture<Active>) -> Result<OwnedFd, SourceError> {
    capture.as_fd().try_clone_to_owned().map_err(not_looked_after)
}

fn not_looked_after(error: io::Error) -> SourceError {
    SourceError::caused_by("cannot look after libpcap's socket", error)
}

/// What cannot be asked is not waited for.
fn is_readable(socket: impl AsFd) -> bool {
    let mut asked = [PollFd::new(&socket, PollFlags::IN)];
    let answered = poll(&mut asked, Some(&Timespec::default()));
    answered.is_ok() && asked[0].revents().contains(PollFlags::IN)
}

/// Nothing is to be looked after where all devices are watched.
async fn keep(guard: Option<&mut Guard>) -> SourceError {
    match guard {
        Some(guard) => guard.keep().await,
        None => pending().await,
    }
}

impl Shared {
    fn count_drops(&self, capture: &mut Capture<Active>) {
        if let Ok(stat) = capture.stats() {
            let dropped = u64::from(stat.dropped) + u64::from(stat.if_dropped);
            self.dropped.store(dropped, Ordering::Relaxed);
        }
    }

    fn observe(&self, packet: &Packet<'_>, link: LinkLayer) {
        let mut cache = self.cache();
        let was_half_full = cache.is_half_full();
        cache.observe(&Restored(packet.data), link, now());
        if cache.is_half_full() && !was_half_full {
            self.wake.notify_one();
        }
    }

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
            .spawn(move || {
                // Reading takes none, whatever its parent keeps for opening the device again.
                if let Err(error) = privilege::give_up_all() {
                    log::warn!("the libpcap thread keeps its capabilities: {error}");
                }
                read(capture, link, &shared)
            })
            .map_err(|error| SourceError::caused_by("cannot start the libpcap thread", error))?;
        Ok(Self { stop, thread })
    }

    /// Before libpcap 1.10 a reader that waits for a packet does not hear that it should stop, so
    /// it is not waited for longer than it takes one that does.
    async fn stop(&self) {
        const STEP: Duration = Duration::from_millis(2);
        self.stop.breakloop();
        let deadline = Instant::now() + PATIENCE * 5 / 4;
        while !self.thread.is_finished() && Instant::now() < deadline {
            sleep(STEP).await;
        }
    }

    fn failure(self) -> SourceError {
        match self.thread.join() {
            Ok(Err(error)) => failed(error),
            Ok(Ok(())) => SourceError::failed("libpcap", "stopped reading"),
            Err(_panic) => SourceError::failed("libpcap", "the reading thread panicked"),
        }
    }
}

/// By a clock that nobody sets.
fn now() -> Nanoseconds {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap_or_default()
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

/// libpcap does not open a device that is down, and of its errors there are only words. The device may have
/// come up before it can be asked.
fn capture(device: Option<&Device>, buffered: Duration) -> Result<Capture<Active>, SourceError> {
    let refused = match open(device, buffered) {
        Ok(capture) => return Ok(capture),
        Err(error) => error,
    };
    match device {
        Some(device) if is_down(device) => Err(SourceError::DeviceDown(device.name.clone())),
        Some(_) => open(device, buffered).map_err(failed),
        None => Err(failed(refused)),
    }
}

fn open(device: Option<&Device>, buffered: Duration) -> Result<Capture<Active>, pcap::Error> {
    let milliseconds = i32::try_from(buffered.as_millis()).unwrap_or(i32::MAX).max(1);
    // libpcap finds no device by a long alternative name.
    let name = device.map_or(ANY, |device| &device.kernel_name);
    Capture::from_device(name)?
        .promisc(false)
        .snaplen(SNAPLEN)
        .buffer_size(BUFFER)
        .timeout(milliseconds)
        .open()
}

fn name(device: Option<&Device>) -> &str {
    device.map_or(ANY, |device| &device.name)
}

/// Packets that are read at once at most: under a flood libpcap always has more.
const AT_ONCE: usize = 1024;

/// Reads until it is told to stop or the device goes away.
fn read(mut capture: Capture<Active>, link: LinkLayer, shared: &Shared) -> Result<(), pcap::Error> {
    loop {
        let read = capture.dispatch(Some(AT_ONCE), |packet| shared.observe(&packet, link));
        shared.count_drops(&mut capture);
        if read.is_err() || shared.stopping.load(Ordering::Relaxed) {
            // A device that goes is said before the packets that were kept back.
            read_rest(capture, link, shared)?;
            return read.map(drop);
        }
    }
}

/// Reads what is still in the kernel's buffer, for as long as we are waited for.
fn read_rest(
    capture: Capture<Active>,
    link: LinkLayer,
    shared: &Shared,
) -> Result<(), pcap::Error> {
    const STEP: Duration = Duration::from_millis(5);
    let mut capture = capture.setnonblock()?;
    let start = Instant::now();
    let mut latest = start;
    let mut is_behind = false;
    // Packets that are kept back come within that time.
    while latest.elapsed() < *BUFFERED.end() * 2 && start.elapsed() < PATIENCE {
        let read = capture.dispatch(Some(AT_ONCE), |packet| shared.observe(&packet, link));
        // Without its device libpcap complains each time, and hands over what is there all the same.
        let number = read.unwrap_or(0);
        is_behind = number >= AT_ONCE;
        if number == 0 {
            thread::sleep(STEP);
        } else {
            latest = Instant::now();
        }
    }
    shared.count_drops(&mut capture);
    if is_behind {
        log::warn!(
            "ended while libpcap's buffer still had packets; what they show is not in the tree"
        );
    }
    Ok(())
}

fn is_down(device: &Device) -> bool {
    let state = Connection::to_route().and_then(|mut it| State::of(&mut it, &device.name));
    matches!(state, Ok(Some(state)) if !state.is_up)
}

fn failed(error: pcap::Error) -> SourceError {
    SourceError::caused_by("libpcap", LibpcapError(error))
}

/// In libpcap's own words, without the crate's before them.
#[derive(Debug, thiserror::Error)]
#[error("{}", match .0 {
    pcap::Error::PcapError(words) => words.clone(),
    other => other.to_string(),
})]
struct LibpcapError(#[source] pcap::Error);
