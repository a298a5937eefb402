//! Draining: taking the flows out of the kernel's map, in the order of first sight.
//!
//! While the map is walked, packets keep coming: a reply can be found in this walk whose request
//! went into a bucket that was already passed. So every flow that was first seen after the walk
//! began is held back and handed out with the next batch, behind whatever that one finds earlier.

use std::collections::HashMap as Flows;

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError, PerCpuArray},
};
use aya_log::EbpfLogger;
use conntrack_common::{counters::Counters, counters::Outcome, flow::FlowKey};
use rustix::time::{ClockId, clock_gettime};

use crate::source::{SourceCounters, SourceError};

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`.
type Nanoseconds = u64;

/// The maps of the loaded programs, and what was held back.
pub(super) struct Drain {
    flows: HashMap<MapData, FlowKey, Nanoseconds>,
    counters: PerCpuArray<MapData, u64>,
    held_back: Flows<FlowKey, Nanoseconds>,
    /// Rare messages of the programs. Needs a ring buffer, so a kernel may be without.
    log: Option<EbpfLogger<&'static dyn log::Log>>,
}

impl Drain {
    /// Takes the maps out of the loaded object.
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, SourceError> {
        Ok(Self {
            flows: map(ebpf, "FLOWS")?.try_into().map_err(|error: MapError| failed(&error))?,
            counters: map(ebpf, "COUNTERS")?
                .try_into()
                .map_err(|error: MapError| failed(&error))?,
            held_back: Flows::new(),
            log: EbpfLogger::init(ebpf)
                .inspect_err(|error| log::debug!("no messages from the programs: {error}"))
                .ok(),
        })
    }

    /// The flows first seen before now.
    pub(super) fn next(&mut self) -> Result<Vec<FlowKey>, SourceError> {
        self.flush_log();
        let start = now();
        self.take_all()?;
        let (due, held_back) = std::mem::take(&mut self.held_back)
            .into_iter()
            .partition(|(_, first_seen)| *first_seen <= start);
        self.held_back = held_back;
        Ok(in_order(due))
    }

    /// All flows that are left, once the programs are detached.
    pub(super) fn last(&mut self) -> Result<Vec<FlowKey>, SourceError> {
        self.flush_log();
        self.take_all()?;
        Ok(in_order(std::mem::take(&mut self.held_back)))
    }

    pub(super) fn counters(&self) -> SourceCounters {
        let mut packets = Counters::default();
        for index in 0..Outcome::COUNT {
            match self.counters.get(&index, 0) {
                Ok(per_cpu) => packets.add(index, per_cpu.iter().sum()),
                Err(error) => log::warn!("cannot read counter {index}: {error}"),
            }
        }
        SourceCounters { packets, dropped: 0 }
    }

    /// Moves every entry of the map to those held back. Keys first: deleting while walking would
    /// send the walk back to its start (`htab_map_get_next_key`).
    fn take_all(&mut self) -> Result<(), SourceError> {
        let keys =
            self.flows.keys().collect::<Result<Vec<_>, _>>().map_err(|error| failed(&error))?;
        for key in keys {
            let first_seen = self.flows.get(&key, 0).map_err(|error| failed(&error))?;
            self.flows.remove(&key).map_err(|error| failed(&error))?;
            // A flow that was held back and is seen again keeps its first sight.
            self.held_back.entry(key).or_insert(first_seen);
        }
        Ok(())
    }

    fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }
}

fn in_order(flows: Flows<FlowKey, Nanoseconds>) -> Vec<FlowKey> {
    let mut flows: Vec<_> = flows.into_iter().map(|(key, first_seen)| (first_seen, key)).collect();
    flows.sort_unstable();
    flows.into_iter().map(|(_, key)| key).collect()
}

fn now() -> Nanoseconds {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds * 1_000_000_000 + nanoseconds
}

fn map(ebpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, SourceError> {
    ebpf.take_map(name).ok_or_else(|| SourceError::failed(name, "is not in the object"))
}

fn failed(error: &MapError) -> SourceError {
    SourceError::failed("reading the flow map", error)
}
