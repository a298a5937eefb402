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

impl Device {
    fn named(name: &str) -> Self {
        let name = name.to_owned();
        Self { name, index: None, link: Link::Ethernet, addresses: Vec::new() }
    }
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
    /// The watched ones first, or what stands for them if that is loopback: the first is the one by which
    /// this host goes to the rest of the world.
    pub(super) devices: Vec<Device>,
    /// How many are watched.
    pub(super) watched: usize,
    pub(super) loopback_addresses: Vec<IpNet>,
    /// Addresses that are not behind the first device, and which they are behind. Where several are watched,
    /// all of which that is known.
    pub(super) routes: BTreeMap<IpAddr, usize>,
    pub(super) broadcasts: BTreeSet<IpAddr>,
    pub(super) groups: BTreeSet<IpAddr>,
    is_loopback: bool,
    local: BTreeSet<IpAddr>,
}

impl Layout {
    /// For these records of devices. With a machine, that is the one they are of.
    pub(super) fn of(
        records: &[Record],
        devices: &[String],
        mut machine: Option<&mut Machine>,
        named: impl Fn(&str) -> bool,
    ) -> Self {
        // What a host sends to itself has no other end.
        let mut watched: Vec<&str> = devices.iter().map(String::as_str).collect();
        watched.retain(|name| *name != LOOPBACK);
        watched.truncate(DEVICES);
        let is_loopback = watched.is_empty();
        if is_loopback {
            watched.push(BEYOND);
        }
        let first = machine.as_deref_mut().and_then(|it| Some(it.way_out()?.name.clone()));
        watched.sort_by_key(|name| first.as_deref() != Some(*name));
        let watched: Vec<_> = watched.into_iter().map(Device::named).collect();
        let mut layout =
            Self { watched: watched.len(), devices: watched, is_loopback, ..Self::default() };
        if let Some(machine) = &machine {
            layout.take_machine(machine, named);
        }
        let connections = || records.iter().map(|record| &record.connection);
        layout.take_local(connections());
        layout.take_groups(connections());
        if layout.watched > 1 {
            layout.take_peers(connections(), machine.as_deref_mut());
        }
        layout.take_others(connections(), machine);
        layout
    }

    /// Devices that have addresses, and those that rules name.
    fn take_machine(&mut self, machine: &Machine, named: impl Fn(&str) -> bool) {
        for device in &machine.devices {
            self.local.extend(device.addresses.iter().map(IpNet::addr));
            if device.is_loopback {
                self.loopback_addresses.extend(&device.addresses);
            } else if let Some(watched) =
                self.devices[..self.watched].iter_mut().find(|it| it.name == device.name)
            {
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
        for network in self.own_networks().copied().collect::<Vec<_>>() {
            // A network of two addresses has none for broadcasts (RFC 3021).
            if matches!(network, IpNet::V4(it) if it.prefix_len() < 31) {
                self.broadcasts.insert(network.broadcast());
            }
        }
    }

    /// What the watched devices have for addresses.
    fn own_networks(&self) -> impl Iterator<Item = &IpNet> {
        self.devices[..self.watched].iter().flat_map(|device| &device.addresses)
    }

    /// The devices' own addresses, as they were recorded. Which has one that is not there any more is not known.
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
        let knows = self.own_networks().any(|network| {
            network.contains(&address) && network.prefix_len() < network.max_prefix_len()
        });
        it.octets()[3] == 255 && !knows && self.local.iter().any(is_in_same)
    }

    /// Where the other ends are: behind the device by which this machine would send there, or else behind the
    /// one that has the address which they talk to.
    fn take_peers<'a>(
        &mut self,
        connections: impl Iterator<Item = &'a Connection>,
        mut machine: Option<&mut Machine>,
    ) {
        for connection in connections {
            let (own, peer) = match connection.direction {
                Direction::In => (connection.destination, connection.source),
                Direction::Out => (connection.source, connection.destination),
                Direction::Else => continue,
            };
            let Some(peer) = address(peer).filter(|it| is_host(*it) && !self.is_local(*it)) else {
                continue;
            };
            let by_route = machine.as_deref_mut().and_then(|machine| machine.way_to(peer));
            let by_route = by_route.and_then(|device| self.watched_place(&device.name));
            let place = by_route.or_else(|| self.place_of(address(own)?)).unwrap_or_default();
            self.routes.entry(peer).or_insert(place);
        }
    }

    fn watched_place(&self, name: &str) -> Option<usize> {
        self.devices[..self.watched].iter().position(|it| it.name == name)
    }

    /// The watched device that has this address.
    fn place_of(&self, own: IpAddr) -> Option<usize> {
        let has = |device: &Device| device.addresses.iter().any(|it| it.addr() == own);
        self.devices[..self.watched].iter().position(has)
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
                [Some(one), Some(other)] if one != other && one.max(other) < self.watched => {
                    self.routes.entry(source).or_insert(one);
                    Some((destination, other))
                }
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
            Direction::In => {
                let by = self.routes.get(&source).copied().or_else(|| self.place_of(destination));
                (Place::Device(by.unwrap_or_default()), Place::Host)
            }
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
