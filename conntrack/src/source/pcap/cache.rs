//! The flow cache: what the kernel's flow map is to eBPF, for frames that come to user space.

use std::{collections::HashSet, time::Instant};

use conntrack_common::{
    counters::{Counters, Loss, Outcome},
    flow::FlowKey,
    policy::Policy,
    rules,
    seen::Flow,
    wire::{self, LinkLayer, PacketBytes, Skip},
};

use crate::source::{
    Drained, SourceCounters,
    unread::{EtherType, Unread},
};

/// Distinct flows since they were last taken, in the order of their first packets.
#[derive(Debug)]
pub(super) struct FlowCache {
    known: HashSet<FlowKey>,
    flows: Vec<Flow>,
    max_flows: usize,
    policy: Box<Policy>,
    counters: Counters,
    unread: Unread,
    drained: Drained,
}

impl FlowCache {
    /// A cache that keeps at most `max_flows`, coarse ones under this policy.
    pub(super) fn new(max_flows: usize, policy: &Policy) -> Self {
        Self {
            known: HashSet::new(),
            flows: Vec::new(),
            max_flows,
            policy: Box::new(*policy),
            counters: Counters::default(),
            unread: Unread::default(),
            drained: Drained::of(max_flows as u64),
        }
    }

    /// From now on, this policy is in force.
    pub(super) fn set_policy(&mut self, policy: &Policy) {
        *self.policy = *policy;
    }

    /// Looks at one frame.
    pub(super) fn observe(&mut self, frame: &(impl PacketBytes + ?Sized), link: LinkLayer) {
        let coarse = |mut key| rules::coarsen(&mut key, &self.policy).map(|()| key);
        let outcome = match rules::flow_key(frame, link).and_then(coarse) {
            Ok(key) => self.keep(key),
            Err(skip) => Outcome::Skipped(skip),
        };
        self.counters.count(outcome);
        if outcome == Outcome::Skipped(Skip::NotIp)
            && let Some(ether_type) = wire::dead_end(frame, link)
        {
            self.unread.count(EtherType(ether_type), 1);
        }
    }

    /// The flows, leaving none.
    pub(super) fn take(&mut self) -> Vec<Flow> {
        let start = Instant::now();
        self.known.clear();
        let flows = std::mem::take(&mut self.flows);
        self.drained.count(flows.len() as u64, start.elapsed());
        flows
    }

    /// Whether there is no room for another flow.
    pub(super) fn is_full(&self) -> bool {
        self.flows.len() >= self.max_flows
    }

    /// Whether it is time to take them.
    pub(super) fn is_half_full(&self) -> bool {
        self.flows.len() >= self.max_flows.div_ceil(2)
    }

    /// What was counted since the beginning; what libpcap dropped, it does not know.
    pub(super) const fn counters(&self) -> SourceCounters {
        let (packets, unread) = (self.counters, self.unread);
        SourceCounters { packets, dropped: 0, unread, drained: self.drained }
    }

    fn keep(&mut self, key: FlowKey) -> Outcome {
        if self.known.contains(&key) {
            return Outcome::Flow;
        }
        if self.is_full() {
            return Outcome::Lost(Loss::MapFull);
        }
        self.known.insert(key);
        self.flows.push(Flow::opened(key));
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

    fn ports(flows: &[Flow]) -> Vec<u16> {
        flows.iter().map(|flow| flow.key.src_port()).collect()
    }

    #[test]
    fn flows_are_distinct_and_in_the_order_of_their_first_packets() {
        let mut cache = FlowCache::new(10, &Policy::NONE);
        for port in [3, 1, 3, 2, 1] {
            cache.observe(&datagram(port)[..], LinkLayer::Ip);
        }
        assert_eq!(ports(&cache.take()), [3, 1, 2]);
        assert_eq!(cache.counters().packets.get(Outcome::Flow), 5);

        cache.observe(&datagram(3)[..], LinkLayer::Ip);
        assert_eq!(ports(&cache.take()), [3]);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut cache = FlowCache::new(2, &Policy::NONE);
        for port in [1, 2, 3, 1] {
            cache.observe(&datagram(port)[..], LinkLayer::Ip);
        }
        assert_eq!(ports(&cache.take()), [1, 2]);
        assert_eq!(cache.counters().packets.get(Outcome::Lost(Loss::MapFull)), 1);
        assert_eq!(cache.counters().packets.packets(), 4);
    }

    #[test]
    fn drains_are_counted_with_what_they_found() {
        let mut cache = FlowCache::new(10, &Policy::NONE);
        for ports in [[3, 1, 2].as_slice(), &[7]] {
            for port in ports {
                cache.observe(&datagram(*port)[..], LinkLayer::Ip);
            }
            cache.take();
            let drained = cache.counters().drained;
            assert_eq!((drained.capacity, drained.found), (10, ports.len() as u64));
            assert!(drained.last <= drained.total);
        }
        assert_eq!(cache.counters().drained.drains, 2);
    }
}
