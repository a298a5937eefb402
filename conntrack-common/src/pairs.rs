//! Pairs of UDP 5-tuples: which datagram answers one of the reverse 5-tuple, as netfilter's connection
//! tracking would have it.
//!
//! A table of fixed size that may forget: of the conversations that fall into a bucket it keeps four.
//! Forgetting makes an answer look like a request. The other way takes a collision of 40 bits of a keyed
//! hash, or 5-tuples that speak again after 26 days to the second, when the time wraps.
//!
//! Both directions of a conversation are in one bucket, so a datagram costs one cache miss. Where the
//! table is kept is not known here.
#![expect(clippy::cast_possible_truncation, reason = "bits are taken out of words on purpose")]

use crate::{
    address::Words,
    branchless::{choose, is_below, is_zero},
    flow::FlowKey,
};

/// Four conversations; 0 is none. From the lowest bit up: 22 bits of time in [units](now), one that is
/// set once there was an answer, one for who spoke first, 40 bits of hash.
pub type Bucket = [u64; 4];

/// Buckets of the table: 1 MiB.
pub const BUCKETS: u32 = 1 << 15;

/// The key of the hash, random for each run.
pub type Secret = [u64; 2];

const TIME_BITS: u32 = 22;
const TIME_MASK: u32 = (1 << TIME_BITS) - 1;
const ANSWERED: u64 = 1 << TIME_BITS;
const FIRST_IS_HIGHER: u64 = 1 << (TIME_BITS + 1);
const HASH_SHIFT: u32 = TIME_BITS + 2;
const HASH_MASK: u64 = !0 << HASH_SHIFT;

/// A unit of time is 2^29 nanoseconds.
const UNIT_BITS: u32 = 29;

/// `UDP_CT_UNREPLIED` and `UDP_CT_REPLIED` of `net/netfilter/nf_conntrack_proto_udp.c`, 30 s and 120 s, in
/// whole units: never longer than theirs.
const UNANSWERED_LIFE: u32 = units(30);
const ANSWERED_LIFE: u32 = units(120);

const fn units(seconds: u64) -> u32 {
    ((seconds * 1_000_000_000) >> UNIT_BITS) as u32 - 1
}

/// A time for [`Place::judge`]: nanoseconds of any clock, in units.
#[inline(always)]
pub const fn now(nanoseconds: u64) -> u32 {
    (nanoseconds >> UNIT_BITS) as u32 & TIME_MASK
}

/// Where a conversation is kept, and who of its two ends speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    hash: u64,
    /// A bit: whether the sender is the end that sorts higher.
    is_higher: u64,
}

/// What a datagram is, and what is to be written for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether it answers one of the reverse 5-tuple.
    pub is_answer: bool,
    /// Which of the four conversations is to be written.
    pub slot: usize,
    /// What is to be written there.
    pub value: u64,
}

impl Place {
    /// The place of a datagram's conversation, the same for both directions.
    #[inline(always)]
    pub fn of(datagram: &FlowKey, secret: &Secret) -> Self {
        let (src, dst) = (End::src(datagram), End::dst(datagram));
        let is_higher = src.is_higher_than(dst);
        let low = End::choose(is_higher, dst, src);
        let high = End::choose(is_higher, src, dst);
        let version = u64::from(datagram.src().version());
        let rest = version << 32 | low.port << 16 | high.port;
        let [low_a, low_b] = low.address;
        let [high_a, high_b] = high.address;
        Self { hash: hash(secret, [low_a, low_b, high_a, high_b, rest]), is_higher }
    }

    /// The bucket, below [`BUCKETS`].
    #[inline(always)]
    pub const fn bucket(&self) -> u32 {
        self.hash as u32 & (BUCKETS - 1)
    }

    /// Judges a datagram that is seen at this time.
    #[inline(always)]
    pub fn judge(&self, bucket: &Bucket, now: u32) -> Judgement {
        let hash = self.hash & HASH_MASK;
        let mut chosen = Slot::of(bucket, 0, hash, now);
        chosen = chosen.or_higher(Slot::of(bucket, 1, hash, now));
        chosen = chosen.or_higher(Slot::of(bucket, 2, hash, now));
        chosen = chosen.or_higher(Slot::of(bucket, 3, hash, now));
        let goes_on = chosen.goes_on();
        let sender = self.is_higher * FIRST_IS_HIGHER;
        let first = choose(goes_on, chosen.kept & FIRST_IS_HIGHER, sender);
        let is_answer = (first ^ sender) / FIRST_IS_HIGHER;
        let answered = choose(goes_on, chosen.kept & ANSWERED, 0) | (is_answer * ANSWERED);
        Judgement {
            is_answer: is_answer != 0,
            slot: chosen.number(),
            value: hash | first | answered | u64::from(now),
        }
    }
}

/// The claim of a living conversation that a datagram belongs to: above all others.
const GOES_ON: u64 = 4 << TIME_BITS;

/// One of a bucket's conversations, as one that a datagram may go on with or take the place of.
#[derive(Clone, Copy)]
struct Slot {
    kept: u64,
    /// The claim to be chosen, and how far the slot is from the last one.
    rank: u64,
}

impl Slot {
    /// The same conversation and alive: goes on. Else which one gives way to a new one, the highest
    /// first: the same; none, or a dead one; then the oldest without an answer, so that a flood of requests
    /// displaces other requests; then the oldest.
    #[inline(always)]
    fn of(bucket: &Bucket, number: usize, hash: u64, now: u32) -> Self {
        const UNANSWERED: u64 = 1 << TIME_BITS;
        const DEAD: u64 = 2 << TIME_BITS;
        const DEAD_AND_SAME: u64 = 3 << TIME_BITS;
        let kept = bucket[number & 3];
        let answered = (kept / ANSWERED) & 1;
        // CPUs may see time a little apart: one unit early is early, not very late.
        let age = u64::from(now.wrapping_sub(kept as u32).wrapping_add(1) & TIME_MASK);
        let life = choose(answered, u64::from(ANSWERED_LIFE) + 1, u64::from(UNANSWERED_LIFE) + 1);
        let dead = is_below(life, age) | is_zero(kept >> HASH_SHIFT);
        let same = is_zero((kept ^ hash) >> HASH_SHIFT);
        let in_use = ((answered ^ 1) * UNANSWERED) | age;
        let own = choose(dead, DEAD_AND_SAME, GOES_ON);
        let claim = choose(same, own, choose(dead, DEAD, in_use));
        Self { kept, rank: claim << 2 | (3 - number as u64) }
    }

    #[inline(always)]
    fn or_higher(self, other: Self) -> Self {
        let is_lower = is_below(self.rank, other.rank);
        Self {
            kept: choose(is_lower, other.kept, self.kept),
            rank: choose(is_lower, other.rank, self.rank),
        }
    }

    /// 1 if it is the datagram's own conversation, and netfilter would still know it.
    #[inline(always)]
    const fn goes_on(self) -> u64 {
        ((self.rank >> 2) / GOES_ON) & 1
    }

    #[inline(always)]
    const fn number(self) -> usize {
        3 - (self.rank & 3) as usize
    }
}

/// Address and port of one end, quick to compare and to hash.
#[derive(Clone, Copy)]
struct End {
    address: [u64; 2],
    port: u64,
}

impl End {
    #[inline(always)]
    const fn src(key: &FlowKey) -> Self {
        Self { address: halves(key.src().words()), port: key.src_port() as u64 }
    }

    #[inline(always)]
    const fn dst(key: &FlowKey) -> Self {
        Self { address: halves(key.dst().words()), port: key.dst_port() as u64 }
    }

    /// A bit. Any order does that is the same for both directions. By subtraction, digit by digit, as on
    /// paper.
    #[inline(always)]
    fn is_higher_than(self, other: Self) -> u64 {
        const DIGIT: u64 = u32::MAX as u64;
        let [a, b] = self.address;
        let [c, d] = other.address;
        let borrow = is_below(other.port, self.port);
        let borrow = is_below(c & DIGIT, (a & DIGIT) + borrow);
        let borrow = is_below(c >> 32, (a >> 32) + borrow);
        let borrow = is_below(d & DIGIT, (b & DIGIT) + borrow);
        is_below(d >> 32, (b >> 32) + borrow)
    }

    #[inline(always)]
    const fn choose(bit: u64, one: Self, other: Self) -> Self {
        let [a, b] = one.address;
        let [c, d] = other.address;
        Self {
            address: [choose(bit, a, c), choose(bit, b, d)],
            port: choose(bit, one.port, other.port),
        }
    }
}

#[inline(always)]
const fn halves([a, b, c, d]: Words) -> [u64; 2] {
    [(a as u64) << 32 | b as u64, (c as u64) << 32 | d as u64]
}

/// SipHash-1-3 (Aumasson and Bernstein, 2012) of five words; without the block that tells the length,
/// which is always the same.
#[inline(always)]
const fn hash(secret: &Secret, words: [u64; 5]) -> u64 {
    let mut state = [
        secret[0] ^ 0x736f_6d65_7073_6575,
        secret[1] ^ 0x646f_7261_6e64_6f6d,
        secret[0] ^ 0x6c79_6765_6e65_7261,
        secret[1] ^ 0x7465_6462_7974_6573,
    ];
    let mut i = 0;
    while i < words.len() {
        state[3] ^= words[i];
        state = round(state);
        state[0] ^= words[i];
        i += 1;
    }
    state[2] ^= 0xff;
    state = round(round(round(state)));
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

#[inline(always)]
const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;
    use crate::{address::Address, flow::Protocol};

    const SECRET: Secret = [1, 2];
    const SECOND: u64 = 1_000_000_000;

    fn key(src: (&str, u16), dst: (&str, u16)) -> FlowKey {
        let end = |(address, port): (&str, u16)| {
            (Address::from(address.parse::<IpAddr>().expect("an address")), port)
        };
        FlowKey::new(Protocol::Udp, end(src), end(dst))
    }

    fn request() -> FlowKey {
        key(("10.0.0.1", 4000), ("10.0.0.2", 53))
    }

    /// A bucket that writes what it is told.
    #[derive(Default)]
    struct Table(Bucket);

    impl Table {
        fn is_answer(&mut self, datagram: &FlowKey, seconds: u64) -> bool {
            let place = Place::of(datagram, &SECRET);
            let judgement = place.judge(&self.0, now(seconds * SECOND));
            self.0[judgement.slot] = judgement.value;
            judgement.is_answer
        }
    }

    #[test]
    fn both_directions_have_one_place_and_two_sides() {
        let (there, back) = (request(), request().reversed());
        let (one, other) = (Place::of(&there, &SECRET), Place::of(&back, &SECRET));
        assert_eq!(one.hash, other.hash);
        assert_ne!(one.is_higher, other.is_higher);
        for different in [
            key(("10.0.0.1", 4001), ("10.0.0.2", 53)),
            key(("10.0.0.1", 53), ("10.0.0.2", 4000)),
            key(("10.0.0.3", 4000), ("10.0.0.2", 53)),
            key(("::ffff:10.0.0.1", 4000), ("::ffff:10.0.0.2", 53)),
        ] {
            assert_ne!(Place::of(&different, &SECRET).hash, one.hash);
        }
        assert_ne!(Place::of(&there, &[1, 3]).hash, one.hash, "it is keyed");
    }

    #[test]
    fn who_speaks_first_asks_and_the_other_answers() {
        for (there, back) in [(request(), request().reversed()), (request().reversed(), request())]
        {
            let mut table = Table::default();
            assert!(!table.is_answer(&there, 100));
            assert!(table.is_answer(&back, 100));
            assert!(!table.is_answer(&there, 101));
            assert!(table.is_answer(&back, 102));
        }
    }

    #[test]
    fn an_answer_is_late_after_30_seconds_and_after_120_where_there_was_one() {
        let (there, back) = (request(), request().reversed());
        for (wait, is_answer) in [(0, true), (28, true), (31, false)] {
            let mut table = Table::default();
            table.is_answer(&there, 100);
            assert_eq!(table.is_answer(&back, 100 + wait), is_answer, "after {wait} s");
        }
        for (wait, is_answer) in [(31, true), (118, true), (121, false)] {
            let mut table = Table::default();
            table.is_answer(&there, 100);
            table.is_answer(&back, 100);
            assert_eq!(table.is_answer(&back, 100 + wait), is_answer, "after {wait} s");
        }
    }

    #[test]
    fn a_late_answer_asks_from_then_on() {
        let (there, back) = (request(), request().reversed());
        let mut table = Table::default();
        table.is_answer(&there, 100);
        assert!(!table.is_answer(&back, 200));
        assert!(table.is_answer(&there, 201));
        assert!(!table.is_answer(&back, 202));
    }

    #[test]
    fn time_may_wrap_and_clocks_may_differ_by_a_unit() {
        let (there, back) = (request(), request().reversed());
        let end = (u64::from(TIME_MASK) + 1) << UNIT_BITS;
        let mut table = Table::default();
        table.is_answer(&there, end / SECOND - 5);
        assert!(table.is_answer(&back, end / SECOND + 5));
        let place = Place::of(&back, &SECRET);
        let before = table.0.map(|kept| if kept == 0 { 0 } else { kept + 1 });
        assert!(place.judge(&before, now(end + 5 * SECOND)).is_answer);
    }

    #[test]
    fn who_speaks_to_itself_does_not_answer() {
        let own = key(("10.0.0.1", 4000), ("10.0.0.1", 4000));
        let mut table = Table::default();
        assert!(!table.is_answer(&own, 100) && !table.is_answer(&own, 101));
    }

    #[test]
    fn a_flood_of_requests_displaces_requests() {
        let mut table = Table::default();
        let answered = request();
        table.is_answer(&answered, 100);
        table.is_answer(&answered.reversed(), 100);
        for port in 5000..6000 {
            table.is_answer(&key(("10.0.0.9", port), ("10.0.0.2", 53)), 101);
        }
        assert!(table.is_answer(&answered.reversed(), 110));
        let latest = key(("10.0.0.9", 5999), ("10.0.0.2", 53));
        assert!(table.is_answer(&latest.reversed(), 110), "the latest request is kept");
    }
}
