//! The flow cache: the counterpart in user space of the kernel's flow map.

use std::{collections::HashMap, time::Instant};

use conntrack_common::{
    counters::{Counters, Loss, Outcome},
    flow::{Direction, FlowKey},
    pairs::{self, BUCKETS, Bucket, Place, Secret},
    policy::Policy,
    rules::{self, Packet, Says},
    seen::{Flow, Seen},
    wire::{self, LinkLayer, PacketBytes, Skip},
};

use crate::source::{
    self, Drained, SourceCounters, SourceError,
    unread::{EtherType, Unread},
};

/// Nanoseconds by the clock of the frames.
pub(super) type Nanoseconds = u64;

/// What a look at a frame found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observed {
    packet: Result<Packet, Skip>,
    /// The `EtherType` that led to no IP.
    unsupported_type: Option<u16>,
}

impl Observed {
    /// Looks at a frame.
    pub(super) fn of(frame: &(impl PacketBytes + ?Sized), link: LinkLayer) -> Self {
        let packet = rules::observe(frame, link);
        let is_other = packet == Err(Skip::NotIp);
        let unsupported_type = is_other.then(|| wire::unsupported_type(frame, link)).flatten();
        Self { packet, unsupported_type }
    }

    /// Why it says nothing, if it does not.
    #[cfg(test)]
    pub(super) fn skipped(&self) -> Option<Skip> {
        self.packet.err()
    }
}

/// Distinct flows since the last drain, in the order of their first packets.
#[derive(Debug)]
pub(super) struct FlowCache {
    /// Index of each flow in `flows`.
    known: HashMap<FlowKey, usize>,
    flows: Vec<Flow>,
    /// Number of `else` flows.
    others: usize,
    max_flows: usize,
    max_others: usize,
    pairs: Pairs,
    policy: Box<Policy>,
    counters: Counters,
    unread: Unread,
    drained: Drained,
}

impl FlowCache {
    /// An empty cache for at most `max_flows` coarse flows under this policy.
    ///
    /// # Errors
    /// The kernel's refusal of random numbers.
    pub(super) fn new(max_flows: u32, policy: &Policy) -> Result<Self, SourceError> {
        let usize_of = |number| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Self {
            known: HashMap::new(),
            flows: Vec::new(),
            others: 0,
            max_flows: usize_of(max_flows),
            max_others: usize_of(source::most_of_else(max_flows)),
            pairs: Pairs::new(source::secret()?),
            policy: Box::new(*policy),
            counters: Counters::default(),
            unread: Unread::default(),
            drained: Drained::of(max_flows.into()),
        })
    }

    /// Replaces the policy.
    pub(super) fn set_policy(&mut self, policy: &Policy) {
        *self.policy = *policy;
    }

    /// Counts a frame that was captured at this time, and keeps its flow.
    pub(super) fn observe(
        &mut self,
        frame: &(impl PacketBytes + ?Sized),
        link: LinkLayer,
        at: Nanoseconds,
    ) {
        self.note(&Observed::of(frame, link), at);
    }

    /// The same for a frame that was looked at already.
    pub(super) fn note(&mut self, observed: &Observed, at: Nanoseconds) {
        let outcome = match observed.packet {
            Ok(Packet { key, says }) => match says.of_reverse() {
                Some(seen) => self.answer(key, seen),
                None if says == Says::Datagram => self.datagram(key, at),
                None => self.keep(&Flow::opened(key)),
            },
            Err(skip) => Outcome::Skipped(skip),
        };
        self.counters.count(outcome);
        if let Some(ether_type) = observed.unsupported_type {
            self.unread.count(EtherType(ether_type), 1);
        }
    }

    /// A TCP segment that answers: it counts for no flow itself.
    fn answer(&mut self, key: FlowKey, seen: Seen) -> Outcome {
        let marked = self.keep(&Flow::of(key.reversed(), seen));
        Outcome::Skipped(Skip::NotOpening).unless_lost(marked)
    }

    /// Counts a frame of an unsupported link type.
    pub(super) fn skip(&mut self) {
        self.counters.count(Outcome::Skipped(Skip::NotIp));
    }

    /// Drains the flows.
    pub(super) fn take(&mut self) -> Vec<Flow> {
        let start = Instant::now();
        self.known.clear();
        self.others = 0;
        let flows = std::mem::take(&mut self.flows);
        self.drained.count(flows.len() as u64, start.elapsed());
        flows
    }

    /// Whether the next frame's flows may not fit.
    pub(super) fn is_full(&self) -> bool {
        /// An answer's own flow and the one that it answers.
        const OF_A_FRAME: usize = 2;
        self.flows.len() + OF_A_FRAME > self.max_flows || self.others + OF_A_FRAME > self.max_others
    }

    /// Whether it should be drained early.
    pub(super) fn is_half_full(&self) -> bool {
        self.flows.len() >= self.max_flows.div_ceil(2)
    }

    /// The counters since the start, without libpcap's drops.
    pub(super) fn counters(&self) -> SourceCounters {
        let packets = Some(self.counters);
        let unread = self.unread;
        SourceCounters { packets, unread, drained: self.drained, ..SourceCounters::default() }
    }

    fn datagram(&mut self, key: FlowKey, at: Nanoseconds) -> Outcome {
        let mut coarse = key;
        let direction = rules::coarsen(&mut coarse, &self.policy);
        let is_answer = direction != Err(Skip::LeftOut) && self.pairs.is_answer(&key, at);
        let seen = if is_answer { Seen::REPLIES } else { Seen::OPENS };
        let outcome = match direction {
            Ok(direction) => {
                let mut flow = Flow::of(coarse, seen);
                name_socket(&mut flow, &key, direction);
                self.keep_coarse(&flow, direction)
            }
            Err(skip) => Outcome::Skipped(skip),
        };
        if is_answer {
            let answered = Flow::of(key.reversed(), Seen::ANSWERED);
            return outcome.unless_lost(self.keep(&answered));
        }
        outcome
    }

    fn keep(&mut self, flow: &Flow) -> Outcome {
        let mut coarse = *flow;
        match rules::coarsen(&mut coarse.key, &self.policy) {
            Ok(direction) => {
                name_socket(&mut coarse, &flow.key, direction);
                self.keep_coarse(&coarse, direction)
            }
            Err(skip) => Outcome::Skipped(skip),
        }
    }

    /// Merges the flow with an existing entry, or adds one.
    fn keep_coarse(&mut self, flow: &Flow, direction: Option<Direction>) -> Outcome {
        if let Some(known) = self.known.get(&flow.key).and_then(|at| self.flows.get_mut(*at)) {
            let is_first_packet = flow.seen.has_packet() && !known.seen.has_packet();
            if !is_first_packet {
                known.seen |= flow.seen;
                return Outcome::Flow;
            }
        }
        let is_else = direction == Some(Direction::Else);
        if self.flows.len() >= self.max_flows || is_else && self.others >= self.max_others {
            return Outcome::Lost(Loss::MapFull);
        }
        self.known.insert(flow.key, self.flows.len());
        self.flows.push(*flow);
        self.others += usize::from(is_else);
        Outcome::Flow
    }
}

/// Keeps what a coarse key has lost of a socket that connects, so that it can be asked for.
fn name_socket(flow: &mut Flow, packet: &FlowKey, direction: Option<Direction>) {
    if direction == Some(Direction::Out) {
        flow.remote = packet.dst();
        flow.port = packet.src_port();
    }
}

/// The table of UDP pairs.
#[derive(Debug)]
struct Pairs {
    secret: Secret,
    buckets: Box<[Bucket]>,
}

impl Pairs {
    fn new(secret: Secret) -> Self {
        Self { secret, buckets: vec![Bucket::default(); BUCKETS as usize].into() }
    }

    /// Whether a datagram answers one of the reverse 5-tuple. Remembers the datagram.
    fn is_answer(&mut self, datagram: &FlowKey, at: Nanoseconds) -> bool {
        let place = Place::of(datagram, &self.secret);
        let bucket = &mut self.buckets[place.bucket() as usize];
        let judgement = place.judge(bucket, pairs::now(at));
        bucket[judgement.slot] = judgement.value;
        judgement.is_answer
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use conntrack_common::{address::Address, policy::Wanted};
    use etherparse::PacketBuilder;

    use super::*;

    fn cache(max_flows: u32) -> FlowCache {
        FlowCache::new(max_flows, &Policy::NONE).expect("random numbers")
    }

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
        let mut cache = cache(10);
        for port in [3, 1, 3, 2, 1] {
            cache.observe(&datagram(port)[..], LinkLayer::Ip, 0);
        }
        assert_eq!(ports(&cache.take()), [3, 1, 2]);
        assert_eq!(cache.counters.get(Outcome::Flow), 5);

        cache.observe(&datagram(3)[..], LinkLayer::Ip, 0);
        assert_eq!(ports(&cache.take()), [3]);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut cache = cache(2);
        for port in [1, 2, 3, 1] {
            cache.observe(&datagram(port)[..], LinkLayer::Ip, 0);
        }
        assert_eq!(ports(&cache.take()), [1, 2]);
        assert_eq!(cache.counters.get(Outcome::Lost(Loss::MapFull)), 1);
        assert_eq!(cache.counters.packets(), 4);
    }

    #[test]
    fn drains_are_counted_with_what_they_found() {
        let mut cache = cache(10);
        for ports in [[3, 1, 2].as_slice(), &[7]] {
            for port in ports {
                cache.observe(&datagram(*port)[..], LinkLayer::Ip, 0);
            }
            cache.take();
            let drained = cache.counters().drained;
            assert_eq!((drained.capacity, drained.found), (10, ports.len() as u64));
            assert!(drained.last <= drained.total);
        }
        assert_eq!(cache.counters().drained.drains, 2);
    }

    #[test]
    fn a_flood_between_others_leaves_room_for_in_and_out() {
        let local = Address::from(IpAddr::from([10, 0, 0, 2]));
        let wanted = Wanted { v4: true, v6: true, else_flows: true, ..Wanted::default() };
        let mut cache = FlowCache::new(8, &Policy::new([local], &[], [], wanted)).expect("a cache");
        let mut observe = |src, dst, src_port| {
            let mut packet = Vec::new();
            let ip = PacketBuilder::ipv4([10, 0, 0, src], [10, 0, 0, dst], 64);
            ip.udp(src_port, 5000).write(&mut packet, &[]).expect("a Vec takes every byte");
            cache.observe(&packet[..], LinkLayer::Ip, 0);
        };
        for port in 1..100 {
            observe(3, 4, port);
        }
        observe(3, 2, 4000);
        observe(2, 3, 4000);
        let directions: Vec<_> = cache.take().iter().map(|flow| flow.key.direction()).collect();
        assert_eq!(directions[6..], [Some(Direction::In), Some(Direction::Out)]);
        assert_eq!(directions[..6], [None; 6]);
    }

    #[test]
    fn an_answer_marks_what_it_answers_also_when_that_was_taken_already() {
        let mut cache = cache(10);
        let between = |src, dst| {
            let mut packet = Vec::new();
            let ip = PacketBuilder::ipv4([10, 0, 0, src], [10, 0, 0, dst], 64);
            ip.udp(5000, 5000).write(&mut packet, &[]).expect("a Vec takes every byte");
            packet
        };
        let seen =
            |cache: &mut FlowCache| cache.take().iter().map(|flow| flow.seen).collect::<Vec<_>>();
        cache.observe(&between(1, 2)[..], LinkLayer::Ip, 0);
        assert_eq!(seen(&mut cache), [Seen::OPENS]);
        cache.observe(&between(2, 1)[..], LinkLayer::Ip, 1);
        assert_eq!(seen(&mut cache), [Seen::REPLIES, Seen::ANSWERED]);
    }
}
