//! Draining: taking the flows out of the kernel's map, for [`HoldBack`] to put in order.

use std::{fmt::Display, os::fd::AsFd as _, time::Duration};

use aya::{
    Ebpf,
    maps::{Array, HashMap, IterableMap as _, MapData, PerCpuArray},
};
use conntrack_common::{
    counters::{Counters, NewFlows, Outcome},
    flow::FlowKey,
    policy::Policy,
    seen::{Flow, Sight},
};
use rustix::time::{ClockId, clock_gettime};

use super::{
    batch,
    control::ControlMaps,
    hold_back::{HoldBack, Nanoseconds},
    load::map,
};
use crate::source::{
    Drained, SourceCounters, SourceError,
    unread::{EtherType, Unread},
};

type PacketCounters = [u64; Outcome::COUNT as usize];

/// The maps of the loaded programs, and what was held back.
pub(super) struct Drain {
    flows: HashMap<MapData, FlowKey, Sight>,
    counters: PerCpuArray<MapData, PacketCounters>,
    /// Frames by the `EtherType` that led to no IP.
    unread: HashMap<MapData, u16, u64>,
    /// How many were put into the map since the last drain, and whether that woke us.
    new_flows: Array<MapData, NewFlows>,
    control: ControlMaps,
    held_back: HoldBack,
    /// Until the kernel says that it has none, or something between us and it.
    in_batches: bool,
    drained: Drained,
}

impl Drain {
    /// Takes the maps out of the loaded object, whose flow map has room for `max_flows`.
    pub(super) fn new(ebpf: &mut Ebpf, max_flows: u32) -> Result<Self, SourceError> {
        Ok(Self {
            flows: map(ebpf, "FLOWS")?,
            counters: map(ebpf, "COUNTERS")?,
            unread: map(ebpf, "UNREAD")?,
            new_flows: map(ebpf, "NEW_FLOWS")?,
            control: ControlMaps::new(ebpf)?,
            held_back: HoldBack::default(),
            in_batches: true,
            drained: Drained::of(max_flows.into()),
        })
    }

    /// The flows that are due, in the order of first sight.
    pub(super) fn next(&mut self) -> Result<Vec<Flow>, SourceError> {
        let start = now();
        // Before the walk: what comes in meanwhile may be taken or not, and counts as not.
        self.new_flows.set(0, NewFlows::default(), 0).map_err(|error| failed(&error))?;
        let taken = self.take_all();
        // After it: a flow that is in there while we walk is shown as seen just now.
        self.control.forget_recent()?;
        taken?;
        Ok(self.held_back.due(start))
    }

    /// Has the programs clear from flow keys what the tree can never show.
    pub(super) fn set_policy(&mut self, policy: &Policy) -> Result<(), SourceError> {
        self.control.set_policy(policy)
    }

    /// All flows that are left, once the programs are detached.
    pub(super) fn last(&mut self) -> (Vec<Flow>, Result<(), SourceError>) {
        let taken = self.take_all();
        (self.held_back.all(), taken)
    }

    pub(super) fn counters(&self) -> SourceCounters {
        let mut packets = Counters::default();
        match self.counters.get(&0, 0) {
            Ok(per_cpu) => per_cpu.iter().for_each(|counters| packets.add(counters)),
            Err(error) => log::warn!("cannot read the packet counters: {error}"),
        }
        SourceCounters { packets, dropped: 0, unread: self.unread(), drained: self.drained }
    }

    fn unread(&self) -> Unread {
        let mut unread = Unread::default();
        // An entry that cannot be read is one less to name; how many there are is counted elsewhere.
        for (ether_type, frames) in self.unread.iter().flatten() {
            unread.count(EtherType(ether_type), frames);
        }
        unread
    }

    /// Moves every entry out of the map.
    fn take_all(&mut self) -> Result<(), SourceError> {
        let (start, mut found) = (now(), 0);
        let taken = self.move_all(&mut found);
        let took = Duration::from_nanos(now().saturating_sub(start));
        self.drained.count(found, took);
        taken
    }

    /// Many at once, or one by one where the kernel has no batches.
    fn move_all(&mut self, found: &mut u64) -> Result<(), SourceError> {
        if self.in_batches {
            let map = self.flows.map().fd().as_fd();
            let taken = batch::take_all(map, |key, Sight { first, seen }| {
                self.held_back.add(Flow { key, seen }, first);
                *found += 1;
            });
            match taken.map_err(|error| (error.raw_os_error(), error)) {
                Ok(()) => return Ok(()),
                Err((Some(libc::EINVAL), error)) => {
                    log::debug!("no batches, walking the flow map instead: {error}");
                    self.in_batches = false;
                }
                Err((_, error)) => return Err(failed(&error)),
            }
        }
        self.walk(found)
    }

    /// Keys first: deleting while walking would send the walk back to its start
    /// (`htab_map_get_next_key` in the kernel's `kernel/bpf/hashtab.c`).
    fn walk(&mut self, found: &mut u64) -> Result<(), SourceError> {
        let keys = self.flows.keys().collect::<Result<Vec<_>, _>>();
        for key in keys.map_err(|error| failed(&error))? {
            let Sight { first, seen } = self.flows.get(&key, 0).map_err(|error| failed(&error))?;
            self.flows.remove(&key).map_err(|error| failed(&error))?;
            self.held_back.add(Flow { key, seen }, first);
            *found += 1;
        }
        Ok(())
    }
}

/// By the clock of `bpf_ktime_get_ns`.
fn now() -> Nanoseconds {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds * 1_000_000_000 + nanoseconds
}

fn failed(error: &impl Display) -> SourceError {
    SourceError::failed("reading the flow map", error)
}
