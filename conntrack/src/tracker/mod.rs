//! From flow keys to connections: direction, the UDP reply rule, INTERNET and PORT folding.
//!
//! Synchronous and pure: no I/O, no clock, no tasks. It is fed distinct flow keys in the order in
//! which their first packets were seen; that order decides which UDP flows are replies.

mod fold;
mod scope;
mod udp_replies;

use std::{collections::BTreeSet, net::IpAddr};

use conntrack_common::{
    address::Address,
    flow::{FlowKey, Protocol},
    policy::{Policy, Wanted},
    rules,
    seen::Flow,
};
pub use scope::Scope;
use udp_replies::UdpReplies;

use crate::connection::{Connection, Direction, Sighting};

/// Which IP versions are of interest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Both.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Family {
    fn contains(self, address: &Address) -> bool {
        let other = if address.is_v4() { Self::V6 } else { Self::V4 };
        self != other
    }
}

/// What the user asked of the tracker.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which IP versions are of interest.
    pub family: Family,
    /// Leave out connections that are neither of nor to the device.
    pub skip_else: bool,
    /// Name the internet hosts that open connections to the device one by one.
    pub no_internet_in: bool,
    /// Name the internet hosts that the device opens connections to one by one.
    pub no_internet_out: bool,
    /// UDP ports of servers on the device: what they send are answers.
    pub udp_servers: BTreeSet<u16>,
    /// Which addresses are the internet.
    pub scope: Scope,
}

/// Turns flow keys into connections.
#[derive(Debug)]
pub struct Tracker {
    settings: Settings,
    local: BTreeSet<Address>,
    replies: UdpReplies,
}

impl Tracker {
    /// A tracker that knows the UDP ports of outgoing requests that an earlier run recorded, so
    /// that their answers are not taken for incoming connections.
    pub fn new(settings: Settings, requested_ports: impl IntoIterator<Item = u16>) -> Self {
        let replies = UdpReplies::new(requested_ports);
        Self { settings, local: BTreeSet::new(), replies }
    }

    /// Sets the addresses of the watched device, of both families.
    pub fn set_local_addresses(&mut self, local: &BTreeSet<IpAddr>) {
        self.local = local.iter().copied().map(Address::from).collect();
    }

    /// What sources need to know of these rules to spare work, when these addresses are local.
    pub fn policy(&self, local: &BTreeSet<IpAddr>) -> Policy {
        let settings = &self.settings;
        let wanted = Wanted {
            v4: settings.family != Family::V6,
            v6: settings.family != Family::V4,
            else_flows: !settings.skip_else,
            internet_in: settings.no_internet_in,
            internet_out: settings.no_internet_out,
        };
        let local = local.iter().copied().map(Address::from);
        let udp_servers = settings.udp_servers.iter().copied();
        Policy::new(local, settings.scope.internal(), udp_servers, wanted)
    }

    /// What this flow shows of a connection, or `None` where the rules say that it is not recorded.
    pub fn track(&mut self, flow: &Flow) -> Option<Sighting> {
        let connection = self.connection(&flow.key)?;
        Some(Sighting::opened(connection))
    }

    /// A coarse flow keeps the direction that was found when its packet was seen.
    fn connection(&mut self, flow: &FlowKey) -> Option<Connection> {
        if !self.settings.family.contains(&flow.src()) {
            return None;
        }
        let protocol = flow.protocol()?;
        let found = || rules::direction(flow, |address| self.local.contains(address));
        let direction = flow.direction().unwrap_or_else(found);
        if direction == Direction::Else && self.settings.skip_else {
            return None;
        }
        if protocol == Protocol::Udp
            && !self.replies.is_recorded(flow, direction, &self.settings.udp_servers)
        {
            return None;
        }
        Some(fold::connection(flow, protocol, direction, &self.settings))
    }
}
