//! Order across drains.
//!
//! While a drain walks the kernel's map, packets keep coming: a reply can be found in this walk whose
//! request went into a part of the map that was already passed, and will be found by the next. So a
//! flow that was first seen after the walk began waits for the next batch, and stands there in its
//! place by first sight.

use std::collections::HashMap;

use conntrack_common::{
    flow::FlowKey,
    seen::{Flow, Seen, Sender},
};

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(super) type Nanoseconds = u64;

/// Flows that were taken out of the map and not yet handed out.
#[derive(Debug, Default)]
pub(super) struct HoldBack {
    /// Held back once. Few: what came while a walk was going on.
    waiting: HashMap<FlowKey, (Nanoseconds, Flow)>,
    /// Added since. A walk meets each flow once.
    found: Vec<(Nanoseconds, Flow)>,
    /// Further control groups of flows. They go out with their flow, or after it.
    senders: Vec<Sender>,
}

impl HoldBack {
    /// Adds a flow that a walk has found.
    pub(super) fn add(&mut self, flow: Flow, first_seen: Nanoseconds) {
        if self.waiting.is_empty() {
            self.found.push((first_seen, flow));
            return;
        }
        // A flow that waits and is seen again keeps its first sight.
        match self.waiting.get_mut(&flow.key) {
            Some((_, waiting)) => {
                waiting.seen |= flow.seen;
                let (first, later) = (waiting.cgroup, flow.cgroup);
                if first == 0 {
                    waiting.cgroup = later;
                } else if later != 0 && later != first {
                    self.add_sender(Sender { key: flow.key, cgroup: later });
                }
            }
            None => self.found.push((first_seen, flow)),
        }
    }

    /// Adds a further control group of a flow that is in the map, or was a moment ago.
    pub(super) fn add_sender(&mut self, sender: Sender) {
        self.senders.push(sender);
    }

    /// What may be handed out after a walk that began at `start`, oldest first. Nothing waits twice,
    /// whatever the clock says: in a time namespace ours may be behind the kernel's.
    pub(super) fn due(&mut self, start: Nanoseconds) -> Vec<Flow> {
        let (mut due, waited) = self.take();
        let late = due.extract_if(waited.., |(first_seen, _)| *first_seen > start);
        self.waiting.extend(late.map(|(first_seen, flow)| (flow.key, (first_seen, flow))));
        let waiting = &self.waiting;
        let senders = self.senders.extract_if(.., |sender| !waiting.contains_key(&sender.key));
        let senders: Vec<_> = senders.map(sent).collect();
        oldest_first(due, senders)
    }

    /// Everything, oldest first.
    pub(super) fn all(&mut self) -> Vec<Flow> {
        let senders = std::mem::take(&mut self.senders);
        oldest_first(self.take().0, senders.into_iter().map(sent))
    }

    /// What waited, then what was found; and how many waited.
    fn take(&mut self) -> (Vec<(Nanoseconds, Flow)>, usize) {
        let waiting = self.waiting.drain();
        let mut all: Vec<_> = waiting.map(|(_, waited)| waited).collect();
        let waited = all.len();
        all.append(&mut self.found);
        (all, waited)
    }
}

/// Flows in the order of first sight, then who else sent packets of them.
fn oldest_first(
    mut flows: Vec<(Nanoseconds, Flow)>,
    senders: impl IntoIterator<Item = Flow>,
) -> Vec<Flow> {
    flows.sort_unstable_by_key(|(first_seen, _)| *first_seen);
    flows.into_iter().map(|(_, flow)| flow).chain(senders).collect()
}

/// A flow of which nothing is known but who sent it.
fn sent(Sender { key, cgroup }: Sender) -> Flow {
    Flow { cgroup, ..Flow::of(key, Seen::default()) }
}

#[cfg(test)]
mod tests {
    use conntrack_common::{address::Address, flow::Protocol};

    use super::*;

    fn flow(port: u16) -> Flow {
        let end = (Address::default(), port);
        Flow::opened(FlowKey::new(Protocol::Udp, end, end))
    }

    #[test]
    fn a_batch_is_in_the_order_of_first_sight() {
        let mut held_back = HoldBack::default();
        for (port, first_seen) in [(1, 30), (2, 10), (3, 20)] {
            held_back.add(flow(port), first_seen);
        }
        assert_eq!(held_back.due(100), [flow(2), flow(3), flow(1)]);
    }

    #[test]
    fn an_answer_does_not_overtake_its_request() {
        let request = flow(1);
        let answer = flow(2);
        let mut held_back = HoldBack::default();
        // The walk begins at 10, misses the request of 11 and meets the answer of 12.
        held_back.add(answer, 12);
        assert_eq!(held_back.due(10), []);
        held_back.add(request, 11);
        assert_eq!(held_back.due(20), [request, answer]);
    }

    #[test]
    fn a_flow_that_waits_keeps_its_first_sight() {
        let mut held_back = HoldBack::default();
        held_back.add(flow(1), 12);
        assert_eq!(held_back.due(10), []);
        held_back.add(flow(1), 25);
        held_back.add(flow(2), 15);
        assert_eq!(held_back.due(20), [flow(1), flow(2)]);
        assert_eq!(held_back.due(30), [], "and is handed out once");
    }

    #[test]
    fn nothing_waits_twice() {
        let mut held_back = HoldBack::default();
        held_back.add(flow(1), 1_000);
        assert_eq!(held_back.due(1), []);
        assert_eq!(held_back.due(2), [flow(1)]);
    }

    #[test]
    fn at_the_end_nothing_waits() {
        let mut held_back = HoldBack::default();
        held_back.add(flow(1), 12);
        assert_eq!(held_back.due(10), []);
        held_back.add(flow(2), 11);
        assert_eq!(held_back.all(), [flow(2), flow(1)]);
        assert_eq!(held_back.all(), []);
    }
}
