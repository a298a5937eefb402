//! The addresses that make a packet `in` or `out`: those of the watched device, read anew for each
//! batch, or those that the user named for a capture file.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr},
};

use netlink_packet_route::{RouteNetlinkMessage, address::AddressMessage};

use super::{
    device,
    netlink::{Connection, Reply, number},
};

/// Attributes of an address (`include/uapi/linux/if_addr.h`).
mod attribute {
    /// Of a connection from one end to the other, the other end's.
    pub(super) const ADDRESS: u16 = 1;
    /// Ours, where that is another one.
    pub(super) const LOCAL: u16 = 2;
    /// The one that was set for broadcasts.
    pub(super) const BROADCAST: u16 = 4;
}

/// Length of `struct ifaddrmsg`, behind which the attributes are; it ends with the device's index.
const HEADER: usize = 8;

/// Where the local addresses come from.
#[derive(Clone, Debug)]
pub enum LocalAddrs {
    /// The addresses that some devices have at the moment.
    Devices {
        /// Their names.
        names: Vec<String>,
        /// Addresses that packets to or from them may have besides: service addresses on `lo`, say.
        besides: BTreeSet<IpAddr>,
    },
    /// The addresses that this machine has at the moment.
    AllDevices,
    /// Always these.
    Fixed(BTreeSet<IpAddr>),
}

/// Reads the local addresses, again and again.
pub struct AddressReader(Reader);

enum Reader {
    Fixed(BTreeSet<IpAddr>),
    /// The socket to ask with is kept: it goes on when there are no descriptors left.
    Kernel {
        /// None for all devices.
        devices: Option<Vec<Named>>,
        besides: BTreeSet<IpAddr>,
        connection: Connection,
    },
}

/// A device by its name, and the addresses that it had when it was there last.
struct Named {
    name: String,
    last: BTreeSet<IpAddr>,
}

impl AddressReader {
    /// A reader that has asked for nothing yet.
    ///
    /// # Errors
    /// That the kernel cannot be asked.
    pub fn new(of: LocalAddrs) -> io::Result<Self> {
        let (devices, besides) = match of {
            LocalAddrs::Fixed(addresses) => return Ok(Self(Reader::Fixed(addresses))),
            LocalAddrs::Devices { names, besides } => {
                let named = |name| Named { name, last: BTreeSet::new() };
                (Some(names.into_iter().map(named).collect()), besides)
            }
            LocalAddrs::AllDevices => (None, BTreeSet::new()),
        };
        Ok(Self(Reader::Kernel { devices, besides, connection: Connection::to_route()? }))
    }

    /// Whether the addresses may change.
    pub(crate) const fn is_of_kernel(&self) -> bool {
        matches!(self.0, Reader::Kernel { .. })
    }

    /// The addresses now, of both families; `None` while no device is there. One that is missing beside others
    /// keeps its addresses.
    ///
    /// # Errors
    /// The kernel's refusal to list them.
    pub fn current(&mut self) -> io::Result<Option<BTreeSet<IpAddr>>> {
        match &mut self.0 {
            Reader::Fixed(addresses) => Ok(Some(addresses.clone())),
            Reader::Kernel { devices: None, connection, .. } => {
                of_all_devices(connection).map(Some)
            }
            Reader::Kernel { devices: Some(devices), besides, connection } => {
                of_devices(connection, devices, besides)
            }
        }
    }
}

fn of_devices(
    connection: &mut Connection,
    devices: &mut [Named],
    besides: &BTreeSet<IpAddr>,
) -> io::Result<Option<BTreeSet<IpAddr>>> {
    let mut is_one_there = false;
    for device in devices.iter_mut() {
        if let Some(index) = device::index(connection, &device.name)? {
            device.last = listed(connection, Some(index))?;
            is_one_there = true;
        }
    }
    let all = || devices.iter().flat_map(|device| &device.last).chain(besides);
    Ok(is_one_there.then(|| all().copied().collect()))
}

/// The addresses of this machine.
///
/// The C library is asked only where netlink cannot be had. glibc's getifaddrs(3) lists devices with a
/// buffer of a page, and where one is missing from that list because its names are longer, but has an
/// address, it starts over for ever.
///
/// # Errors
/// The kernel's refusal to list them.
pub(crate) fn of_all_devices(connection: &mut Connection) -> io::Result<BTreeSet<IpAddr>> {
    listed(connection, None).or_else(|_refused| by_c_library())
}

fn by_c_library() -> io::Result<BTreeSet<IpAddr>> {
    Ok(if_addrs::get_if_addrs()?.iter().map(if_addrs::Interface::ip).collect())
}

/// Those of one device, by its index, or of all. `if-addrs` tells them by a name, and has an IPv4
/// address's label in its place, which can be anything.
fn listed(connection: &mut Connection, index: Option<u32>) -> io::Result<BTreeSet<IpAddr>> {
    let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let replies = connection.dump(&question)?;
    let is_meant =
        |reply: &&Reply| index.is_none_or(|index| index_of(reply).is_some_and(|it| it == index));
    Ok(replies.iter().filter(is_meant).filter_map(local_address).collect())
}

/// The addresses of this machine that will be others some day: temporary ones (RFC 8981), and those that
/// somebody gave for a time.
///
/// # Errors
/// The kernel's refusal to list them.
pub(crate) fn that_change() -> io::Result<BTreeSet<IpAddr>> {
    let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let replies = Connection::to_route()?.dump(&question)?;
    let changes = |reply: &&Reply| reply.payload.get(2).is_some_and(|flags| flags & PERMANENT == 0);
    Ok(replies.iter().filter(changes).filter_map(local_address).collect())
}

/// `IFA_F_PERMANENT`: without an end to its lifetime.
const PERMANENT: u8 = 0x80;

/// The addresses that a broadcast to the networks of some devices may have, which are told by their
/// indexes.
///
/// # Errors
/// The kernel's refusal to list the addresses.
pub(crate) fn broadcasts(
    connection: &mut Connection,
    is_meant: impl Fn(u32) -> bool,
) -> io::Result<BTreeSet<IpAddr>> {
    let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let replies = connection.dump(&question)?;
    let is_meant = |reply: &&Reply| index_of(reply).is_some_and(&is_meant);
    let of_devices = replies.iter().filter(is_meant).flat_map(broadcasts_of);
    Ok(of_devices.chain([Ipv4Addr::BROADCAST.into()]).collect())
}

fn broadcasts_of(reply: &Reply) -> impl Iterator<Item = IpAddr> {
    let was_set = of_kind(reply, attribute::BROADCAST).and_then(address);
    let prefix_length = reply.payload.get(1).copied().map_or(u32::MAX, u32::from);
    let network = match of_kind(reply, attribute::ADDRESS).and_then(address) {
        // A network of two addresses has none for broadcasts (RFC 3021).
        Some(IpAddr::V4(address)) if prefix_length < 31 => Some(address),
        _ => None,
    };
    let last = network.map(|it| Ipv4Addr::from(it.to_bits() | u32::MAX >> prefix_length));
    was_set.into_iter().chain(last.map(IpAddr::from))
}

fn index_of(reply: &Reply) -> Option<u32> {
    number(reply.payload.get(HEADER - 4..HEADER)?)
}

pub(super) fn local_address(reply: &Reply) -> Option<IpAddr> {
    let local = of_kind(reply, attribute::LOCAL);
    local.or_else(|| of_kind(reply, attribute::ADDRESS)).and_then(address)
}

fn of_kind(reply: &Reply, kind: u16) -> Option<&[u8]> {
    reply.attributes(HEADER).find_map(|(it, value)| (it == kind).then_some(value))
}

fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn current(of: LocalAddrs) -> Option<BTreeSet<IpAddr>> {
        AddressReader::new(of).expect("a socket").current().expect("an answer")
    }

    fn on(device: &str, besides: &[IpAddr]) -> LocalAddrs {
        let besides = besides.iter().copied().collect();
        LocalAddrs::Devices { names: vec![device.to_owned()], besides }
    }

    #[test]
    fn an_address_can_be_named_besides_those_of_the_device() {
        let service = "192.0.2.7".parse().expect("an address");
        let local = current(on("lo", &[service])).expect("a device");
        assert!(local.contains(&LOOPBACK) && local.contains(&service), "{local:?}");
    }

    #[test]
    fn loopback_has_its_address() {
        let local = current(on("lo", &[])).expect("a device");
        assert!(local.contains(&LOOPBACK));
        let all = current(LocalAddrs::AllDevices).expect("some");
        assert!(all.is_superset(&local));
    }

    #[test]
    fn both_ways_to_list_all_addresses_agree() {
        let mut connection = Connection::to_route().expect("a socket");
        let listed = listed(&mut connection, None).expect("a list");
        assert_eq!(by_c_library().expect("a list"), listed);
    }

    #[test]
    fn a_network_s_last_address_is_for_broadcasts() {
        let mut connection = Connection::to_route().expect("a socket");
        let broadcasts = broadcasts(&mut connection, |_| true).expect("a list");
        for address in ["255.255.255.255", "127.255.255.255"] {
            assert!(broadcasts.contains(&address.parse().expect("an address")), "{broadcasts:?}");
        }
        assert!(!broadcasts.contains(&LOOPBACK));
    }

    #[test]
    fn which_addresses_are_for_broadcasts() {
        let of = |prefix_length: u8, set: &[u8]| {
            let header = [2, prefix_length, 0, 0, 1, 0, 0, 0];
            let attribute = |kind: u8, address: [u8; 4]| [&[8, 0, kind, 0], &address[..]].concat();
            let mut payload = [&header[..], &attribute(1, [10, 1, 2, 3])].concat();
            payload.extend(set.iter().flat_map(|last| attribute(4, [10, 1, 2, *last])));
            let addresses: Vec<_> = broadcasts_of(&Reply { kind: 20, payload }).collect();
            addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of(24, &[]), ["10.1.2.255"]);
        assert_eq!(of(24, &[7]), ["10.1.2.7", "10.1.2.255"]);
        assert_eq!(of(0, &[]), ["255.255.255.255"]);
        for prefix_length in [31, 32, 255] {
            assert!(of(prefix_length, &[]).is_empty(), "/{prefix_length}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_has_none() {
        assert_eq!(current(on("nosuchdev0", &[])), None);
    }
}
