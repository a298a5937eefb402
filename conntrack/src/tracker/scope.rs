//! Scope: which addresses are the internet.

use conntrack_common::address::{Address, Network};
use ipnet::IpNet;

/// Tells the internet from networks of one's own.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    internal: Vec<Network>,
    /// The same, as they were named.
    named: Vec<IpNet>,
}

impl Scope {
    /// A scope in which these networks are not the internet either.
    pub fn new(internal: impl IntoIterator<Item = IpNet>) -> Self {
        let network = |net: IpNet| Network::new(net.addr(), net.prefix_len());
        let named: Vec<_> = internal.into_iter().collect();
        Self { internal: named.iter().copied().map(network).collect(), named }
    }

    /// Whether this address is the internet.
    pub fn is_internet(&self, address: impl Into<Address>) -> bool {
        let address = address.into();
        address.is_public() && !self.internal.iter().any(|net| net.contains(&address))
    }

    /// The networks that were named as not being the internet.
    pub fn named(&self) -> &[IpNet] {
        &self.named
    }

    /// The networks that are not, besides those that never are.
    pub(super) fn internal(&self) -> &[Network] {
        &self.internal
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn is_internet(address: &str) -> bool {
        Scope::default().is_internet(parsed(address))
    }

    fn parsed(address: &str) -> IpAddr {
        address.parse().expect("an address")
    }

    #[test]
    fn private_address_space_ends_where_rfc_1918_says() {
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
        ] {
            assert!(!is_internet(inside), "{inside}");
        }
        for outside in [
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
        ] {
            assert!(is_internet(outside), "{outside}");
        }
    }

    #[test]
    fn ipv4_multicast_broadcast_and_loopback_are_not_private() {
        for address in ["224.0.0.251", "255.255.255.255", "127.0.0.1", "169.254.1.1"] {
            assert!(is_internet(address), "{address}");
        }
    }

    #[test]
    fn ipv6_internet_is_global_unicast() {
        for inside in ["2000::", "2001:db8::1", "3fff:ffff::1"] {
            assert!(is_internet(inside), "{inside}");
        }
        for outside in
            ["1fff::1", "4000::", "fd00::1", "fe80::1", "ff02::fb", "::1", "::ffff:8.8.8.8"]
        {
            assert!(!is_internet(outside), "{outside}");
        }
    }

    #[test]
    fn named_networks_are_not_the_internet() {
        let internal =
            ["203.0.113.0/24", "2001:db8::/32"].map(|net| net.parse().expect("a network"));
        let scope = Scope::new(internal);
        for address in ["203.0.113.9", "2001:db8::9"] {
            assert!(!scope.is_internet(parsed(address)), "{address}");
        }
        assert!(scope.is_internet(parsed("203.0.114.1")));
    }
}
