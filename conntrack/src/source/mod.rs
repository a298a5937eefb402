//! Sources: where flow keys come from. Each yields batches of distinct flow keys, oldest first.
//!
//! | source | watches |
//! |---|---|
//! | [`ebpf`] | a device, with programs in the kernel that keep flow keys in a map |
//! | [`pcap::live`] | a device, with libpcap |
//! | [`pcap::file`] | a capture file, with libpcap |
//!
//! A source knows nothing of directions, folding or files.

#[cfg(feature = "ebpf")]
pub mod ebpf;
#[cfg(feature = "pcap")]
pub mod pcap;

use std::{
    fmt::Display,
    time::{Duration, SystemTime},
};

use conntrack_common::{counters::Counters, flow::FlowKey};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::device::DeviceError;

/// The flows of one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowBatch {
    /// Distinct flows in the order of their first packets.
    pub flows: Vec<FlowKey>,
    /// When the last packet was captured, if that was not just now.
    pub captured_at: Option<SystemTime>,
}

/// What a source has counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceCounters {
    /// Packets that it looked at, by outcome.
    pub packets: Counters,
    /// Packets that never reached it, because libpcap's buffer was full.
    pub dropped: u64,
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
    /// wrong meanwhile.
    async fn finish(&mut self) -> (FlowBatch, Result<(), SourceError>);

    /// The counters now.
    fn counters(&self) -> SourceCounters;
}

/// Why a source cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// This kernel cannot do it; another source may.
    #[error("{0}")]
    Unsupported(String),
    /// The device is not there or not one that can be watched.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The device went away.
    #[error("{0} is gone; start again when it is back")]
    DeviceGone(String),
    /// The kernel refused although the privileges seem to be there.
    #[error("{what} was refused (EPERM): {why}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// What may be the reason, and what to do.
        why: &'static str,
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
    #[error("{what}: {why}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// What was said.
        why: String,
    },
}

/// When a device's batches are due: the first after one interval, and a late one delays the next.
fn ticks(interval: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl SourceError {
    /// An error that is only its words.
    pub(crate) fn failed(what: &'static str, why: impl Display) -> Self {
        Self::Failed { what, why: why.to_string() }
    }
}
