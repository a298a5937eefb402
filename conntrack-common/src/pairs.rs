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

use crate::{address::Words, flow::FlowKey};

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
const HASH_MASK: u64 = !0 << (TIME_BITS + 2);

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
    /// Whether the sender is the end that sorts higher.
    is_higher: bool,
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
    pub const fn of(datagram: &FlowKey, secret: &Secret) -> Self {
        let (src, dst) = (Endpoint::src(datagram), Endpoint::dst(datagram));
        let is_higher = src.is_higher_than(&dst);
        let (low, high) = if is_higher { (dst, src) } else { (src, dst) };
        let rest =
            (datagram.src().version() as u64) << 32 | (low.port as u64) << 16 | high.port as u64;
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
        let (mut slot, mut highest) = (0, 0);
        for (i, kept) in bucket.iter().enumerate() {
            let is_same = kept & HASH_MASK == hash;
            if is_same && is_alive(*kept, now) {
                return self.go_on(i, *kept, now);
            }
            let rank = if is_same { u32::MAX } else { dispensability(*kept, now) };
            if rank > highest {
                (slot, highest) = (i, rank);
            }
        }
        let first = if self.is_higher { FIRST_IS_HIGHER } else { 0 };
        Judgement { is_answer: false, slot, value: hash | first | u64::from(now) }
    }

    #[inline(always)]
    const fn go_on(&self, slot: usize, kept: u64, now: u32) -> Judgement {
        let first_is_higher = kept & FIRST_IS_HIGHER != 0;
        let is_answer = first_is_higher != self.is_higher;
        let answered = if is_answer { ANSWERED } else { 0 };
        let value = kept & !(TIME_MASK as u64) | answered | now as u64;
        Judgement { is_answer, slot, value }
    }
}

/// Whether netfilter would still know the conversation. CPUs may see time a little apart.
#[inline(always)]
const fn is_alive(kept: u64, now: u32) -> bool {
    let life = if kept & ANSWERED == 0 { UNANSWERED_LIFE } else { ANSWERED_LIFE };
    kept != 0 && (age(kept, now) <= life || age(kept, now) == TIME_MASK)
}

/// Time since it was last written, in units, wrapped.
#[inline(always)]
const fn age(kept: u64, now: u32) -> u32 {
    now.wrapping_sub(kept as u32) & TIME_MASK
}

/// Which conversation gives way to a new one, the highest first: none or a dead one, then the oldest
/// without an answer, so that a flood of requests displaces other requests, then the oldest.
#[inline(always)]
const fn dispensability(kept: u64, now: u32) -> u32 {
    if !is_alive(kept, now) {
        return u32::MAX - 1;
    }
    let unanswered = if kept & ANSWERED == 0 { TIME_MASK + 1 } else { 0 };
    1 + unanswered + age(kept, now) % TIME_MASK
}

/// Address and port of one end, quick to compare and to hash.
#[derive(Clone, Copy)]
struct Endpoint {
    address: [u64; 2],
    port: u16,
}

impl Endpoint {
    #[inline(always)]
    const fn src(key: &FlowKey) -> Self {
        Self { address: halves(key.src().words()), port: key.src_port() }
    }

    #[inline(always)]
    const fn dst(key: &FlowKey) -> Self {
        Self { address: halves(key.dst().words()), port: key.dst_port() }
    }

    /// Any order does that is the same for both directions.
    #[inline(always)]
    const fn is_higher_than(&self, other: &Self) -> bool {
        if self.address[1] != other.address[1] {
            return self.address[1] > other.address[1];
        }
        if self.address[0] != other.address[0] {
            return self.address[0] > other.address[0];
        }
        self.port > other.port
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
