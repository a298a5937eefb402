//! What the agent tells the programs while they run: the policy, and that what they remember is void.
//!
//! A policy is more than one write, so there are two: one is in force while the other is written, once no
//! program looks at it any more. The switch is written at once; a program that sees half of it looks a flow up once too often.

use std::{thread::sleep, time::Duration};

use aya::{
    Ebpf,
    maps::{Array, MapData, MapError},
};
use conntrack_common::policy::{Control, POLICIES, Policy};

use rustix::thread::{MembarrierCommand, membarrier};

use super::load::map;
use crate::source::SourceError;

pub(super) struct ControlMaps {
    policies: Array<MapData, Policy>,
    control: Array<MapData, Control>,
    current: Control,
}

impl ControlMaps {
    /// Takes the maps out of the loaded object; the policy in force clears nothing.
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, SourceError> {
        let policies = map(ebpf, "POLICY")?;
        let control = map(ebpf, "CONTROL")?;
        Ok(Self { policies, control, current: Control::default() })
    }

    pub(super) fn set_policy(&mut self, policy: &Policy) -> Result<(), SourceError> {
        let other = (self.current.policy + 1) % POLICIES;
        wait_for_programs();
        self.policies.set(other, policy, 0).map_err(|error| failed(&error))?;
        let before = self.current;
        self.current.policy = other;
        self.forget_recent().inspect_err(|_| self.current = before)
    }

    /// Has the programs look up anew each flow that they meet.
    pub(super) fn forget_recent(&mut self) -> Result<(), SourceError> {
        self.current.generation = self.current.generation.wrapping_add(1);
        self.control.set(0, self.current, 0).map_err(|error| failed(&error))
    }
}

/// Waits until every program that runs now has ended, on all CPUs: one may still look at the policy that
/// was in force before the present one. Programs run in an RCU section, and this command of
/// membarrier(2) waits for all of them (`kernel/sched/membarrier.c`). Where there are CPUs without a tick
/// (`nohz_full`) the kernel refuses it: then a program's few microseconds are waited for by the clock.
fn wait_for_programs() {
    const LONG_ENOUGH: Duration = Duration::from_millis(10);
    if let Err(errno) = membarrier(MembarrierCommand::Global) {
        log::debug!("no membarrier, waiting {LONG_ENOUGH:?} instead: {errno}");
        sleep(LONG_ENOUGH);
    }
}

fn failed(error: &MapError) -> SourceError {
    SourceError::failed("writing to the programs' maps", error)
}
