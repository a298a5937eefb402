//! One order for the packets of several devices. Each is read by a thread of its own, out of a buffer that the
//! kernel hands over late, and whether a datagram is an answer depends on what was seen before it: so packets
//! wait until all devices were read up to their time.

use super::cache::{Nanoseconds, Observed};

/// Packets that wait, at most, however many flows there is room for.
const MOST: usize = 1 << 16;
/// At least.
const LEAST: usize = 1 << 8;

/// Packets of several devices that wait for one another.
#[derive(Debug)]
pub(super) struct Merged {
    waiting: Vec<Waiting>,
    room: usize,
}

#[derive(Debug)]
struct Waiting {
    captured: Nanoseconds,
    /// By the clock of the cache.
    at: Nanoseconds,
    observed: Observed,
}

impl Merged {
    /// Goes with a cache for so many flows. Both are half full at about the same time.
    pub(super) fn for_flows(max_flows: u32) -> Self {
        let room = usize::try_from(max_flows / 2).unwrap_or(MOST).clamp(LEAST, MOST);
        Self { waiting: Vec::new(), room }
    }

    /// A packet that was captured then.
    pub(super) fn add(&mut self, captured: Nanoseconds, at: Nanoseconds, observed: Observed) {
        self.waiting.push(Waiting { captured, at, observed });
    }

    /// Whether some have to go.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= self.room
    }

    /// Hands out what was captured up to then, in order.
    pub(super) fn settle(&mut self, up_to: Nanoseconds, each: impl FnMut(&Observed, Nanoseconds)) {
        self.sort();
        let settled = self.waiting.partition_point(|it| it.captured <= up_to);
        self.hand_out(settled, each);
    }

    /// Hands out the older half, in order, as far as it is known.
    pub(super) fn settle_half(&mut self, each: impl FnMut(&Observed, Nanoseconds)) {
        self.sort();
        self.hand_out(self.waiting.len().div_ceil(2), each);
    }

    /// What was added first comes first, of those that were captured at the same time.
    fn sort(&mut self) {
        self.waiting.sort_by_key(|it| it.captured);
    }

    fn hand_out(&mut self, number: usize, mut each: impl FnMut(&Observed, Nanoseconds)) {
        for Waiting { at, observed, .. } in self.waiting.drain(..number) {
            each(&observed, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use conntrack_common::wire::{LinkLayer, Skip};

    use super::*;

    /// Adds packets that were captured at these times.
    fn merged(times: &[Nanoseconds]) -> Merged {
        let mut merged = Merged::for_flows(0);
        for time in times {
            merged.add(*time, *time, Observed::of(&[][..], LinkLayer::Ip));
        }
        merged
    }

    fn settled(merged: &mut Merged, up_to: Nanoseconds) -> Vec<Nanoseconds> {
        let mut times = Vec::new();
        merged.settle(up_to, |_, at| times.push(at));
        times
    }

    #[test]
    fn what_was_captured_first_comes_first_and_nothing_is_lost() {
        let mut merged = merged(&[30, 10, 20, 50, 40]);
        assert_eq!(settled(&mut merged, 20), [10, 20]);
        merged.add(15, 15, Observed::of(&[][..], LinkLayer::Ip));
        assert_eq!(settled(&mut merged, 40), [15, 30, 40]);
        assert_eq!(settled(&mut merged, Nanoseconds::MAX), [50]);
        assert_eq!(settled(&mut merged, Nanoseconds::MAX), [0; 0]);
    }

    #[test]
    fn where_there_is_no_room_the_older_half_goes() {
        let times: Vec<_> = (0..LEAST as u64).rev().collect();
        let mut merged = merged(&times);
        assert!(merged.is_full());
        let mut gone = Vec::new();
        merged.settle_half(|observed, at| {
            assert_eq!(observed.skipped(), Some(Skip::Truncated));
            gone.push(at);
        });
        assert_eq!(gone, (0..LEAST as u64 / 2).collect::<Vec<_>>());
        assert!(!merged.is_full());
        assert_eq!(settled(&mut merged, Nanoseconds::MAX).len(), LEAST / 2);
    }
}
