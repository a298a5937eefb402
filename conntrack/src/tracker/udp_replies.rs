//! The UDP reply rule. UDP has no opening packet, so what is an answer has to be told from what
//! was seen before.

use std::collections::BTreeSet;

use conntrack_common::{flow::FlowKey, rules::FIRST_USER_PORT};

use crate::connection::Direction;

/// The system ports that the device has sent requests to.
#[derive(Debug)]
pub(super) struct UdpReplies {
    requested: [bool; FIRST_USER_PORT as usize],
}

impl UdpReplies {
    /// Ports that are no system ports are ignored.
    pub(super) fn new(requested_ports: impl IntoIterator<Item = u16>) -> Self {
        let mut replies = Self { requested: [false; FIRST_USER_PORT as usize] };
        for port in requested_ports {
            replies.request_to(port);
        }
        replies
    }

    /// Whether a UDP flow is recorded: not if it is the answer of a local server, and not if it
    /// comes from a port that the device has sent a request to.
    pub(super) fn is_recorded(
        &mut self,
        flow: &FlowKey,
        direction: Direction,
        local_servers: &BTreeSet<u16>,
    ) -> bool {
        match direction {
            Direction::Out if local_servers.contains(&flow.src_port()) => false,
            Direction::Out => {
                self.request_to(flow.dst_port());
                true
            }
            Direction::In => !self.is_answer_from(flow.src_port()),
            Direction::Else => true,
        }
    }

    fn request_to(&mut self, port: u16) {
        if let Some(requested) = self.requested.get_mut(usize::from(port)) {
            *requested = true;
        }
    }

    fn is_answer_from(&self, port: u16) -> bool {
        self.requested.get(usize::from(port)).is_some_and(|requested| *requested)
    }
}
