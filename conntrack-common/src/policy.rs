//! The policy: what the machine and the user have to say about flows, as a table of fixed size that
//! the kernel's programs and the libpcap sources look things up in. The agent keeps it current.
//!
//! It is for sparing work only: a flow that is kept whole leads to the same tree, so what does not
//! fit in here is simply not spared.

use crate::{
    address::{Address, Network},
    branchless::is_zero,
    flow::Direction,
};

/// Local addresses that fit in: a hash table of twice as many places, each address at most
/// [`PROBES`] places behind its own.
pub const MAX_LOCAL: usize = PLACES / 2;

/// Places for local addresses, a power of two.
const PLACES: usize = 4096;

/// Places that are looked at for an address.
const PROBES: usize = 8;

/// Networks of one's own that fit in.
pub const MAX_INTERNAL: usize = 32;

/// What the kernel's programs ask for with each packet: which of the two policies is in force, so that
/// the other can be written, and a number that is new whenever what they remember is void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Control {
    /// Below [`POLICIES`].
    pub policy: u32,
    /// Counts drains of the flow map and changes of the policy.
    pub generation: u32,
}

/// Policies in the kernel's map: one in force and one to write to.
pub const POLICIES: u32 = 2;

const PORTS: usize = 1 << 16;
const BITS: usize = u64::BITS as usize;

/// What is asked of the flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct Wanted {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
    /// Flows that are neither of nor to the device.
    pub else_flows: bool,
    /// The addresses of the internet hosts that open connections to the device.
    pub internet_in: bool,
    /// The addresses of the internet hosts that the device opens connections to.
    pub internet_out: bool,
}

/// See the module. The one that is all zeros, as a new map has it, clears nothing.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Policy {
    local: [Address; PLACES],
    internal: [Network; MAX_INTERNAL],
    /// One bit for each port.
    udp_servers: [u64; PORTS / BITS],
    internal_count: u32,
    coarsens: u8,
    skips_v4: u8,
    skips_v6: u8,
    skips_else: u8,
    clears_internet_in: u8,
    clears_internet_out: u8,
    is_complete: u8,
    pad: [u8; 5],
}

const _: () = assert!(
    size_of::<Policy>()
        == size_of::<[Address; PLACES]>()
            + size_of::<[Network; MAX_INTERNAL]>()
            + PORTS / 8
            + size_of::<u32>()
            + 12,
    "parts follow one another without gaps"
);

impl Policy {
    /// The policy that clears nothing.
    #[expect(clippy::large_stack_arrays, reason = "who keeps one puts it into a box")]
    pub const NONE: Self = Self {
        local: [Address::NONE; PLACES],
        internal: [Network::NONE; MAX_INTERNAL],
        udp_servers: [0; PORTS / BITS],
        internal_count: 0,
        coarsens: 0,
        skips_v4: 0,
        skips_v6: 0,
        skips_else: 0,
        clears_internet_in: 0,
        clears_internet_out: 0,
        is_complete: 0,
        pad: [0; 5],
    };

    /// The policy for these addresses of the device, networks of one's own, UDP ports of local
    /// servers and wishes. More addresses than fit in: it clears nothing. More networks than fit in:
    /// it clears no remote addresses. [`Self::is_complete`] tells.
    pub fn new(
        local: impl IntoIterator<Item = Address>,
        internal: &[Network],
        udp_servers: impl IntoIterator<Item = u16>,
        wanted: Wanted,
    ) -> Self {
        let mut policy = Self::NONE;
        for address in local {
            if !policy.add_local(address) {
                return Self::NONE;
            }
        }
        let all_fit = internal.len() <= MAX_INTERNAL;
        for (slot, network) in policy.internal.iter_mut().zip(internal) {
            *slot = *network;
            policy.internal_count += 1;
        }
        for port in udp_servers {
            policy.udp_servers[usize::from(port) / BITS] |= bit(port);
        }
        policy.coarsens = 1;
        policy.skips_v4 = u8::from(!wanted.v4);
        policy.skips_v6 = u8::from(!wanted.v6);
        policy.skips_else = u8::from(!wanted.else_flows);
        policy.clears_internet_in = u8::from(!wanted.internet_in && all_fit);
        policy.clears_internet_out = u8::from(!wanted.internet_out && all_fit);
        policy.is_complete = u8::from(all_fit);
        policy
    }

    /// Whether all fitted in: what does not is not spared, which takes room in the flow map.
    pub const fn is_complete(&self) -> bool {
        self.is_complete != 0
    }

    /// Whether there was a place for it.
    fn add_local(&mut self, address: Address) -> bool {
        let place = places(&address).find(|place| {
            let there = self.local[*place];
            there == Address::NONE || there == address
        });
        if let Some(place) = place {
            self.local[place] = address;
        }
        place.is_some()
    }

    /// Whether it is in force.
    #[inline(always)]
    pub(crate) const fn coarsens(&self) -> bool {
        self.coarsens != 0
    }

    #[inline(always)]
    pub(crate) const fn skips_family_of(&self, address: &Address) -> bool {
        (if address.is_v4() { self.skips_v4 } else { self.skips_v6 }) != 0
    }

    #[inline(always)]
    pub(crate) const fn skips_else(&self) -> bool {
        self.skips_else != 0
    }

    /// In the kernel too a function of its own: the verifier looks at it apart, and its stack is.
    #[inline(never)]
    pub(crate) fn is_local(&self, address: &Address) -> bool {
        let mut found = 0;
        for place in places(address) {
            found |= is_zero(self.local[place].difference(address).into());
        }
        found != 0
    }

    #[inline(always)]
    pub(crate) const fn is_udp_server(&self, port: u16) -> bool {
        self.udp_servers[port as usize / BITS] & bit(port) != 0
    }

    /// Whether the tree shows this remote address as the internet.
    #[inline(always)]
    pub(crate) fn clears(&self, remote: &Address, direction: Direction) -> bool {
        let clears = match direction {
            Direction::In => self.clears_internet_in,
            Direction::Out => self.clears_internet_out,
            Direction::Else => 0,
        };
        clears != 0 && remote.is_public() && !self.is_internal(remote)
    }

    #[inline(never)]
    fn is_internal(&self, address: &Address) -> bool {
        let mut found = 0;
        for i in (0..MAX_INTERNAL).take_while(|i| *i < self.internal_count as usize) {
            found |= is_zero(self.internal[i].difference(address).into());
        }
        found != 0
    }
}

/// Where a local address may be: by the finalizer of `MurmurHash3`, whose every bit depends on all.
#[inline(always)]
fn places(address: &Address) -> impl Iterator<Item = usize> {
    let [a, b, c, d] = address.words();
    let mut hash = a.rotate_left(8) ^ b.rotate_left(16) ^ c.rotate_left(24) ^ d;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^= hash >> 16;
    (0..PROBES).map(move |i| (hash as usize + i) % PLACES)
}

#[inline(always)]
const fn bit(port: u16) -> u64 {
    1 << (port as usize % BITS)
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr};

    use super::*;

    const WANTED: Wanted =
        Wanted { v4: true, v6: true, else_flows: true, internet_in: false, internet_out: false };

    fn address(number: u32) -> Address {
        Address::from(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)))
    }

    #[test]
    fn two_hundred_addresses_fit_and_are_the_only_local_ones() {
        for spread in [1, 256, 65_536] {
            let policy = Policy::new((0..200).map(|i| address(i * spread)), &[], [], WANTED);
            assert!(policy.is_complete() && policy.coarsens());
            for i in 0..200 {
                assert!(policy.is_local(&address(i * spread)), "{i} * {spread}");
                assert!(!policy.is_local(&address((i + 200) * spread)), "{i} * {spread}");
            }
        }
    }

    #[test]
    fn an_address_may_be_named_twice() {
        let policy = Policy::new([address(1); 20], &[], [], WANTED);
        assert!(policy.is_complete() && policy.is_local(&address(1)));
    }

    #[test]
    fn more_than_fit_clear_nothing_and_that_can_be_told() {
        let policy = Policy::new((0..5000).map(address), &[], [], WANTED);
        assert!(!policy.is_complete() && !policy.coarsens());
        let networks = [Network::NONE; MAX_INTERNAL + 1];
        let policy = Policy::new([address(1)], &networks, [], WANTED);
        assert!(!policy.is_complete() && policy.coarsens());
    }
}
