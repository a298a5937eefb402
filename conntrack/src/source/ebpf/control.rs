//! What the agent tells the programs while they run: the policy, and that what they remember is void.
//!
//! A policy is more than one write, so there are two: one is in force while the other is written. The
//! switch is written at once; a program that sees half of it looks a flow up once too often.

use aya::{
    Ebpf,
    maps::{Array, MapData, MapError},
};
use conntrack_common::policy::{Control, POLICIES, Policy};

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
        let (policies, control) = (map(ebpf, "POLICY")?, map(ebpf, "CONTROL")?);
        Ok(Self { policies, control, current: Control::default() })
    }

    pub(super) fn set_policy(&mut self, policy: &Policy) -> Result<(), SourceError> {
        let other = (self.current.policy + 1) % POLICIES;
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

fn failed(error: &MapError) -> SourceError {
    SourceError::failed("writing to the programs' maps", error)
}
