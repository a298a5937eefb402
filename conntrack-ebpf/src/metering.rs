//! What is done for each packet: apply the rules to its flow, keep what was seen of it, count the outcome.
//!
//! Some functions are functions in the kernel too: a packet has 512 bytes of stack at any time, and
//! what returns gives its part back.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use conntrack_common::{
    counters::{Loss, Outcome},
    flow::{Direction, FlowKey},
    policy::Control,
    rules::{self, Packet},
    seen::{Seen, Sight},
    wire::Skip,
};

use crate::{
    clock::now,
    log,
    maps::{self, FLOWS},
    pairs, recent,
    sender::Sender,
};

/// What a look at a packet found, in a form without variants: every octet has a value, whatever was
/// found. So what comes of two looks can meet before it is used. Of an enum, the compiler lets octets
/// without a value meet, and before Linux 6.3 the verifier lets no program move those.
#[derive(Clone, Copy)]
pub(crate) struct Observed {
    key: FlowKey,
    /// What the packet lets be seen of the reverse flow, as bits; 0 if it counts for its own; or, above
    /// [`Self::SKIPPED`], the index of why it says nothing.
    what: u64,
}

impl Observed {
    const SKIPPED: u64 = 1 << 32;

    #[inline(always)]
    pub(crate) fn of(packet: Result<Packet, Skip>) -> Self {
        match packet {
            Ok(Packet { key, says }) => Self { key, what: says.of_reverse().map_or(0, Seen::bits) },
            Err(skip) => {
                let index = Outcome::Skipped(skip).index();
                Self { key: FlowKey::default(), what: Self::SKIPPED | u64::from(index) }
            }
        }
    }
}

/// Records what a packet says about a flow, if it says anything; what became of it, by
/// [`Outcome::index`].
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the low half is the index")]
pub(crate) fn meter(packet: &Observed, sender: &impl Sender) -> u32 {
    let index = if packet.what >= Observed::SKIPPED {
        packet.what as u32
    } else if packet.what == 0 {
        record(&packet.key, sender).index()
    } else {
        answer(&packet.key, Seen::of_bits(packet.what), sender).index()
    };
    maps::count(index);
    index
}

/// A flow that this CPU has seen since the last drain costs a comparison and nothing else: no
/// lookup, no clock, no write to anything shared.
#[inline(always)]
fn record(key: &FlowKey, sender: &impl Sender) -> Outcome {
    let control = maps::control();
    if recent::is_known(key, control.generation) {
        return Outcome::Flow;
    }
    let outcome = record_first(key, control, sender);
    if outcome == Outcome::Flow {
        recent::remember(key, control.generation);
    }
    outcome
}

#[inline(never)]
fn record_first(key: &FlowKey, control: Control, sender: &impl Sender) -> Outcome {
    let cgroup = sender.cgroup();
    let mut coarse = *key;
    let direction = coarsen(&mut coarse, control.policy);
    let may_answer = key.is_udp() && !matches!(direction, Err(Skip::LeftOut));
    let is_answer = may_answer && pairs::is_answer(key);
    let seen = if is_answer { Seen::REPLIES } else { Seen::OPENS };
    let outcome = match direction {
        Ok(direction) => keep(&coarse, seen, cgroup, Kind::of(direction, control.generation)),
        Err(skip) => Outcome::Skipped(skip),
    };
    if is_answer {
        coarse = key.reversed();
        return outcome.unless_lost(mark(&mut coarse, Seen::ANSWERED, control, cgroup));
    }
    outcome
}

/// A TCP segment that answers: it counts for no flow itself. A SYN-ACK is of the socket that listens, an
/// RST of the kernel's own.
#[inline(never)]
fn answer(key: &FlowKey, seen: Seen, sender: &impl Sender) -> Outcome {
    let cgroup = if seen == Seen::ANSWERED { sender.cgroup() } else { 0 };
    let marked = mark(&mut key.reversed(), seen, maps::control(), cgroup);
    Outcome::Skipped(Skip::NotOpening).unless_lost(marked)
}

/// Keeps what was seen of a flow by a packet of the reverse one. Its key gets coarse where it is, on the
/// caller's stack: five calls have 512 bytes, and Linux 6.1 rounds each one's part up to 32.
#[inline(never)]
fn mark(key: &mut FlowKey, seen: Seen, control: Control, cgroup: u64) -> Outcome {
    match coarsen(key, control.policy) {
        Ok(direction) => keep(key, seen, cgroup, Kind::of(direction, control.generation)),
        Err(skip) => Outcome::Skipped(skip),
    }
}

#[inline(never)]
fn coarsen(key: &mut FlowKey, policy: u32) -> Result<Option<Direction>, Skip> {
    maps::policy(policy).map_or(Ok(None), |policy| rules::coarsen(key, policy))
}

/// The generation, and in the lowest bit whether a flow is `else`. In one word: a function in the kernel
/// takes five, and what is on the stack of this one is missing further down.
#[derive(Clone, Copy)]
struct Kind(u64);

impl Kind {
    #[inline(always)]
    fn of(direction: Option<Direction>, generation: u32) -> Self {
        let is_else = direction == Some(Direction::Else);
        Self(u64::from(generation) << 1 | u64::from(is_else))
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "it was made of one")]
    fn generation(self) -> u32 {
        (self.0 >> 1) as u32
    }

    #[inline(always)]
    fn is_else(self) -> bool {
        self.0 & 1 == 1
    }
}

/// Puts what was seen of a flow into the map, unless it is there.
#[inline(never)]
fn keep(key: &FlowKey, seen: Seen, cgroup: u64, kind: Kind) -> Outcome {
    match maps::sight(key) {
        Some(sight) => add(key, sight, seen, cgroup),
        None => insert(key, Sight { first: now(), seen, cgroup }, kind),
    }
}

/// By a new entry in place of the old one, never by writing to the old one: that may be another flow's by
/// then. CPUs that do so at the same moment may lose what the other one saw, until the next packet.
#[inline(always)]
fn add(key: &FlowKey, sight: Sight, seen: Seen, cgroup: u64) -> Outcome {
    let is_of_another = cgroup != 0 && cgroup != sight.cgroup;
    if is_of_another && sight.cgroup != 0 {
        maps::add_sender(key, cgroup);
    }
    let is_first_cgroup = is_of_another && sight.cgroup == 0;
    if sight.seen.contains(seen) && !is_first_cgroup {
        return Outcome::Flow;
    }
    let is_first_packet = seen.has_packet() && !sight.seen.has_packet();
    let first = if is_first_packet { now() } else { sight.first };
    let cgroup = if is_first_cgroup { cgroup } else { sight.cgroup };
    let sight = Sight { first, seen: sight.seen | seen, cgroup };
    match FLOWS.insert(key, sight, BPF_ANY.into()) {
        Ok(()) => Outcome::Flow,
        Err(error) => lost(Loss::MapRefused, error),
    }
}

#[inline(always)]
fn insert(key: &FlowKey, sight: Sight, kind: Kind) -> Outcome {
    const EEXIST: i32 = -17;
    const E2BIG: i32 = -7;

    let (generation, is_else) = (kind.generation(), kind.is_else());
    if is_else && maps::is_full_of_else() {
        maps::wake(generation);
        return lost(Loss::MapFull, 0);
    }
    match FLOWS.insert(key, sight, BPF_NOEXIST.into()) {
        Ok(()) => {
            maps::count_new_flow(generation, is_else);
            Outcome::Flow
        }
        // Another CPU was faster.
        Err(EEXIST) => Outcome::Flow,
        Err(E2BIG) => {
            maps::wake(generation);
            lost(Loss::MapFull, E2BIG)
        }
        Err(error) => lost(Loss::MapRefused, error),
    }
}

/// The map did not take an entry, by this error number; 0 where it was not asked.
#[inline(always)]
fn lost(loss: Loss, error: i32) -> Outcome {
    log::set_error(error);
    Outcome::Lost(loss)
}
