//! The flow cache: what the kernel's flow map is to eBPF, for frames that come to user space.

use std::collections::HashSet;

use conntrack_common::{
    counters::{Counters, Loss, Outcome},
    flow::FlowKey,
    rules,
    wire::{LinkLayer, PacketBytes},
};

/// Distinct flows since they were last taken, in the order of their first packets.
#[derive(Debug)]
pub(super) struct FlowCache {
    known: HashSet<FlowKey>,
    flows: Vec<FlowKey>,
    max_flows: usize,
    counters: Counters,
}

impl FlowCache {
    /// A cache that keeps at most `max_flows`.
    pub(super) fn new(max_flows: usize) -> Self {
        Self { known: HashSet::new(), flows: Vec::new(), max_flows, counters: Counters::default() }
    }

    /// Looks at one frame.
    pub(super) fn observe(&mut self, frame: &(impl PacketBytes + ?Sized), link: LinkLayer) {
        let outcome = match rules::flow_key(frame, link) {
            Ok(key) => self.keep(key),
            Err(skip) => Outcome::Skipped(skip),
        };
        self.counters.count(outcome);
    }

    /// The flows, leaving none.
    pub(super) fn take(&mut self) -> Vec<FlowKey> {
        self.known.clear();
        std::mem::take(&mut self.flows)
    }

    /// Whether there is no room for another flow.
    pub(super) fn is_full(&self) -> bool {
        self.flows.len() >= self.max_flows
    }

    /// Frames by outcome, since the beginning.
    pub(super) const fn counters(&self) -> Counters {
        self.counters
    }

    fn keep(&mut self, key: FlowKey) -> Outcome {
        if self.known.contains(&key) {
            return Outcome::Flow;
        }
        if self.is_full() {
            return Outcome::Lost(Loss::MapFull);
        }
        self.known.insert(key);
        self.flows.push(key);
        Outcome::Flow
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn datagram(src_port: u16) -> Vec<u8> {
        let mut packet = Vec::new();
        PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(src_port, 53)
            .write(&mut packet, &[])
            .expect("a Vec takes every byte");
        packet
    }

    fn ports(flows: &[FlowKey]) -> Vec<u16> {
        flows.iter().map(FlowKey::src_port).collect()
    }

    #[test]
    fn flows_are_distinct_and_in_the_order_of_their_first_packets() {
        let mut cache = FlowCache::new(10);
        for port in [3, 1, 3, 2, 1] {
            cache.observe(&datagram(port)[..], LinkLayer::Ip);
        }
        assert_eq!(ports(&cache.take()), [3, 1, 2]);
        assert_eq!(cache.counters().get(Outcome::Flow), 5);

        cache.observe(&datagram(3)[..], LinkLayer::Ip);
        assert_eq!(ports(&cache.take()), [3]);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut cache = FlowCache::new(2);
        for port in [1, 2, 3, 1] {
            cache.observe(&datagram(port)[..], LinkLayer::Ip);
        }
        assert_eq!(ports(&cache.take()), [1, 2]);
        assert_eq!(cache.counters().get(Outcome::Lost(Loss::MapFull)), 1);
        assert_eq!(cache.counters().packets(), 4);
    }
}
