//! What the machine that is watched knows itself of its connections: the evidence that is not in packets,
//! and what was open before. That the kernel does not tell is said once.

use std::{collections::BTreeSet, io, net::IpAddr};

use conntrack_common::{policy::Policy, seen::Flow};

use super::{
    existing::{Existing, Untold},
    served,
    sockets::Sockets,
    units::UnitNames,
};
use crate::connection::{Direction, Host, Sighting};

/// The machine, while devices of it are watched.
pub struct Machine {
    sockets: Sockets,
    units: UnitNames,
    /// Whether what was open before is recorded.
    with_existing: bool,
    /// What was said of it last.
    untold: Untold,
    /// That the kernel does not tell was reported.
    warned: bool,
    /// Addresses of this machine that the user was told of.
    told: BTreeSet<IpAddr>,
}

impl Machine {
    /// The one that these devices are on.
    ///
    /// # Errors
    /// That its kernel cannot be asked for sockets.
    pub fn with(devices: &[String], with_existing: bool) -> io::Result<Self> {
        let untold = Untold::default();
        let told = BTreeSet::new();
        let (sockets, units) = (Sockets::at(devices)?, UnitNames::watched());
        Ok(Self { sockets, units, with_existing, untold, warned: false, told })
    }

    /// Gives sightings the evidence that they are served.
    pub(super) fn mark_served(&mut self, sightings: &mut [Sighting]) {
        match served::mark(sightings, &mut self.sockets) {
            Ok(asked) => self.warned &= !asked,
            Err(error) => self.warn(&error, "UDP that is not answered has no evidence"),
        }
    }

    /// Names the units of connections.
    pub(super) fn name_units(&mut self, sightings: &mut [Sighting]) {
        self.units.name(sightings, &mut self.sockets);
    }

    /// Says of which addresses of this machine there are connections in `else`: another device has them.
    pub(super) fn tell_own(&mut self, sightings: &[Sighting]) {
        let others = sightings.iter().map(|it| &it.connection);
        let others = others.filter(|it| it.direction == Direction::Else);
        let ends = others.flat_map(|it| [it.source, it.destination]);
        let ends: BTreeSet<IpAddr> = ends.filter_map(address).collect();
        if ends.is_subset(&self.told) {
            return;
        }
        let Ok(own) = self.sockets.own_addresses() else { return };
        for address in own.intersection(&ends) {
            if self.told.insert(*address) {
                log::warn!(
                    "{address} is an address of this machine, but not of a watched device: its connections are in \
                     else; --local {address} makes them in and out"
                );
            }
        }
    }

    /// The connections of these local addresses that are open, as if they had just been opened.
    pub(super) fn existing(&mut self, local: &BTreeSet<IpAddr>, policy: &Policy) -> Vec<Flow> {
        if !self.with_existing {
            return Vec::new();
        }
        match Existing::now(&mut self.sockets, local, policy) {
            Ok(existing) => {
                self.warned = false;
                if !existing.untold.is_empty() && existing.untold != self.untold {
                    log::warn!(
                        "open, not recorded, for it is not told who opened it: {}",
                        existing.untold
                    );
                }
                let flows = existing.flows();
                self.untold = existing.untold;
                flows
            }
            Err(error) => {
                self.warn(&error, "what was open before is not recorded");
                Vec::new()
            }
        }
    }

    fn warn(&mut self, error: &io::Error, consequence: &str) {
        if !std::mem::replace(&mut self.warned, true) {
            log::warn!("cannot list the sockets of this machine: {error}; {consequence}");
        }
    }
}

const fn address(host: Host) -> Option<IpAddr> {
    match host {
        Host::Address(address) => Some(address),
        Host::Internet => None,
    }
}
