//! Divides the packets of a capture into batches of one interval each, by the capture's own time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use conntrack_common::{policy::Policy, wire::LinkLayer};

use super::cache::{FlowCache, Nanoseconds};
use crate::source::{FlowBatch, SourceCounters, SourceError};

/// The batch so far.
pub struct Batches {
    cache: FlowCache,
    interval: Duration,
    /// Times of its packets.
    span: Option<Span>,
}

/// Earliest and latest time since 1970; `None` if the times are unknown.
#[derive(Clone, Copy)]
struct Span(Option<(Duration, Duration)>);

impl Span {
    const fn of(time: Option<Duration>) -> Self {
        match time {
            Some(time) => Self(Some((time, time))),
            None => Self(None),
        }
    }

    /// With one more packet; `None` if that exceeds the interval. Clocks may step, also back.
    fn with(self, time: Option<Duration>, interval: Duration) -> Option<Self> {
        let (earliest, latest) = match (self.0, time) {
            (Some((earliest, latest)), Some(time)) => (earliest.min(time), latest.max(time)),
            (None, None) => return Some(self),
            _ => return None,
        };
        (latest.saturating_sub(earliest) < interval).then_some(Self(Some((earliest, latest))))
    }

    fn captured_at(self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(self.0?.1)
    }
}

impl Batches {
    /// An empty batch, of at most `max_flows` coarse flows under this policy.
    ///
    /// # Errors
    /// Those of the flow cache.
    pub fn new(interval: Duration, max_flows: u32, policy: &Policy) -> Result<Self, SourceError> {
        Ok(Self { cache: FlowCache::new(max_flows, policy)?, interval, span: None })
    }

    /// Adds a packet with its link layer, if supported, and its time since 1970, if known. Returns the
    /// previous batch if that is complete.
    pub fn add(
        &mut self,
        data: &[u8],
        link: Option<LinkLayer>,
        time: Option<Duration>,
    ) -> Option<FlowBatch> {
        let longer = self.span.and_then(|span| span.with(time, self.interval));
        let is_over = self.span.is_some() && longer.is_none();
        let complete = (is_over || self.cache.is_full()).then(|| self.complete());
        self.span = Some(longer.filter(|_| complete.is_none()).unwrap_or(Span::of(time)));
        match link {
            Some(link) => self.cache.observe(data, link, nanoseconds(time)),
            None => self.cache.skip(),
        }
        complete
    }

    /// Ends the batch.
    pub fn complete(&mut self) -> FlowBatch {
        let captured_at = self.span.take().and_then(Span::captured_at);
        FlowBatch { flows: self.cache.take(), captured_at, is_first: false }
    }

    /// Replaces the policy.
    pub fn set_policy(&mut self, policy: &Policy) {
        self.cache.set_policy(policy);
    }

    /// The counters since the start.
    pub fn counters(&self) -> SourceCounters {
        self.cache.counters()
    }
}

/// Since 1970, up to 2554. Packets of unknown time count as simultaneous.
fn nanoseconds(time: Option<Duration>) -> Nanoseconds {
    time.map_or(0, |time| Nanoseconds::try_from(time.as_nanos()).unwrap_or(Nanoseconds::MAX))
}

#[cfg(test)]
mod tests {
    use conntrack_common::counters::{Loss, Outcome};
    use etherparse::PacketBuilder;

    use super::*;

    /// Batches of one datagram for each of these times, in seconds: number of flows, and time.
    fn batches(times: &[Option<u64>]) -> Vec<(usize, Option<u64>)> {
        let mut batches =
            Batches::new(Duration::from_secs(10), 100, &Policy::NONE).expect("random numbers");
        let mut complete = Vec::new();
        for (port, time) in (1..).zip(times) {
            let mut packet = Vec::new();
            PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
                .udp(port, 53)
                .write(&mut packet, &[])
                .expect("a Vec takes every byte");
            complete.extend(batches.add(
                &packet,
                Some(LinkLayer::Ip),
                time.map(Duration::from_secs),
            ));
        }
        complete.push(batches.complete());
        let since_1970 = |time: SystemTime| time.duration_since(UNIX_EPOCH).expect("not before");
        let seconds = |batch: &FlowBatch| batch.captured_at.map(|it| since_1970(it).as_secs());
        complete.iter().map(|batch| (batch.flows.len(), seconds(batch))).collect()
    }

    #[test]
    fn a_batch_spans_an_interval() {
        let times = [1000, 1003, 1009, 1010, 1015].map(Some);
        assert_eq!(batches(&times), [(3, Some(1009)), (2, Some(1015))]);
    }

    #[test]
    fn a_time_that_is_far_off_is_that_of_its_own_packet_only() {
        const FAR: u64 = 4_000_000_000;
        let times = [1000, FAR, 1001, 5, 1002].map(Some);
        let each = [1000, FAR, 1001, 5, 1002].map(|time| (1, Some(time)));
        assert_eq!(batches(&times), each);
    }

    #[test]
    fn a_clock_that_steps_back_a_little_stays_in_the_batch() {
        let times = [1005, 1001, 1009, 1012].map(Some);
        assert_eq!(batches(&times), [(3, Some(1009)), (1, Some(1012))]);
    }

    #[test]
    fn without_a_time_it_is_now() {
        assert_eq!(batches(&[None, None, Some(7)]), [(2, None), (1, Some(7))]);
    }

    #[test]
    fn a_time_that_the_system_does_not_know_is_now() {
        assert_eq!(batches(&[Some(u64::MAX)]), [(1, None)]);
    }

    /// An answer is a flow, and its request another.
    #[test]
    fn a_batch_ends_while_there_is_room_for_both_flows_of_an_answer() {
        const HERE: [u8; 4] = [10, 0, 0, 1];
        const THERE: [u8; 4] = [10, 0, 0, 2];
        const MAX_FLOWS: u32 = 4;
        let mut batches = Batches::new(Duration::from_secs(10), MAX_FLOWS, &Policy::NONE)
            .expect("random numbers");
        let mut add = |(src, src_port), (dst, dst_port)| {
            let mut packet = Vec::new();
            PacketBuilder::ipv4(src, dst, 64)
                .udp(src_port, dst_port)
                .write(&mut packet, &[])
                .expect("a Vec takes every byte");
            batches.add(&packet, Some(LinkLayer::Ip), Some(Duration::from_secs(1000)));
        };
        // After different numbers of flows in the batch.
        for others in 0..8 {
            let port = 1000 + 100 * others;
            add((HERE, port), (THERE, 53));
            for other in 1..=4 + others {
                add((HERE, port + other), (THERE, 54));
            }
            add((THERE, 53), (HERE, port));
        }
        let counters = batches.counters().packets.expect("known");
        assert_eq!(counters.get(Outcome::Lost(Loss::MapFull)), 0);
    }
}
