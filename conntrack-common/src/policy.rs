//! The policy: what the machine and the user have to say about flows, as a table of fixed size that
//! the kernel's programs and the libpcap sources look things up in. The agent keeps it current.
//!
//! It is for sparing work only: a flow that is kept whole leads to the same tree, so what does not
//! fit in here is simply not spared.

use crate::{
    address::{Address, Network},
    flow::Direction,
};

/// Local addresses that fit in. They are compared one by one, which is the quickest for the few that
/// a device has.
pub const MAX_LOCAL: usize = 64;

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
    local: [Address; MAX_LOCAL],
    internal: [Network; MAX_INTERNAL],
    /// One bit for each port.
    udp_servers: [u64; PORTS / BITS],
    local_count: u32,
    internal_count: u32,
    coarsens: u8,
    skips_v4: u8,
    skips_v6: u8,
    skips_else: u8,
    clears_internet_in: u8,
    clears_internet_out: u8,
    pad: [u8; 2],
}

const _: () = assert!(
    size_of::<Policy>()
        == size_of::<[Address; MAX_LOCAL]>()
            + size_of::<[Network; MAX_INTERNAL]>()
            + PORTS / 8
            + 2 * size_of::<u32>()
            + 8,
    "parts follow one another without gaps"
);

impl Policy {
    /// The policy that clears nothing.
    pub const NONE: Self = Self {
        local: [Address::NONE; MAX_LOCAL],
        internal: [Network::NONE; MAX_INTERNAL],
        udp_servers: [0; PORTS / BITS],
        local_count: 0,
        internal_count: 0,
        coarsens: 0,
        skips_v4: 0,
        skips_v6: 0,
        skips_else: 0,
        clears_internet_in: 0,
        clears_internet_out: 0,
        pad: [0; 2],
    };

    /// The policy for these addresses of the device, networks of one's own, UDP ports of local
    /// servers and wishes. More addresses than fit in: it clears nothing. More networks than fit in:
    /// it clears no remote addresses.
    pub fn new(
        local: impl IntoIterator<Item = Address>,
        internal: &[Network],
        udp_servers: impl IntoIterator<Item = u16>,
        wanted: Wanted,
    ) -> Self {
        let mut policy = Self::NONE;
        for address in local {
            let Some(slot) = policy.local.get_mut(policy.local_count as usize) else {
                return Self::NONE;
            };
            *slot = address;
            policy.local_count += 1;
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
        policy
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
        let count = self.local_count as usize;
        (0..MAX_LOCAL).take_while(|i| *i < count).any(|i| self.local[i].is(address))
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
        let count = self.internal_count as usize;
        (0..MAX_INTERNAL).take_while(|i| *i < count).any(|i| self.internal[i].contains(address))
    }
}

#[inline(always)]
const fn bit(port: u16) -> u64 {
    1 << (port as usize % BITS)
}
