//! Counters: one index per outcome of a packet, the same in the kernel's array and in user space.
//!
//! Each packet that is looked at has exactly one outcome, so the sum of all counters is the number
//! of packets seen.

use core::ops::AddAssign;

use crate::wire::Skip;

/// Why a packet that is a flow did not get into the flow map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Loss {
    /// No free entry was left until the next drain.
    MapFull,
    /// The map refused the entry for another reason (the kernel had no memory for it).
    MapRefused,
}

impl Loss {
    /// Number of causes.
    const COUNT: u32 = 2;

    /// Every cause, in the order of the counters.
    pub const ALL: [Self; Self::COUNT as usize] = [Self::MapFull, Self::MapRefused];

    /// The cause in words, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MapFull => "flow map full",
            Self::MapRefused => "flow map refused the entry",
        }
    }
}

/// What became of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is a flow and its key is in the flow map.
    Flow,
    /// It is no flow that we could name.
    Skipped(Skip),
    /// It is a flow and its key could not be kept.
    Lost(Loss),
}

impl Outcome {
    /// Number of counters.
    pub const COUNT: u32 = 1 + Skip::COUNT + Loss::COUNT;

    /// This outcome, unless something else that the packet showed was lost.
    #[inline(always)]
    #[must_use]
    pub const fn unless_lost(self, other: Self) -> Self {
        match other {
            Self::Lost(_) => other,
            Self::Flow | Self::Skipped(_) => self,
        }
    }

    /// The outcome at this position.
    pub fn from_index(index: u32) -> Option<Self> {
        let skips = Skip::ALL.into_iter().map(Self::Skipped);
        let losses = Loss::ALL.into_iter().map(Self::Lost);
        let mut all = [Self::Flow].into_iter().chain(skips).chain(losses);
        all.find(|outcome| outcome.index() == index)
    }

    /// Position of this outcome's counter, below [`Self::COUNT`].
    #[inline(always)]
    pub const fn index(self) -> u32 {
        const FIRST_LOSS: u32 = 1 + Skip::COUNT;
        match self {
            Self::Flow => 0,
            Self::Skipped(skip) => 1 + skip as u32,
            Self::Lost(loss) => FIRST_LOSS + loss as u32,
        }
    }
}

/// Devices that can be watched at the same time.
pub const MAX_DEVICES: u32 = 256;

/// Entries that were put into the kernel's flow map since the last drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NewFlows {
    /// All of them.
    pub all: u64,
    /// Those that are neither of nor to the device.
    pub others: u64,
    /// One more than the generation in which the agent was woken; 0 if it was not.
    pub woken: u64,
}

/// All counters of one source, in packets since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters([u64; Outcome::COUNT as usize]);

impl Counters {
    /// Adds what was counted elsewhere, each outcome at its [`Outcome::index`].
    pub fn add(&mut self, others: &[u64; Outcome::COUNT as usize]) {
        for (counter, other) in self.0.iter_mut().zip(others) {
            *counter = counter.wrapping_add(*other);
        }
    }

    /// Counts one packet.
    pub fn count(&mut self, outcome: Outcome) {
        self.0[outcome.index() as usize] += 1;
    }

    /// Packets with this outcome.
    pub const fn get(&self, outcome: Outcome) -> u64 {
        self.0[outcome.index() as usize]
    }

    /// Packets seen, whatever became of them.
    pub fn packets(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, others: Self) {
        self.add(&others.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_a_counter_of_its_own() {
        let skips = Skip::ALL.into_iter().map(Outcome::Skipped);
        let losses = Loss::ALL.into_iter().map(Outcome::Lost);
        let mut counters = Counters::default();
        for outcome in [Outcome::Flow].into_iter().chain(skips).chain(losses) {
            assert_eq!(counters.get(outcome), 0, "{outcome:?} shares a counter");
            counters.count(outcome);
            assert_eq!(Outcome::from_index(outcome.index()), Some(outcome));
        }
        assert_eq!(Outcome::from_index(Outcome::COUNT), None);
        assert_eq!(counters.packets(), u64::from(Outcome::COUNT));
    }
}
