//! The ports that a machine takes source ports from (`ip_local_port_range`), and those that were named as servers'.
//! Of several recordings, each for its own addresses.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use super::vocabulary::PortRange;
use crate::{
    recording::{Part, Recording},
    tree::Provenance,
};

/// Linux's, unless told otherwise.
const USUAL: PortRange = PortRange { first: 32_768, last: 60_999 };

/// Those of the machine that was recorded; of several, from the lowest to the highest.
pub(crate) fn ephemeral_ports(recording: &Recording) -> PortRange {
    let ranges = recording.parts.iter().map(|it| range(it.provenance.as_ref()));
    let widest = ranges.reduce(|one, other| PortRange {
        first: one.first.min(other.first),
        last: one.last.max(other.last),
    });
    widest.unwrap_or_else(|| range(recording.provenance.as_ref()))
}

fn range(provenance: Option<&Provenance>) -> PortRange {
    let recorded = provenance.and_then(|it| it.ip_local_port_range);
    let recorded = recorded.map(|(first, last)| PortRange { first, last });
    recorded.filter(|range| range.first <= range.last).unwrap_or(USUAL)
}

/// What ports are to the machines that were recorded.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    /// Of all machines, and of what is between others.
    all: OfMachine,
    /// Where machines differ, by their own addresses. Two may have the same.
    by_address: HashMap<IpAddr, Vec<OfMachine>>,
}

/// What ports are to one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OfMachine {
    ephemeral: PortRange,
    /// UDP ports of servers.
    servers: BTreeSet<u16>,
}

impl OfMachine {
    fn of(provenance: Option<&Provenance>) -> Self {
        let servers = provenance.map(|it| it.udp_in.iter().copied().collect());
        Self { ephemeral: range(provenance), servers: servers.unwrap_or_default() }
    }
}

impl Ports {
    pub(super) fn of(recording: &Recording) -> Self {
        let all = OfMachine {
            ephemeral: ephemeral_ports(recording),
            ..OfMachine::of(recording.provenance.as_ref())
        };
        let of_part = |part: &Part| OfMachine::of(part.provenance.as_ref());
        let mut by_address = HashMap::<_, Vec<_>>::new();
        if recording.parts.iter().any(|part| of_part(part) != all) {
            for part in &recording.parts {
                for address in &part.own {
                    by_address.entry(*address).or_default().push(of_part(part));
                }
            }
        }
        Self { all, by_address }
    }

    /// Whether the machine with this address takes source ports from here; of several with it, whether one does.
    pub(super) fn is_ephemeral(&self, own: Option<IpAddr>, port: u16) -> bool {
        self.machines(own).iter().any(|it| it.ephemeral.contains(port))
    }

    /// Whether this UDP port was named as a server's there.
    pub(super) fn is_of_server(&self, own: Option<IpAddr>, port: u16) -> bool {
        self.machines(own).iter().any(|it| it.servers.contains(&port))
    }

    fn machines(&self, own: Option<IpAddr>) -> &[OfMachine] {
        let machines = own.and_then(|own| self.by_address.get(&own));
        machines.map_or(std::slice::from_ref(&self.all), Vec::as_slice)
    }
}
