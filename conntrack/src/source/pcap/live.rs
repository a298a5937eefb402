//! Watching devices with libpcap, each on a thread of its own: it waits in libpcap and puts flows into
//! a cache that the agent empties once an interval. Several devices have one cache, and their packets are
//! put in order first.
//!
//! A thread starts when the first batch is asked for. Up to then the kernel keeps the packets, and
//! whoever opened the device gives up what opening took; what is given up, the thread never has.

use std::{
    future::pending,
    io, mem,
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
    seen::Flow,
    wire::{LinkLayer, PacketBytes, vlan},
};
use pcap::{Active, BreakLoop, Capture, Packet, Precision};
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
    cache::{FlowCache, Nanoseconds, Observed},
    filter, link,
    merged::Merged,
};
use crate::{
    host::{
        device::{Device, State},
        memory,
        netlink::Connection,
    },
    privilege,
    source::{
        self, DeviceCounters, FlowBatch, Source, SourceCounters, SourceError,
        monitor::Monitor,
        reattaching::{self, Attached, Change, Reattaching, Tally},
    },
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

/// For how long packets of several devices wait for one another, to be put in order.
const ORDER: Duration = Duration::from_secs(1);

/// How long what is in the buffer is read at the end.
const PATIENCE: Duration = Duration::from_millis(500);

/// Devices, or all of them, watched with libpcap.
pub struct LiveSource {
    devices: Vec<Reattaching<OnDevice>>,
    shared: Arc<Shared>,
    interval: Duration,
    ticks: Interval,
    /// Whether the next batch is the first of a device.
    is_first: bool,
}

/// A device that is there, or all devices.
struct OnDevice {
    /// None for all devices.
    guard: Option<Guard>,
    shared: Arc<Shared>,
    /// libpcap's socket.
    socket: OwnedFd,
    /// How long the kernel keeps packets back.
    buffered: Duration,
    /// Decides about the first batch; none once it has been handed out.
    first: Option<FirstBatch>,
    /// Taken by the reading thread.
    opened: Option<(Capture<Active>, LinkLayer)>,
    reading: Arc<Reading>,
    reader: Option<Reader>,
    /// Up to when everything was read.
    read_to: Nanoseconds,
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
    /// Checks left: under a flood the reader may never be done.
    patience: u32,
}

struct Reader {
    stop: BreakLoop,
    thread: JoinHandle<Result<(), pcap::Error>>,
}

/// What all devices have in common.
struct Shared {
    cache: Mutex<FlowCache>,
    /// Where several are watched.
    merged: Option<Mutex<Merged>>,
    /// For the agent: the cache gets full.
    wake: Notify,
}

/// What a reading thread tells.
#[derive(Default)]
struct Reading {
    packets: AtomicU64,
    dropped: AtomicU64,
    stopping: AtomicBool,
    /// For the agent: the thread ends.
    ended: Notify,
}

/// How devices are watched.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often the flows are handed out.
    pub interval: Duration,
    /// Flows that are kept until then.
    pub max_flows: u32,
    /// Whether a device going is the end.
    pub exit_on_device_loss: bool,
}

impl LiveSource {
    /// Opens devices; all that there are, if none is named. Without promiscuous mode, which would show other
    /// hosts' traffic and change the device.
    ///
    /// # Errors
    /// What libpcap says. A device that is down is none: it is waited for.
    pub fn open(
        devices: &[String],
        options: Options,
        policy: &Policy,
    ) -> Result<Self, SourceError> {
        let Options { interval, max_flows, exit_on_device_loss } = options;
        let shared = Arc::new(Shared {
            cache: Mutex::new(FlowCache::new(max_flows, policy)?),
            merged: (devices.len() > 1).then(|| Mutex::new(Merged::for_flows(max_flows))),
            wake: Notify::new(),
        });
        let watch = |name: Option<String>| {
            let shared = Arc::clone(&shared);
            let called = name.clone().unwrap_or_else(|| ANY.to_owned());
            let open = move || {
                let device = name.as_deref().map(Device::find).transpose()?;
                OnDevice::open(device.as_ref(), interval, &shared)
            };
            let opened = Reattaching::new(&called, interval, Box::new(open));
            Ok(opened?.exiting(exit_on_device_loss))
        };
        let devices = if devices.is_empty() {
            vec![watch(None)?]
        } else {
            devices.iter().cloned().map(Some).map(watch).collect::<Result<_, SourceError>>()?
        };
        memory::give_back();
        let ticks = source::batch_ticks(interval);
        Ok(Self { devices, shared, interval, ticks, is_first: true })
    }

    /// Once for each device; after that it is being read, or no longer.
    fn start_reading(&mut self) -> Result<(), SourceError> {
        let mut has_begun = false;
        for device in self.devices.iter_mut().filter_map(Reattaching::attached_mut) {
            has_begun |= device.start_reading()?;
        }
        if has_begun {
            self.ticks = source::batch_ticks(self.interval);
            if self.shared.merged.is_some() {
                let first = self.interval.max(source::FIRST_BATCH);
                self.ticks.reset_after(first + lag(buffered(self.interval)));
            }
        }
        Ok(())
    }

    /// Whether a first batch is due and does not hold all that it has to.
    fn is_behind(&mut self) -> bool {
        let mut devices = self.devices.iter_mut().filter_map(Reattaching::attached_mut);
        devices.any(OnDevice::is_behind)
    }

    /// All that was seen, as far as it is known to be in order.
    fn batch(&mut self, up_to: Nanoseconds) -> FlowBatch {
        let is_first = mem::take(&mut self.is_first);
        for device in self.devices.iter_mut().filter_map(Reattaching::attached_mut) {
            device.first = None;
        }
        FlowBatch { flows: self.shared.take(up_to), captured_at: None, is_first }
    }

    /// Up to when all that the devices have seen was read, as far as that is waited for.
    fn read_to(&mut self) -> Nanoseconds {
        if self.shared.merged.is_none() {
            return Nanoseconds::MAX;
        }
        let now = now(ClockId::Realtime);
        let devices = self.devices.iter_mut().filter_map(Reattaching::attached_mut);
        let read_to = devices.map(|device| device.read_to(now)).min();
        read_to.map_or(Nanoseconds::MAX, |it| it.max(now.saturating_sub(nanoseconds(ORDER))))
    }
}

impl Source for LiveSource {
    async fn next_batch(&mut self) -> Result<Option<FlowBatch>, SourceError> {
        self.start_reading()?;
        loop {
            tokio::select! {
                _ = self.ticks.tick() => {
                    if !self.is_behind() {
                        break;
                    }
                    self.ticks.reset_after(FirstBatch::STEP);
                }
                () = self.shared.wake.notified() => break,
                changed = reattaching::one_changed(&mut self.devices) => match changed? {
                    // Its addresses may go with it: what was seen of it does not wait.
                    Change::Went => return Ok(Some(self.batch(Nanoseconds::MAX))),
                    Change::Came => {
                        self.is_first = true;
                        // Its addresses are looked at before its first batch.
                        return Ok(Some(FlowBatch::default()));
                    }
                },
            }
        }
        let read_to = self.read_to();
        Ok(Some(self.batch(read_to)))
    }

    async fn finish(&mut self) -> (FlowBatch, Result<(), SourceError>) {
        let ended = reattaching::end_all(&mut self.devices).await;
        (self.batch(Nanoseconds::MAX), ended)
    }

    fn set_policy(&mut self, policy: &Policy) -> Result<(), SourceError> {
        self.shared.cache().set_policy(policy);
        Ok(())
    }

    fn counters(&self) -> SourceCounters {
        let dropped = self.devices.iter().map(|device| device.tally().dropped).sum();
        let reattached = self.devices.iter().map(Reattaching::reattached).sum();
        SourceCounters { dropped, reattached, ..self.shared.cache().counters() }
    }

    fn devices(&self) -> Vec<DeviceCounters> {
        reattaching::counters(&self.devices)
    }
}

impl OnDevice {
    fn open(
        device: Option<&Device>,
        interval: Duration,
        shared: &Arc<Shared>,
    ) -> Result<Self, SourceError> {
        let buffered = buffered(interval);
        let mut capture = capture(device, buffered)?;
        let guard = device.map(|device| Guard::new(&capture, device, interval)).transpose()?;
        let link = link::layer(capture.get_datalink()).map_err(|link_type| {
            SourceError::failed("cannot watch", format!("{}: link type {link_type}", name(device)))
        })?;
        capture.filter(&filter::expression(link), true).map_err(failed)?;
        Ok(Self {
            guard,
            shared: Arc::clone(shared),
            socket: duplicate(&capture)?,
            buffered,
            first: Some(FirstBatch::new()),
            opened: Some((capture, link)),
            reading: Arc::default(),
            reader: None,
            read_to: 0,
        })
    }

    /// Once, and whether it was now; after that it is being read, or no longer.
    fn start_reading(&mut self) -> Result<bool, SourceError> {
        let Some((capture, link)) = self.opened.take() else { return Ok(false) };
        let (shared, reading) = (Arc::clone(&self.shared), Arc::clone(&self.reading));
        self.reader = Some(Reader::start(capture, Work { link, shared, reading })?);
        Ok(true)
    }

    /// Why the reader ended. It has only words for it; the kernel says whether the device is there.
    fn failure(&mut self) -> SourceError {
        let missing = self.guard.as_mut().and_then(Guard::missing);
        let reader = self.reader.take();
        missing.unwrap_or_else(|| reader.map_or_else(stopped_reading, Reader::failure))
    }

    fn is_behind(&mut self) -> bool {
        self.first.as_mut().is_some_and(|first| first.is_behind(&self.socket))
    }

    /// Up to when all that the device saw was read, if it is `now`. A packet lies in a block of the buffer, and
    /// that is handed over late; it is the kernel's again once all its packets were read.
    fn read_to(&mut self, now: Nanoseconds) -> Nanoseconds {
        if !is_readable(&self.socket) {
            self.read_to = now.saturating_sub(nanoseconds(lag(self.buffered)));
        }
        self.read_to
    }
}

impl Attached for OnDevice {
    async fn keep(&mut self) -> SourceError {
        tokio::select! {
            error = keep(self.guard.as_mut()) => error,
            () = self.reading.ended.notified() => self.failure(),
        }
    }

    fn stop(&self) {
        self.reading.stopping.store(true, Ordering::Relaxed);
        if let Some(reader) = &self.reader {
            reader.stop.breakloop();
        }
    }

    async fn end(&mut self) -> Result<(), SourceError> {
        let started = self.start_reading();
        self.stop();
        if let Some(reader) = &self.reader {
            reader.ended().await;
        }
        self.reader = None;
        started.map(drop)
    }

    fn tally(&self) -> Tally {
        Tally { taken_away: 0, dropped: self.reading.dropped.load(Ordering::Relaxed) }
    }

    fn packets(&self) -> Option<u64> {
        Some(self.reading.packets.load(Ordering::Relaxed))
    }
}

impl FirstBatch {
    const STEP: Duration = Duration::from_millis(5);

    fn new() -> Self {
        const PATIENCE: Duration = Duration::from_secs(5);
        let patience = u32::try_from(PATIENCE.as_millis() / Self::STEP.as_millis()).unwrap_or(1);
        Self { patience }
    }

    /// Whether the reader is not through with what the kernel has handed over. A block of the buffer is the
    /// kernel's again once all its packets are in the cache.
    fn is_behind(&mut self, socket: impl AsFd) -> bool {
        self.patience = self.patience.saturating_sub(1);
        self.patience > 0 && is_readable(socket)
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
    fn observe(&self, packet: &Packet<'_>, link: LinkLayer) {
        let observed = Observed::of(&Restored(packet.data), link);
        let at = now(ClockId::Monotonic);
        let Some(merged) = &self.merged else {
            return self.note(&mut self.cache(), &observed, at);
        };
        let mut merged = locked(merged);
        merged.add(captured(packet), at, observed);
        if merged.is_full() {
            let mut cache = self.cache();
            merged.settle_half(|observed, at| self.note(&mut cache, observed, at));
        }
    }

    fn note(&self, cache: &mut FlowCache, observed: &Observed, at: Nanoseconds) {
        let was_half_full = cache.is_half_full();
        cache.note(observed, at);
        if cache.is_half_full() && !was_half_full {
            self.wake.notify_one();
        }
    }

    /// The flows of what was captured up to then.
    fn take(&self, up_to: Nanoseconds) -> Vec<Flow> {
        let mut flows = Vec::new();
        if let Some(merged) = &self.merged {
            let mut merged = locked(merged);
            let mut cache = self.cache();
            merged.settle(up_to, |observed, at| {
                if cache.is_half_full() {
                    flows.append(&mut cache.take());
                }
                cache.note(observed, at);
            });
        }
        flows.append(&mut self.cache().take());
        flows
    }

    fn cache(&self) -> MutexGuard<'_, FlowCache> {
        locked(&self.cache)
    }
}

/// A panic of the other side does not make what is in there any worse.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reading {
    fn count_drops(&self, capture: &mut Capture<Active>) {
        if let Ok(stat) = capture.stats() {
            let dropped = u64::from(stat.dropped) + u64::from(stat.if_dropped);
            self.dropped.store(dropped, Ordering::Relaxed);
        }
    }
}

/// Tells the agent when the reading thread ends, also by a panic.
struct TellsEnd<'a>(&'a Reading);

impl Drop for TellsEnd<'_> {
    fn drop(&mut self) {
        self.0.ended.notify_one();
    }
}

/// A thread's work: what is read, and where it goes.
struct Work {
    link: LinkLayer,
    shared: Arc<Shared>,
    reading: Arc<Reading>,
}

impl Work {
    /// Hands on what libpcap has; how many packets that were.
    fn dispatch(&self, capture: &mut Capture<Active>) -> Result<usize, pcap::Error> {
        let read = capture.dispatch(Some(AT_ONCE), |packet| {
            self.shared.observe(&packet, self.link);
            self.reading.packets.fetch_add(1, Ordering::Relaxed);
        });
        self.reading.count_drops(capture);
        read
    }
}

impl Reader {
    fn start(mut capture: Capture<Active>, work: Work) -> Result<Self, SourceError> {
        let stop = capture.breakloop_handle();
        let thread = thread::Builder::new()
            .name("libpcap".to_owned())
            .spawn(move || {
                let _tells_end = TellsEnd(&work.reading);
                // Reading takes none, whatever its parent keeps for opening the device again.
                if let Err(error) = privilege::give_up_all() {
                    log::warn!("the libpcap thread keeps its capabilities: {error}");
                }
                read(capture, &work)
            })
            .map_err(|error| SourceError::caused_by("cannot start the libpcap thread", error))?;
        Ok(Self { stop, thread })
    }

    /// Before libpcap 1.10 a reader that waits for a packet does not hear that it should stop, so
    /// it is not waited for longer than it takes one that does.
    async fn ended(&self) {
        const STEP: Duration = Duration::from_millis(2);
        let deadline = Instant::now() + PATIENCE * 5 / 4;
        while !self.thread.is_finished() && Instant::now() < deadline {
            sleep(STEP).await;
        }
    }

    fn failure(self) -> SourceError {
        match self.thread.join() {
            Ok(Err(error)) => failed(error),
            Ok(Ok(())) => stopped_reading(),
            Err(_panic) => SourceError::failed("libpcap", "the reading thread panicked"),
        }
    }
}

fn stopped_reading() -> SourceError {
    SourceError::failed("libpcap", "stopped reading")
}

/// When libpcap, or the kernel, got the packet.
fn captured(packet: &Packet<'_>) -> Nanoseconds {
    let seconds = u64::try_from(packet.header.ts.tv_sec).unwrap_or_default();
    // With a precision of nanoseconds that is what they are.
    let nanoseconds = u64::try_from(packet.header.ts.tv_usec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

fn now(clock: ClockId) -> Nanoseconds {
    let now = clock_gettime(clock);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap_or_default()
}

fn nanoseconds(duration: Duration) -> Nanoseconds {
    Nanoseconds::try_from(duration.as_nanos()).unwrap_or(Nanoseconds::MAX)
}

fn buffered(interval: Duration) -> Duration {
    (interval / 4).clamp(*BUFFERED.start(), *BUFFERED.end())
}

/// How late a packet can be handed over, where the kernel may keep packets back for this long: it looks once
/// in that time whether a block of the buffer is as it was the time before.
const fn lag(buffered: Duration) -> Duration {
    buffered.saturating_mul(2).saturating_add(Duration::from_millis(20))
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
        .precision(Precision::Nano)
        .open()
}

fn name(device: Option<&Device>) -> &str {
    device.map_or(ANY, |device| &device.name)
}

/// Packets that are read at once at most: under a flood libpcap always has more.
const AT_ONCE: usize = 1024;

/// Reads until it is told to stop or the device goes away.
fn read(mut capture: Capture<Active>, work: &Work) -> Result<(), pcap::Error> {
    loop {
        let read = work.dispatch(&mut capture);
        if read.is_err() || work.reading.stopping.load(Ordering::Relaxed) {
            // A device that goes is said before the packets that were kept back.
            read_rest(capture, work)?;
            return read.map(drop);
        }
    }
}

/// Reads what is still in the kernel's buffer, for as long as we are waited for.
fn read_rest(capture: Capture<Active>, work: &Work) -> Result<(), pcap::Error> {
    const STEP: Duration = Duration::from_millis(5);
    let mut capture = capture.setnonblock()?;
    let start = Instant::now();
    let mut latest = start;
    let mut is_behind = false;
    // Packets that are kept back come within that time.
    while latest.elapsed() < *BUFFERED.end() * 2 && start.elapsed() < PATIENCE {
        // Without its device libpcap complains each time, and hands over what is there all the same.
        let number = work.dispatch(&mut capture).unwrap_or(0);
        is_behind = number >= AT_ONCE;
        if number == 0 {
            thread::sleep(STEP);
        } else {
            latest = Instant::now();
        }
    }
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
