//! What the programs have counted: packets by outcome, and by device where several are watched.

use std::{cell::Cell, io, os::fd::AsFd as _};

use aya::{
    Ebpf,
    maps::{HashMap, IterableMap as _, MapData, PerCpuArray, PerCpuHashMap},
};
use conntrack_common::counters::{Counters, Outcome};
use rustix::io::Errno;

use super::{load::map, syscalls::per_cpu_values};
use crate::source::{
    SourceError,
    unread::{EtherType, Unread},
};

type PacketCounters = [u64; Outcome::COUNT as usize];

/// The counters of the loaded programs.
pub(super) struct Counted {
    packets: PerCpuArray<MapData, PacketCounters>,
    /// By the index of a device; none where only one is watched.
    passed: Option<PerCpuHashMap<MapData, u32, u64>>,
    /// Frames by the `EtherType` that led to no IP.
    unread: HashMap<MapData, u16, u64>,
    /// Whether it was said that the packet counters cannot be read.
    is_blind: Cell<bool>,
}

impl Counted {
    /// Takes the maps out of the loaded object.
    pub(super) fn new(ebpf: &mut Ebpf, by_device: bool) -> Result<Self, SourceError> {
        Ok(Self {
            packets: map(ebpf, "COUNTERS")?,
            passed: by_device.then(|| map(ebpf, "PASSED")).transpose()?,
            unread: map(ebpf, "UNREAD")?,
            is_blind: Cell::new(false),
        })
    }

    /// Packets by outcome; `None` where they cannot be read, which is said once.
    pub(super) fn packets(&self) -> Option<Counters> {
        let values = per_cpu_values::<PacketCounters>(self.packets.map().fd().as_fd(), 0);
        let was_blind = self.is_blind.replace(values.is_err());
        match values {
            Ok(values) => {
                let mut packets = Counters::default();
                for counters in &values {
                    packets.add(counters);
                }
                Some(packets)
            }
            Err(error) => {
                if !was_blind {
                    log::warn!("cannot read the packet counters, so they are unknown: {error}");
                }
                None
            }
        }
    }

    /// Packets that passed the device of this index since it is watched; `None` where that is unknown.
    pub(super) fn passed(&self, device: u32) -> Option<u64> {
        let Some(passed) = &self.passed else { return Some(self.packets()?.packets()) };
        match per_cpu_values::<u64>(passed.map().fd().as_fd(), device) {
            Ok(values) => Some(values.iter().sum()),
            Err(error) if is_nothing_there(&error) => Some(0),
            Err(_unknown) => None,
        }
    }

    /// Counts anew what passes the device of this index.
    pub(super) fn forget(&mut self, device: u32) {
        if let Some(passed) = &mut self.passed {
            // Where nothing passed, nothing is there.
            let _was_there = passed.remove(&device);
        }
    }

    pub(super) fn unread(&self) -> Unread {
        let mut unread = Unread::default();
        // An entry that cannot be read is one less to name; how many there are is counted elsewhere.
        for (ether_type, frames) in self.unread.iter().flatten() {
            unread.count(EtherType(ether_type), frames);
        }
        unread
    }
}

fn is_nothing_there(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NOENT)
}
