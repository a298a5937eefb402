//! Draining: taking the flows out of the kernel's map, for [`HoldBack`] to put in order.

use std::{fmt::Display, os::fd::AsFd as _};

use aya::{
    Ebpf,
    maps::{HashMap, IterableMap as _, MapData, MapError, PerCpuArray},
};
use aya_log::EbpfLogger;
use conntrack_common::{counters::Counters, counters::Outcome, flow::FlowKey};
use rustix::time::{ClockId, clock_gettime};

use super::{
    batch,
    hold_back::{HoldBack, Nanoseconds},
};
use crate::source::{SourceCounters, SourceError};

/// The maps of the loaded programs, and what was held back.
pub(super) struct Drain {
    flows: HashMap<MapData, FlowKey, Nanoseconds>,
    counters: PerCpuArray<MapData, u64>,
    held_back: HoldBack,
    /// Until the kernel says that it has none, or something between us and it.
    in_batches: bool,
    /// Rare messages of the programs. What they say is counted too, so it may fail to start.
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
            held_back: HoldBack::default(),
            in_batches: true,
            log: EbpfLogger::init(ebpf)
                .inspect_err(|error| log::debug!("no messages from the programs: {error}"))
                .ok(),
        })
    }

    /// The flows that are due, in the order of first sight.
    pub(super) fn next(&mut self) -> Result<Vec<FlowKey>, SourceError> {
        self.flush_log();
        let start = now();
        self.take_all()?;
        Ok(self.held_back.due(start))
    }

    /// All flows that are left, once the programs are detached.
    pub(super) fn last(&mut self) -> (Vec<FlowKey>, Result<(), SourceError>) {
        self.flush_log();
        let taken = self.take_all();
        (self.held_back.all(), taken)
    }

    pub(super) fn counters(&self) -> SourceCounters {
        let mut packets = Counters::default();
        for index in 0..Outcome::COUNT {
            match self.counters.get(&index, 0) {
                Ok(per_cpu) => packets.add(index, per_cpu.iter().sum()),
                Err(error) => {
                    log::warn!("cannot read the packet counters: {error}");
                    break;
                }
            }
        }
        SourceCounters { packets, dropped: 0 }
    }

    /// Moves every entry out of the map: many at once, or one by one where the kernel has no batches.
    fn take_all(&mut self) -> Result<(), SourceError> {
        if self.in_batches {
            let map = self.flows.map().fd().as_fd();
            let taken = batch::take_all(map, |flow, seen| self.held_back.add(flow, seen));
            match taken.map_err(|error| (error.raw_os_error(), error)) {
                Ok(()) => return Ok(()),
                Err((Some(libc::EINVAL), error)) => {
                    log::debug!("no batches, walking the flow map instead: {error}");
                    self.in_batches = false;
                }
                Err((_, error)) => return Err(failed(&error)),
            }
        }
        self.walk()
    }

    /// Keys first: deleting while walking would send the walk back to its start
    /// (`htab_map_get_next_key` in the kernel's `kernel/bpf/hashtab.c`).
    fn walk(&mut self) -> Result<(), SourceError> {
        let keys = self.flows.keys().collect::<Result<Vec<_>, _>>();
        for key in keys.map_err(|error| failed(&error))? {
            let first_seen = self.flows.get(&key, 0).map_err(|error| failed(&error))?;
            self.flows.remove(&key).map_err(|error| failed(&error))?;
            self.held_back.add(key, first_seen);
        }
        Ok(())
    }

    fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }
}

/// By the clock of `bpf_ktime_get_ns`.
fn now() -> Nanoseconds {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds * 1_000_000_000 + nanoseconds
}

fn map(ebpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, SourceError> {
    ebpf.take_map(name).ok_or_else(|| SourceError::failed(name, "is not in the object"))
}

fn failed(error: &impl Display) -> SourceError {
    SourceError::failed("reading the flow map", error)
}
