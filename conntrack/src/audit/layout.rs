//! What the host looks like on which rules are tried: the devices, their addresses, what is routed where.
//! From what was recorded, and from the machine that we run on where the tree is of this machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use ipnet::IpNet;

use super::{machine::Machine, tap::Link};
use crate::{
    connection::{Connection, Direction, Host},
    record::Record,
    rules::internet::is_group,
};

/// The device that every namespace has.
pub(super) const LOOPBACK: &str = "lo";
/// Stands for the rest of the world where that is not the watched device.
const BEYOND: &str = "ct-beyond";
/// Devices of this machine that are made; more are left out.
const DEVICES: usize = 256;

/// A device.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) name: String,
    /// The index, if it is to have a certain one.
    pub(super) index: Option<u32>,
    pub(super) link: Link,
    pub(super) addresses: Vec<IpNet>,
}

/// Where a packet is sent and seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// This device of the layout: arriving there, or having left by it.
    Device(usize),
    /// A socket of this host.
    Host,
}

/// The host.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// The watched one first, or what stands for it if that is loopback.
    pub(super) devices: Vec<Device>,
    pub(super) loopback_addresses: Vec<IpNet>,
    /// Addresses that are not behind the first device, and which they are behind.
    pub(super) routes: BTreeMap<IpAddr, usize>,
    pub(super) broadcasts: BTreeSet<IpAddr>,
    pub(super) groups: BTreeSet<IpAddr>,
    is_loopback: bool,
    local: BTreeSet<IpAddr>,
}

impl Layout {
    /// For these records of a device. With a machine, that is the one they are of.
    pub(super) fn of(
        records: &[Record],
        device: &str,
        machine: Option<&mut Machine>,
        named: impl Fn(&str) -> bool,
    ) -> Self {
        let is_loopback = device == LOOPBACK;
        let name = if is_loopback { BEYOND } else { device };
        let watched =
            Device { name: name.to_owned(), index: None, link: Link::Ethernet, addresses: vec![] };
        let mut layout = Self { devices: vec![watched], is_loopback, ..Self::default() };
        if let Some(machine) = &machine {
            layout.take_machine(machine, named);
        }
        let connections = || records.iter().map(|record| &record.connection);
        layout.take_local(connections());
        layout.take_groups(connections());
        layout.take_others(connections(), machine);
        layout
    }

    /// Devices that have addresses, and those that rules name.
    fn take_machine(&mut self, machine: &Machine, named: impl Fn(&str) -> bool) {
        for device in &machine.devices {
            self.local.extend(device.addresses.iter().map(IpNet::addr));
            if device.is_loopback {
                self.loopback_addresses.extend(&device.addresses);
            } else if device.name == self.devices[0].name {
                let watched = &mut self.devices[0];
                watched.index = Some(device.index);
                watched.link = device.link;
                watched.addresses.extend(&device.addresses);
            } else if self.devices.len() < DEVICES
                && (!device.addresses.is_empty() || named(&device.name))
            {
                self.devices.push(Device {
                    name: device.name.clone(),
                    index: Some(device.index),
                    link: device.link,
                    addresses: device.addresses.clone(),
                });
            }
        }
        for network in self.devices[0].addresses.clone() {
            // A network of two addresses has none for broadcasts (RFC 3021).
            if matches!(network, IpNet::V4(it) if it.prefix_len() < 31) {
                self.broadcasts.insert(network.broadcast());
            }
        }
    }

    /// The device's own addresses, as they were recorded.
    fn take_local<'a>(&mut self, connections: impl Iterator<Item = &'a Connection>) {
        let local = connections.filter_map(|connection| match connection.direction {
            Direction::In => address(connection.destination),
            Direction::Out => address(connection.source),
            Direction::Else => None,
        });
        for address in local.filter(|it| is_host(*it)) {
            if self.local.insert(address) {
                self.devices[0].addresses.push(address.into());
            }
        }
    }

    /// What is for many, as far as somebody here may take it.
    fn take_groups<'a>(&mut self, connections: impl Iterator<Item = &'a Connection>) {
        for address in connections.filter_map(|connection| address(connection.destination)) {
            if address.is_multicast() {
                self.groups.insert(address);
            } else if self.may_be_broadcast(address) {
                self.broadcasts.insert(address);
            }
        }
        self.broadcasts.insert(Ipv4Addr::BROADCAST.into());
    }

    /// Whether this would be the broadcast address of a network of a usual size that we are in.
    fn may_be_broadcast(&self, address: IpAddr) -> bool {
        let IpAddr::V4(it) = address else { return false };
        let is_in_same = |local: &IpAddr| match local {
            IpAddr::V4(local) => local.octets()[..3] == it.octets()[..3],
            IpAddr::V6(_) => false,
        };
        let knows = self.devices[0].addresses.iter().any(|network| {
            network.contains(&address) && network.prefix_len() < network.max_prefix_len()
        });
        it.octets()[3] == 255 && !knows && self.local.iter().any(is_in_same)
    }

    /// Connections between others pass through: one of their ends is behind another device.
    fn take_others<'a>(
        &mut self,
        connections: impl Iterator<Item = &'a Connection> + Clone,
        mut machine: Option<&mut Machine>,
    ) {
        let here = peers(connections.clone());
        for connection in connections.filter(|it| it.direction == Direction::Else) {
            let (Some(source), Some(destination)) =
                (address(connection.source), address(connection.destination))
            else {
                continue;
            };
            if is_group(destination) || self.broadcasts.contains(&destination) {
                continue;
            }
            let ends = [source, destination]
                .map(|end| machine.as_deref_mut().and_then(|machine| self.behind(end, machine)));
            let far = match ends {
                [Some(0), Some(device)] => Some((destination, device)),
                [Some(device), Some(0)] => Some((source, device)),
                [Some(_), Some(_)] => None,
                _ if here.contains(&destination) && !here.contains(&source) => {
                    Some((source, self.beyond()))
                }
                _ => Some((destination, self.beyond())),
            };
            if let Some((address, device)) = far
                && !self.local.contains(&address)
                && !here.contains(&address)
            {
                self.routes.entry(address).or_insert(device);
            }
        }
    }

    /// The device that this machine would send by.
    fn behind(&mut self, address: IpAddr, machine: &mut Machine) -> Option<usize> {
        let device = machine.way_to(address)?;
        if let Some(place) = self.devices.iter().position(|it| it.name == device.name) {
            return Some(place);
        }
        if device.is_loopback || self.devices.len() >= DEVICES {
            return None;
        }
        self.devices.push(Device {
            name: device.name.clone(),
            index: Some(device.index),
            link: device.link,
            addresses: Vec::new(),
        });
        Some(self.devices.len() - 1)
    }

    /// The device that stands for all others.
    fn beyond(&mut self) -> usize {
        if let Some(place) = self.devices.iter().position(|it| it.name == BEYOND) {
            return place;
        }
        self.devices.push(Device {
            name: BEYOND.to_owned(),
            index: None,
            link: Link::Ethernet,
            addresses: Vec::new(),
        });
        self.devices.len() - 1
    }

    /// Where a packet of this direction is sent, and where it comes out if nothing stops it.
    pub(super) fn way(
        &self,
        direction: Direction,
        source: IpAddr,
        destination: IpAddr,
    ) -> (Place, Place) {
        let place = |address| match self.routes.get(&address) {
            _ if self.is_local(address) => Place::Host,
            Some(device) => Place::Device(*device),
            None => Place::Device(0),
        };
        match direction {
            _ if self.is_loopback => (Place::Host, place(destination)),
            Direction::In => (Place::Device(0), Place::Host),
            Direction::Out => (Place::Host, place(destination)),
            Direction::Else if self.is_for_many(destination) => (Place::Device(0), Place::Host),
            Direction::Else => (place(source), place(destination)),
        }
    }

    pub(super) fn is_for_many(&self, address: IpAddr) -> bool {
        is_group(address) || self.broadcasts.contains(&address)
    }

    fn is_local(&self, address: IpAddr) -> bool {
        self.local.contains(&address) || (self.is_loopback && address.is_loopback())
    }
}

/// Who is behind the watched device for certain.
fn peers<'a>(connections: impl Iterator<Item = &'a Connection>) -> BTreeSet<IpAddr> {
    let peers = connections.filter_map(|connection| match connection.direction {
        Direction::In => address(connection.source),
        Direction::Out => address(connection.destination),
        Direction::Else => None,
    });
    peers.collect()
}

const fn address(host: Host) -> Option<IpAddr> {
    match host {
        Host::Address(address) => Some(address),
        Host::Internet => None,
    }
}

/// Whether a device can have it.
fn is_host(address: IpAddr) -> bool {
    !is_group(address) && !address.is_unspecified() && !address.is_loopback()
}
