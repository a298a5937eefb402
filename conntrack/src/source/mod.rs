//! Sources: where flow keys come from. Each yields batches of distinct flow keys, oldest first.
//!
//! | source | watches |
//! |---|---|
//! | [`ebpf`] | a device, with programs in the kernel that keep flow keys in a map |
//! | [`pcap::live`] | a device, with libpcap |
//! | [`pcap::file`] | a capture file |
//!
//! A device may go and come back meanwhile ([`reattaching`]), and there may be several.
//!
//! A source knows nothing of folding or files. What it may clear from flow keys, because the tree can
//! never show it, the agent says in a policy.

#[cfg(feature = "ebpf")]
pub mod ebpf;
mod monitor;
#[cfg(feature = "pcap")]
pub mod pcap;
pub mod reattaching;
pub mod unread;

use std::{
    fmt::Display,
    iter::Sum,
    time::{Duration, SystemTime},
};

use conntrack_common::{
    counters::{Counters, Loss, Outcome},
    pairs::Secret,
    policy::Policy,
    seen::Flow,
};
use rustix::rand::{GetRandomFlags, getrandom};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use unread::Unread;

use crate::host::device::DeviceError;

/// The flows of one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowBatch {
    /// Distinct flows in the order of their first packets, each with what was seen of it.
    pub flows: Vec<Flow>,
    /// When the last packet was captured, if that was not just now.
    pub captured_at: Option<SystemTime>,
    /// Whether it is the first since a device is watched: it begins in the middle of conversations.
    pub is_first: bool,
}

/// What a source has counted since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceCounters {
    /// Packets that it looked at, by outcome.
    ///
    /// None if the kernel does not hand them out: what is unknown is not 0.
    pub packets: Option<Counters>,
    /// Packets that never reached it, because libpcap's buffer was full.
    pub dropped: u64,
    /// Of the packets that are not IP, what they are.
    pub unread: Unread,
    /// How taking flows out of its flow map went.
    pub drained: Drained,
    /// How often it began to watch again.
    pub reattached: Reattached,
}

/// How often watching a device was taken up again, by what had ended it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reattached {
    /// Somebody else took away what was attached.
    pub taken_away: u64,
    /// The device was gone.
    pub device_gone: u64,
}

/// How draining went: taking the flows out of where they are kept between two batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Flows that there is room for.
    pub capacity: u64,
    /// Flows that the last drain found.
    pub found: u64,
    /// Drains so far.
    pub drains: u64,
    /// How long the last one took.
    pub last: Duration,
    /// How long all of them took.
    pub total: Duration,
}

impl Drained {
    /// Where there is room for so many flows, and no drain yet.
    fn of(capacity: u64) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// A drain is over: this many flows, in this time.
    fn count(&mut self, found: u64, took: Duration) {
        *self = Self {
            capacity: self.capacity,
            found,
            drains: self.drains + 1,
            last: took,
            total: self.total.saturating_add(took),
        };
    }
}

impl Sum for Reattached {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, it| Self {
            taken_away: sum.taken_away + it.taken_away,
            device_gone: sum.device_gone + it.device_gone,
        })
    }
}

/// What has been counted for one of the devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCounters {
    /// Its name.
    pub device: String,
    /// Packets that passed it, if that is known.
    pub packets: Option<u64>,
}

/// Packets that may have been flows and are in no batch, for one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketLoss {
    /// What happened.
    pub what: &'static str,
    /// How many, if that is known.
    pub packets: Option<u64>,
    /// What to do about it.
    pub advice: &'static str,
}

impl Default for SourceCounters {
    /// Nothing has been counted yet.
    fn default() -> Self {
        Self {
            packets: Some(Counters::default()),
            dropped: 0,
            unread: Unread::default(),
            drained: Drained::default(),
            reattached: Reattached::default(),
        }
    }
}

impl SourceCounters {
    /// Packets with this outcome; `None` if that is unknown.
    pub fn with_outcome(&self, outcome: Outcome) -> Option<u64> {
        self.packets.map(|packets| packets.get(outcome))
    }

    /// Causes of loss.
    pub const LOSSES: usize = 3;

    /// What was lost, by cause, always in the same order.
    pub fn losses(&self) -> [PacketLoss; Self::LOSSES] {
        let lost = |loss| self.with_outcome(Outcome::Lost(loss));
        let full = PacketLoss {
            what: "the flow map was full",
            packets: lost(Loss::MapFull),
            advice: "raise --max-flows, or leave else out with -e",
        };
        let refused = PacketLoss {
            what: "the kernel refused entries of the flow map",
            packets: lost(Loss::MapRefused),
            advice: "it was busy or short of memory; if that goes on, lower --max-flows",
        };
        let dropped = PacketLoss {
            what: "libpcap's buffer was full",
            packets: Some(self.dropped),
            advice: "where the kernel has eBPF use --mode ebpf, else give this process more CPU time",
        };
        [full, refused, dropped]
    }
}

/// Yields flows until it is stopped or at its end.
#[expect(async_fn_in_trait, reason = "used within this crate, on one thread")]
pub trait Source {
    /// Waits for the next batch; `None` at the end of a capture file.
    ///
    /// Nothing is lost if the future is dropped before it is ready.
    ///
    /// # Errors
    /// Why it cannot go on. What it still holds is to be had from [`Self::finish`].
    async fn next_batch(&mut self) -> Result<Option<FlowBatch>, SourceError>;

    /// Stops watching, detaches everything and hands out what was seen up to now, with what went
    /// wrong meanwhile. Nothing is lost either if the future is dropped: it may be asked again.
    async fn finish(&mut self) -> (FlowBatch, Result<(), SourceError>);

    /// The next batch that [`Self::finish`] left, because it is of another time; `None` after the last.
    fn next_left(&mut self) -> Option<FlowBatch> {
        None
    }

    /// Has it clear from flow keys what the tree can never show, from now on under this policy.
    ///
    /// # Errors
    /// Why that cannot be; the policy before it is still in force.
    fn set_policy(&mut self, policy: &Policy) -> Result<(), SourceError>;

    /// The counters now.
    fn counters(&self) -> SourceCounters;

    /// What was counted for each device, where there are several.
    fn devices(&self) -> Vec<DeviceCounters> {
        Vec::new()
    }
}

/// What went wrong below.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a source cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// This kernel cannot do it; another source may.
    #[error("{why}")]
    Unsupported {
        /// What it cannot do.
        why: String,
        /// What it said.
        source: Option<Cause>,
    },
    /// The device is not there or not one that can be watched.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The device went away.
    #[error("{0} is gone; start again when it is back")]
    DeviceGone(String),
    /// The device is down, and cannot be watched before it is up.
    #[error("{0} is down; ip link set dev {0} up")]
    DeviceDown(String),
    /// What was attached to the device was taken away, and cannot be attached again.
    #[error(
        "{device} is not watched any more; taken off by somebody else: {what}; cannot be attached again: {source}"
    )]
    Detached {
        /// The device.
        device: String,
        /// What was attached.
        what: String,
        /// Why it cannot be attached again.
        source: Box<SourceError>,
    },
    /// The kernel refused although the privileges seem to be there.
    #[error("{what} was refused (EPERM): {why}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// What may be the reason, and what to do.
        why: &'static str,
        /// What it said.
        source: Cause,
    },
    /// There is not enough of something.
    #[error("{what}: {advice}")]
    Exhausted {
        /// What was tried.
        what: &'static str,
        /// What there is not enough of, and what to do.
        advice: &'static str,
        /// What was said.
        source: Cause,
    },
    /// A capture file that cannot be read, or not to its end.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something else.
    #[error("{what}: {source}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// What was said.
        source: Cause,
    },
}

/// Entries of a flow map that `else` may take: the rest is for `in` and `out`.
const fn most_of_else(max_flows: u32) -> u32 {
    max_flows - max_flows / 4
}

/// A random key for the hash of UDP pairs.
fn secret() -> Result<Secret, SourceError> {
    let mut secret = Secret::default();
    for half in &mut secret {
        let mut octets = [0; size_of::<u64>()];
        getrandom(&mut octets, GetRandomFlags::empty())
            .map_err(|errno| SourceError::failed("getrandom", errno))?;
        *half = u64::from_ne_bytes(octets);
    }
    Ok(secret)
}

/// The least time for the first batch. It is judged by the requests in it, so it must be long enough for some.
const FIRST_BATCH: Duration = Duration::from_millis(100);

/// When a device's batches are due.
fn batch_ticks(interval: Duration) -> Interval {
    let mut ticks = ticks(interval);
    ticks.reset_after(interval.max(FIRST_BATCH));
    ticks
}

/// The first after one interval, and a late one delays the next.
fn ticks(interval: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl SourceError {
    /// An error that is only its words.
    pub(crate) fn failed(what: &'static str, why: impl Display) -> Self {
        Self::Failed { what, source: why.to_string().into() }
    }

    /// What came of another error.
    pub(crate) fn caused_by(what: &'static str, source: impl Into<Cause>) -> Self {
        Self::Failed { what, source: source.into() }
    }

    /// That this kernel cannot do something, told by something else than an error.
    pub(crate) const fn unsupported(why: String) -> Self {
        Self::Unsupported { why, source: None }
    }
}
