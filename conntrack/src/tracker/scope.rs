//! Scope: which addresses are the internet.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Private address space (RFC 1918 section 3).
const PRIVATE: [Ipv4Net; 3] =
    [v4([10, 0, 0, 0], 8), v4([172, 16, 0, 0], 12), v4([192, 168, 0, 0], 16)];

/// Global unicast (RFC 4291 section 2.4 and the IANA registry: the one block in use).
const GLOBAL_UNICAST: Ipv6Net =
    Ipv6Net::new_assert(std::net::Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

const fn v4(octets: [u8; 4], prefix_length: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(std::net::Ipv4Addr::new(a, b, c, d), prefix_length)
}

/// Tells the internet from networks of one's own.
///
/// IPv4: everything but private address space is internet, multicast and broadcast included.
/// IPv6: global unicast is.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    internal: Vec<IpNet>,
}

impl Scope {
    /// A scope in which these networks are not the internet either.
    pub fn new(internal: Vec<IpNet>) -> Self {
        Self { internal }
    }

    /// Whether this address is the internet.
    pub fn is_internet(&self, address: IpAddr) -> bool {
        let public = match address {
            IpAddr::V4(address) => !PRIVATE.iter().any(|net| net.contains(&address)),
            IpAddr::V6(address) => GLOBAL_UNICAST.contains(&address),
        };
        public && !self.internal.iter().any(|net| net.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_internet(address: &str) -> bool {
        Scope::default().is_internet(address.parse().expect("an address"))
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
        let scope = Scope::new(internal.to_vec());
        for address in ["203.0.113.9", "2001:db8::9"] {
            assert!(!scope.is_internet(address.parse().expect("an address")), "{address}");
        }
        assert!(scope.is_internet("203.0.114.1".parse().expect("an address")));
    }
}
