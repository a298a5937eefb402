//! Addresses and networks in a form that is quick to compare, the same in the kernel's maps and in
//! user space; and which addresses are the internet's.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The version of the Internet Protocol, by its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum IpVersion {
    /// RFC 791.
    V4 = 4,
    /// RFC 8200.
    V6 = 6,
}

/// The octets in network byte order, as they lie in memory, in words: equal where the octets are. An
/// IPv4 address is in its IPv4-mapped form (RFC 4291 section 2.5.5.2).
pub(crate) type Words = [u32; 4];

/// An address with its IP version, for an IPv6 address can look like an IPv4-mapped one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct Address {
    words: Words,
    /// An [`IpVersion`].
    version: u32,
}

impl Address {
    /// No address, of no version.
    pub(crate) const NONE: Self = Self { words: [0; 4], version: 0 };

    /// The four octets of an IPv4 address, as they lie in memory.
    #[inline(always)]
    pub(crate) const fn v4(octets: u32) -> Self {
        Self { words: [0, 0, 0xffff_u32.to_be(), octets], version: IpVersion::V4 as u32 }
    }

    /// The octets of an IPv6 address, as they lie in memory.
    #[inline(always)]
    pub(crate) const fn v6(words: Words) -> Self {
        Self { words, version: IpVersion::V6 as u32 }
    }

    #[inline(always)]
    pub(crate) const fn new(version: u8, words: Words) -> Self {
        Self { words, version: version as u32 }
    }

    #[inline(always)]
    pub(crate) const fn words(&self) -> Words {
        self.words
    }

    #[inline(always)]
    pub(crate) const fn version(&self) -> u8 {
        let [version, ..] = self.version.to_le_bytes();
        version
    }

    /// 0 where both are the same. Without a branch: the verifier follows each way through one.
    #[inline(always)]
    pub(crate) const fn difference(&self, other: &Self) -> u32 {
        let one = &self.words;
        let two = &other.words;
        (one[0] ^ two[0])
            | (one[1] ^ two[1])
            | (one[2] ^ two[2])
            | (one[3] ^ two[3])
            | (self.version ^ other.version)
    }

    /// In the standard library's form.
    pub fn ip(&self) -> IpAddr {
        let [a, b, c, d] = self.words.map(u32::from_be);
        if self.is_v4() {
            return IpAddr::V4(Ipv4Addr::from_bits(d));
        }
        let bits = [a, b, c, d].into_iter().fold(0, |bits, word| bits << 32 | u128::from(word));
        IpAddr::V6(Ipv6Addr::from_bits(bits))
    }

    /// Whether it is an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.version == IpVersion::V4 as u32
    }

    /// Whether it is an address of the internet, where nobody has said otherwise.
    ///
    /// IPv4: everything outside private address space (RFC 1918 section 3) is, multicast and
    /// broadcast included. IPv6: global unicast is, `2000::/3` (RFC 4291 section 2.4 and the
    /// IANA registry).
    #[inline(always)]
    pub const fn is_public(&self) -> bool {
        if self.is_v4() {
            let [a, b, ..] = self.words[3].to_ne_bytes();
            !matches!([a, b], [10, _] | [172, 16..=31] | [192, 168])
        } else {
            let [a, ..] = self.words[0].to_ne_bytes();
            a >> 5 == 0b001
        }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::v4(address.to_bits().to_be()),
            IpAddr::V6(address) => Self::v6(words(address.to_bits())),
        }
    }
}

/// A network: all addresses that share the first bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Network {
    first: Address,
    mask: Words,
}

impl Network {
    /// No address, of no version.
    pub(crate) const NONE: Self = Self { first: Address::NONE, mask: [0; 4] };

    /// The network of `address` with so many leading bits; of the address's family, so at most 32
    /// or 128.
    pub fn new(address: IpAddr, prefix_length: u8) -> Self {
        let above = if address.is_ipv4() { 96 } else { 0 };
        let host_bits = 128_u32.saturating_sub(above + u32::from(prefix_length));
        let mask = words(u128::MAX.checked_shl(host_bits).unwrap_or(0));
        Self { first: masked(&Address::from(address), mask), mask }
    }

    /// Whether the address is one of this network.
    #[inline(always)]
    pub const fn contains(&self, address: &Address) -> bool {
        self.difference(address) == 0
    }

    /// 0 where the address is one of this network, without a branch.
    #[inline(always)]
    pub(crate) const fn difference(&self, address: &Address) -> u32 {
        self.first.difference(&masked(address, self.mask))
    }
}

#[inline(always)]
const fn masked(address: &Address, mask: Words) -> Address {
    let [a, b, c, d] = address.words;
    Address { words: [a & mask[0], b & mask[1], c & mask[2], d & mask[3]], ..*address }
}

/// Of a number, as they lie in memory.
#[expect(clippy::cast_possible_truncation, reason = "cut into four")]
const fn words(bits: u128) -> Words {
    let (a, b, c, d) = ((bits >> 96) as u32, (bits >> 64) as u32, (bits >> 32) as u32, bits as u32);
    [a.to_be(), b.to_be(), c.to_be(), d.to_be()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::from(text.parse::<IpAddr>().expect("an address"))
    }

    #[test]
    fn an_address_comes_back_as_it_went_in() {
        for text in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "::"] {
            assert_eq!(address(text).ip(), text.parse::<IpAddr>().expect("an address"));
        }
    }

    #[test]
    fn a_mapped_address_is_not_the_ipv4_address() {
        assert_ne!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_ne!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    }

    #[test]
    fn a_network_ends_where_its_prefix_says() {
        let inside = |network: &str, prefix_length, text| {
            Network::new(network.parse().expect("an address"), prefix_length)
                .contains(&address(text))
        };
        assert!(inside("203.0.113.9", 24, "203.0.113.255"));
        assert!(!inside("203.0.113.9", 24, "203.0.114.0"));
        assert!(inside("2001:db8::", 33, "2001:db8:7fff::1"));
        assert!(!inside("2001:db8::", 33, "2001:db8:8000::"));
        assert!(inside("203.0.113.9", 32, "203.0.113.9"));
        assert!(inside("0.0.0.0", 0, "255.255.255.255"));
        assert!(inside("::", 0, "ffff::"));
        assert!(!inside("0.0.0.0", 0, "::"), "families are apart");
        assert!(!inside("::", 0, "0.0.0.0"), "families are apart");
    }
}
