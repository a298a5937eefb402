//! Draining: taking the flows out of the kernel's map, for [`HoldBack`] to put in order.

use std::{fmt::Display, io, os::fd::AsFd as _, time::Duration};

use aya::{
    Ebpf,
    maps::{Array, HashMap, IterableMap as _, MapData},
};
use conntrack_common::{
    counters::NewFlows,
    flow::FlowKey,
    policy::Policy,
    seen::{Flow, Sender, Sight},
};
use rustix::{
    io::Errno,
    time::{ClockId, clock_gettime},
};

use super::{
    control::ControlMaps,
    hold_back::{HoldBack, Nanoseconds},
    load::map,
    syscalls::Taking,
};
use crate::source::{Drained, SourceError};

/// The maps of the loaded programs, and what was held back.
pub(super) struct Drain {
    flows: HashMap<MapData, FlowKey, Sight>,
    /// Further control groups that sent packets of a flow.
    senders: HashMap<MapData, Sender, u8>,
    /// How many were put into the map since the last drain, and whether that woke us.
    new_flows: Array<MapData, NewFlows>,
    control: ControlMaps,
    held_back: HoldBack,
    /// How many drains in a row were put off before their end.
    put_off: u32,
    drained: Drained,
}

impl Drain {
    /// Takes the maps out of the loaded object, whose flow map has room for `max_flows`.
    pub(super) fn new(ebpf: &mut Ebpf, max_flows: u32) -> Result<Self, SourceError> {
        Ok(Self {
            flows: map(ebpf, "FLOWS")?,
            senders: map(ebpf, "SENDERS")?,
            new_flows: map(ebpf, "NEW_FLOWS")?,
            control: ControlMaps::new(ebpf)?,
            held_back: HoldBack::default(),
            put_off: 0,
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

    /// Has the programs look anew at each flow that they meet.
    pub(super) fn refresh(&mut self) -> Result<(), SourceError> {
        self.control.forget_recent()
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

    /// How that went.
    pub(super) const fn drained(&self) -> Drained {
        self.drained
    }

    /// Moves every entry out of the map.
    fn take_all(&mut self) -> Result<(), SourceError> {
        let start = now();
        let mut found = 0;
        self.move_senders();
        let taken = self.move_all(&mut found);
        let took = Duration::from_nanos(now().saturating_sub(start));
        self.drained.count(found, took);
        taken
    }

    /// Before the flows: so each of these has its flow in the map still, or had in a batch before. Few, and
    /// what an error leaves is taken with the next drain.
    fn move_senders(&mut self) {
        let map = self.senders.map().fd().as_fd();
        let mut taking = Taking::with_room(SENDERS);
        let taken = loop {
            match taking.take(map, |sender, _: u8| self.held_back.add_sender(sender)) {
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOSPC) => {
                    taking.double_room();
                }
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        if Errno::from_io_error(&taken) != Some(Errno::NOENT) {
            log::debug!("control groups of flows wait for the next drain: {taken}");
        }
    }

    /// What the kernel handed out before an error counts. An error that may pass, as its own locks and
    /// memory may make one, leaves the rest for the next drain, until it comes too often in a row.
    fn move_all(&mut self, found: &mut u64) -> Result<(), SourceError> {
        let map = self.flows.map().fd().as_fd();
        let mut taking = Taking::with_room(ENTRIES);
        let mut tries = 0;
        loop {
            let taken = taking.take(map, |key, Sight { first, seen, cgroup }| {
                self.held_back.add(Flow { cgroup, ..Flow::of(key, seen) }, first);
                *found += 1;
            });
            match taken.map_err(|error| (Errno::from_io_error(&error), error)) {
                Ok(()) | Err((Some(Errno::INTR), _)) => {}
                Err((Some(Errno::NOENT), _)) => break,
                Err((Some(Errno::NOSPC), _)) => taking.double_room(),
                Err((Some(errno), error)) if may_pass(errno) => {
                    tries += 1;
                    if tries == TRIES {
                        return self.put_off(&error);
                    }
                }
                Err((_, error)) => return Err(failed(&error)),
            }
        }
        self.put_off = 0;
        Ok(())
    }

    fn put_off(&mut self, error: &io::Error) -> Result<(), SourceError> {
        self.put_off += 1;
        log::debug!("what is left in the flow map waits for the next drain: {error}");
        if self.put_off == TRIES { Err(failed(error)) } else { Ok(()) }
    }
}

/// Entries that are asked for at once; more where a bucket of the map has more.
const ENTRIES: usize = 4096;

/// Further control groups that are asked for at once.
const SENDERS: usize = 256;

/// In one drain, and drains in a row.
const TRIES: u32 = 3;

/// Whether a drain may go on after this error: the bucket's lock was taken (EBUSY; Linux 6.15 and later
/// also EDEADLK and ETIMEDOUT), or there was no memory to copy by. EFAULT does not come with pointers as
/// good as ours; if somebody makes one of another result, nothing is lost by going on.
fn may_pass(errno: Errno) -> bool {
    let passing =
        [Errno::BUSY, Errno::AGAIN, Errno::DEADLK, Errno::TIMEDOUT, Errno::NOMEM, Errno::FAULT];
    passing.contains(&errno)
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
