//! The addresses that `INTERNET` stands for. The tree folds multicast and broadcast into it, too; they
//! are a set of their own here, because they need rules of their own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::addresses::AddressSet;
use crate::connection::IpVersion;

/// IPv4 multicast (RFC 5771) and limited broadcast (RFC 919).
const GROUPS: [IpNet; 2] = [v4([224, 0, 0, 0], 4), v4([255; 4], 32)];
/// Private address space (RFC 1918 section 3).
const PRIVATE: [IpNet; 3] =
    [v4([10, 0, 0, 0], 8), v4([172, 16, 0, 0], 12), v4([192, 168, 0, 0], 16)];
const ALL_IPV4: IpNet = v4([0; 4], 0);
/// Global unicast (RFC 4291 section 2.4).
const GLOBAL_UNICAST: IpNet = v6(0x2000, 3);

const fn v6(first: u16, prefix_length: u8) -> IpNet {
    let network = Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0);
    IpNet::V6(Ipv6Net::new_assert(network, prefix_length))
}

const fn v4([a, b, c, d]: [u8; 4], prefix_length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix_length))
}

/// Unicast addresses outside the internal networks.
#[derive(Clone, Debug)]
pub struct Internet(AddressSet);

impl Internet {
    /// The internet, if these networks are internal besides those that always are.
    pub fn without(internal: &[IpNet]) -> Self {
        let mut addresses = AddressSet::of([ALL_IPV4, GLOBAL_UNICAST]);
        for &network in PRIVATE.iter().chain(&GROUPS).chain(internal) {
            addresses.remove(network.into());
        }
        Self(addresses)
    }

    /// Whether an address is in it.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address)
    }

    /// Its addresses of one version.
    pub fn addresses(&self, version: IpVersion) -> AddressSet {
        self.0.of_version(version)
    }
}

/// The multicast and broadcast addresses that the tree folds into `INTERNET`. Those of IPv6 keep
/// their names.
pub(crate) fn folded_groups() -> AddressSet {
    AddressSet::of(GROUPS)
}

/// Whether this is a multicast address or the broadcast address of all networks.
pub(crate) fn is_group(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// Whether this may also be the broadcast address of some network: those mostly end in 255.
pub(super) fn may_be_group(address: IpAddr) -> bool {
    let ends_in_255 = matches!(address, IpAddr::V4(address) if address.octets()[3] == 255);
    ends_in_255 || is_group(address)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{rules::addresses::version, tracker::Scope};

    fn any_network() -> impl Strategy<Value = IpNet> {
        (any_address(), 0..=128_u8).prop_map(|(address, length)| {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            IpNet::new(address, length.min(longest)).expect("a length of this family").trunc()
        })
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
            any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits >> 2 | 1 << 125).into()),
            any::<IpAddr>(),
            Just(IpAddr::V4(Ipv4Addr::BROADCAST)),
        ]
    }

    proptest! {
        /// Otherwise a rule would not accept exactly what the tracker folded.
        #[test]
        fn it_is_what_the_tracker_folds_except_groups(
            address in any_address(),
            internal in prop::collection::vec(any_network(), 0..3),
        ) {
            let internet = Internet::without(&internal);
            let folds = Scope::new(internal).is_internet(address);
            let contains = internet.addresses(version(address)).contains(address);
            prop_assert_eq!(contains, folds && !is_group(address));
        }
    }
}
