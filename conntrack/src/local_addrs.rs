//! The addresses that make a packet `in` or `out`: those of the watched device, read anew for each
//! batch, or those that the user named for a capture file.

use std::{collections::BTreeSet, io, net::IpAddr};

/// Where the local addresses come from.
#[derive(Clone, Debug)]
pub enum LocalAddrs {
    /// The addresses that this device has at the moment.
    Device(String),
    /// The addresses that this machine has at the moment.
    AllDevices,
    /// Always these.
    Fixed(BTreeSet<IpAddr>),
}

impl LocalAddrs {
    /// The addresses now, of both families.
    ///
    /// # Errors
    /// The kernel's refusal to list them.
    pub fn current(&self) -> io::Result<BTreeSet<IpAddr>> {
        match self {
            Self::Fixed(addresses) => Ok(addresses.clone()),
            Self::Device(device) => listed(|name| is_of_device(name, device)),
            Self::AllDevices => listed(|_| true),
        }
    }
}

/// The addresses of the devices that are `wanted`.
fn listed(wanted: impl Fn(&str) -> bool) -> io::Result<BTreeSet<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs()?;
    let wanted = interfaces.iter().filter(|interface| wanted(&interface.name));
    Ok(wanted.map(if_addrs::Interface::ip).collect())
}

/// An IPv4 address may be listed under its label, `eth0:1`, instead of its device. A device's own
/// name holds no colon (`dev_valid_name` in the kernel's `net/core/dev.c`).
fn is_of_device(listed: &str, device: &str) -> bool {
    listed.split(':').next() == Some(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_labelled_address_belongs_to_its_device() {
        assert!(is_of_device("eth0", "eth0"));
        assert!(is_of_device("eth0:1", "eth0"));
        assert!(!is_of_device("eth01", "eth0"));
    }

    #[test]
    fn loopback_has_its_address() {
        let local = LocalAddrs::Device("lo".to_owned()).current().expect("a list of addresses");
        assert!(local.contains(&IpAddr::from([127, 0, 0, 1])));
    }
}
