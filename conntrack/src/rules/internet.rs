//! What a rule about `INTERNET` matches. The tree folded everything into it that is outside the
//! internal networks, multicast and broadcast included; a rule about them would be another one, so
//! they are apart here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::addresses::{AddressSet, Family, Interval};

/// IPv4 multicast (RFC 5771) and limited broadcast (RFC 919).
const GROUPS: [IpNet; 2] = [v4([224, 0, 0, 0], 4), v4([255; 4], 32)];
/// Private address space (RFC 1918 section 3).
const PRIVATE: [IpNet; 3] =
    [v4([10, 0, 0, 0], 8), v4([172, 16, 0, 0], 12), v4([192, 168, 0, 0], 16)];
const ALL_IPV4: IpNet = v4([0; 4], 0);
/// Global unicast (RFC 4291 section 2.4).
const GLOBAL_UNICAST: IpNet =
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3));

const fn v4([a, b, c, d]: [u8; 4], prefix_length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix_length))
}

/// Unicast addresses outside the internal networks.
#[derive(Clone, Debug)]
pub struct Internet {
    v4: AddressSet,
    v6: AddressSet,
}

impl Internet {
    /// The internet, if these networks are internal besides those that always are.
    pub fn without(internal: &[IpNet]) -> Self {
        let mut internet =
            Self { v4: AddressSet::of([ALL_IPV4]), v6: AddressSet::of([GLOBAL_UNICAST]) };
        for &network in PRIVATE.iter().chain(&GROUPS).chain(internal) {
            internet.v4.remove(Interval::of(network));
            internet.v6.remove(Interval::of(network));
        }
        internet
    }

    /// That of one family.
    pub fn addresses(&self, family: Family) -> &AddressSet {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// What of the IPv4 multicast and broadcast addresses the tree folds into `INTERNET`; of IPv6, it
/// folds none.
pub(crate) fn folded_groups() -> AddressSet {
    AddressSet::of(GROUPS)
}

/// Whether many hosts listen to this address. The broadcast address of a network does not tell.
pub(crate) fn is_group(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tracker::Scope;

    fn contains(set: &AddressSet, address: IpAddr) -> bool {
        let mut rest = AddressSet::from(address);
        set.intervals().iter().for_each(|interval| rest.remove(*interval));
        rest.is_empty()
    }

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
        /// Else a rule would accept something else than the tracker folded.
        #[test]
        fn it_is_what_the_tracker_folds_but_groups(
            address in any_address(),
            internal in prop::collection::vec(any_network(), 0..3),
        ) {
            let internet = Internet::without(&internal);
            let set = internet.addresses(Family::of(address));
            let folds = Scope::new(internal).is_internet(address);
            prop_assert_eq!(contains(set, address), folds && !is_group(address));
        }
    }
}
