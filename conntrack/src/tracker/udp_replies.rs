//! The UDP reply rule by ports. UDP has no packet that opens a conversation, so what is an answer has to
//! be told from what was seen before it.

use conntrack_common::rules::FIRST_USER_PORT;

/// The system ports that the device has sent requests to.
#[derive(Debug)]
pub(super) struct UdpReplies {
    requested: [bool; FIRST_USER_PORT as usize],
}

impl Default for UdpReplies {
    fn default() -> Self {
        Self { requested: [false; FIRST_USER_PORT as usize] }
    }
}

impl UdpReplies {
    /// Ports that are no system ports are ignored.
    pub(super) fn new(requested_ports: impl IntoIterator<Item = u16>) -> Self {
        let mut replies = Self::default();
        for port in requested_ports {
            replies.request_to(port);
        }
        replies
    }

    /// The device has sent a request to this port.
    pub(super) fn request_to(&mut self, port: u16) {
        if let Some(requested) = self.requested.get_mut(usize::from(port)) {
            *requested = true;
        }
    }

    /// Whether what comes from this port is an answer.
    pub(super) fn is_answer_from(&self, port: u16) -> bool {
        self.requested.get(usize::from(port)).is_some_and(|requested| *requested)
    }
}
