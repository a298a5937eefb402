//! The addresses that make a packet `in` or `out`: those of the watched device, read anew for each
//! batch, or those that the user named for a capture file.

use std::{collections::BTreeSet, io, net::IpAddr};

use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
};

use super::{device, netlink};

/// Where the local addresses come from.
#[derive(Clone, Debug)]
pub enum LocalAddrs {
    /// The addresses that the device of this name has at the moment.
    Device(String),
    /// The addresses that this machine has at the moment.
    AllDevices,
    /// Always these.
    Fixed(BTreeSet<IpAddr>),
}

impl LocalAddrs {
    /// The addresses now, of both families; `None` while the device is not there.
    ///
    /// # Errors
    /// The kernel's refusal to list them.
    pub fn current(&self) -> io::Result<Option<BTreeSet<IpAddr>>> {
        match self {
            Self::Fixed(addresses) => Ok(Some(addresses.clone())),
            Self::Device(name) => device::index(name)?.map(of_device).transpose(),
            Self::AllDevices => {
                let interfaces = if_addrs::get_if_addrs()?;
                Ok(Some(interfaces.iter().map(if_addrs::Interface::ip).collect()))
            }
        }
    }
}

/// Asked for by index: getifaddrs(3), and so `if-addrs`, gives an IPv4 address's label in the place
/// of its device's name, and a label can be anything.
fn of_device(index: u32) -> io::Result<BTreeSet<IpAddr>> {
    let answers = netlink::dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let of_device = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewAddress(message) if message.header.index == index => {
            local_address(&message)
        }
        _ => None,
    });
    Ok(of_device.collect())
}

/// `IFA_LOCAL` is ours where there is one; `IFA_ADDRESS` may then be the other end's.
fn local_address(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn loopback_has_its_address() {
        let current = |of: LocalAddrs| of.current().expect("a list").expect("a device");
        let local = current(LocalAddrs::Device("lo".to_owned()));
        assert!(local.contains(&LOOPBACK));
        let all = current(LocalAddrs::AllDevices);
        assert!(all.is_superset(&local));
    }

    #[test]
    fn a_device_that_is_not_there_has_none() {
        let local = LocalAddrs::Device("nosuchdev0".to_owned()).current();
        assert_eq!(local.expect("an answer"), None);
    }
}
