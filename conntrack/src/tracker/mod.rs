//! From flow keys to connections: direction, the UDP reply rule, INTERNET and PORT folding.
//!
//! Synchronous and pure: no I/O, no clock, no tasks. It is fed distinct flow keys in the order in
//! which their first packets were seen; that order decides which UDP flows are replies.

mod fold;
mod scope;
mod settings;
mod udp_replies;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use conntrack_common::{
    address::Address,
    flow::{FlowKey, Protocol},
    policy::{Policy, Wanted},
    rules,
    seen::{Flow, Seen},
};
pub use scope::Scope;
pub use settings::{Family, Settings, UdpDirection};
use udp_replies::UdpReplies;

use crate::connection::{Direction, Evidence, Sighting, Whose};

/// Turns flow keys into connections.
#[derive(Debug)]
pub struct Tracker {
    settings: Settings,
    local: BTreeSet<Address>,
    replies: UdpReplies,
}

impl Tracker {
    /// A tracker that knows the UDP ports of outgoing requests that an earlier run recorded, so
    /// that their answers are not taken for incoming connections. Pairs have no use for them.
    pub fn new(settings: Settings, requested_ports: impl IntoIterator<Item = u16>) -> Self {
        let replies = match settings.udp_direction {
            UdpDirection::Ports => UdpReplies::new(requested_ports),
            UdpDirection::Pairs => UdpReplies::default(),
        };
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

    /// What the flows of a batch show of connections, as far as the rules record them.
    ///
    /// The first batch of a source begins in the middle of conversations: there, a request to a system
    /// port makes answers of what came from that port, also before it.
    pub fn track_batch(&mut self, flows: &[Flow], is_first: bool) -> Vec<Sighting> {
        if is_first {
            self.look_ahead(flows);
        }
        let sightings = flows.iter().filter_map(|flow| self.track(flow)).collect();
        if is_first && self.settings.udp_direction == UdpDirection::Pairs {
            self.replies = UdpReplies::default();
        }
        sightings
    }

    fn look_ahead(&mut self, flows: &[Flow]) {
        for flow in flows.iter().filter(|flow| flow.key.is_udp() && flow.seen.has_packet()) {
            if self.direction(&flow.key) == Direction::Out {
                self.replies.request_to(flow.key.dst_port());
            }
        }
    }

    /// What this flow shows of a connection, or `None` where the rules say that it is not recorded.
    pub fn track(&mut self, flow: &Flow) -> Option<Sighting> {
        let Flow { key, seen, .. } = flow;
        let settings = &self.settings;
        if !settings.family.contains(&key.src()) {
            return None;
        }
        let protocol = key.protocol()?;
        let direction = self.direction(key);
        if direction == Direction::Else && settings.skip_else {
            return None;
        }
        let connection = fold::connection(key, protocol, direction, &self.settings);
        let whose = whose(flow, direction);
        if protocol == Protocol::Udp && !self.is_recorded(flow, direction) {
            // Its file may be there from before. Then that it was answered counts all the same.
            let evidence = evidence(*seen).filter(|word| *word > Evidence::Reply);
            let sighting = Sighting { evidence, ..Sighting::only_whose(connection, whose) };
            return evidence.is_some().then_some(sighting);
        }
        let opens = seen.contains(Seen::OPENS);
        // With pairs, an answer shows nothing of its own.
        let answers_show = self.settings.udp_direction == UdpDirection::Ports;
        let has_packet = opens || answers_show && seen.has_packet();
        Some(Sighting { connection, has_packet, opens, evidence: evidence(*seen), whose })
    }

    /// A coarse flow keeps the direction that was found when its packet was seen.
    fn direction(&self, key: &FlowKey) -> Direction {
        let found = || rules::direction(key, |address| self.local.contains(address));
        key.direction().unwrap_or_else(found)
    }

    fn is_recorded(&mut self, flow: &Flow, direction: Direction) -> bool {
        let Self { settings, replies, .. } = self;
        match direction {
            Direction::Out if settings.udp_servers.contains(&flow.key.src_port()) => false,
            Direction::Out => {
                if settings.udp_direction == UdpDirection::Ports && flow.seen.has_packet() {
                    replies.request_to(flow.key.dst_port());
                }
                true
            }
            Direction::In => !replies.is_answer_from(flow.key.src_port()),
            Direction::Else => true,
        }
    }
}

/// What tells whose a flow is.
fn whose(flow: &Flow, direction: Direction) -> Whose {
    let Flow { key, cgroup, remote, port, .. } = flow;
    if *cgroup != 0 {
        return Whose::Cgroup(*cgroup);
    }
    let end = |address: Address, port| SocketAddr::new(address.ip(), port);
    match direction {
        Direction::In => {
            let local = end(key.dst(), key.dst_port());
            let anybody = if local.is_ipv4() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED)
            } else {
                IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            };
            Whose::Socket { local, remote: SocketAddr::new(anybody, 0) }
        }
        Direction::Out if *port != 0 => {
            let (local, remote) = (end(key.src(), *port), end(*remote, key.dst_port()));
            Whose::Socket { local, remote }
        }
        Direction::Out | Direction::Else => Whose::Unknown,
    }
}

/// The strongest word that was seen of a flow.
const fn evidence(seen: Seen) -> Option<Evidence> {
    if seen.contains(Seen::ANSWERED) {
        Some(Evidence::Answered)
    } else if seen.contains(Seen::REFUSED) {
        Some(Evidence::Refused)
    } else if seen.contains(Seen::REPLIES) && !seen.contains(Seen::OPENS) {
        Some(Evidence::Reply)
    } else {
        None
    }
}
