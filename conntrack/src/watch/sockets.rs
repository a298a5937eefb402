//! The sockets of this network namespace, as the kernel tells them while a device is watched. What it is
//! asked with is kept: that goes on when there are no descriptors left.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
};

use super::config::ANY;
use crate::{
    connection::Protocol,
    host::{
        addresses, device, groups,
        netlink::Connection,
        sockets::{self, Arrival, Connected, Listening},
    },
};

/// Asks for sockets, and for what decides which of them a packet reaches.
pub(super) struct Sockets {
    /// The devices that are watched, or [`ANY`].
    devices: Vec<Watched>,
    route: Connection,
    sock_diag: Connection,
}

/// A device, as it was when it was there last.
struct Watched {
    name: String,
    index: Option<u32>,
    /// Index of what it is a part of.
    part_of: Option<u32>,
}

impl Sockets {
    /// Asks about what arrives at these devices.
    ///
    /// # Errors
    /// That the kernel cannot be asked.
    pub(super) fn at(devices: &[String]) -> io::Result<Self> {
        Ok(Self {
            devices: devices
                .iter()
                .map(|name| Watched { name: name.clone(), index: None, part_of: None })
                .collect(),
            route: Connection::to_route()?,
            sock_diag: Connection::to_sock_diag()?,
        })
    }

    /// Whether it is about all devices.
    pub(super) fn is_any(&self) -> bool {
        self.devices.iter().any(|it| it.name == ANY)
    }

    /// The devices as they are now, or were when they were there last.
    pub(super) fn arrival(&mut self) -> io::Result<Arrival> {
        if self.is_any() {
            return Ok(Arrival::Anywhere);
        }
        for device in &mut self.devices {
            if let Some(state) = device::State::of(&mut self.route, &device.name)? {
                device.index = Some(state.device.index);
                device.part_of = state.master;
            }
        }
        Ok(self.last_arrival())
    }

    /// What was never there may be anything.
    fn last_arrival(&self) -> Arrival {
        if self.devices.iter().any(|it| it.index.is_none()) {
            return Arrival::Anywhere;
        }
        Arrival::Among(
            self.devices.iter().flat_map(|it| [it.index, it.part_of]).flatten().collect(),
        )
    }

    pub(super) fn listening(&mut self, protocol: Protocol) -> io::Result<Listening> {
        Listening::now(&mut self.sock_diag, protocol)
    }

    pub(super) fn for_each_connected(
        &mut self,
        protocol: Protocol,
        each: impl FnMut(Connected),
    ) -> io::Result<()> {
        sockets::for_each_connected(&mut self.sock_diag, protocol, each)
    }

    /// The number of the control group of the socket with these ends.
    pub(super) fn cgroup(
        &mut self,
        protocol: Protocol,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> io::Result<u64> {
        let ends = (local, remote);
        let mut told = Ok(0);
        // One that is bound to a device is found at that one.
        for device in self.indexes() {
            told = sockets::cgroup(&mut self.sock_diag, protocol, ends, device);
            if matches!(told, Ok(1..)) {
                break;
            }
        }
        told
    }

    /// Those of the devices; 0 where there is none to name.
    fn indexes(&self) -> Vec<u32> {
        let known: Vec<_> = self.devices.iter().filter_map(|it| it.index).collect();
        if known.is_empty() { vec![0] } else { known }
    }

    /// The multicast groups that are joined where packets arrive.
    pub(super) fn groups(&self) -> io::Result<BTreeSet<IpAddr>> {
        let arrival = self.last_arrival();
        groups::joined(|on| arrival.reaches(on))
    }

    /// The addresses of broadcasts to the networks there.
    pub(super) fn broadcasts(&mut self) -> io::Result<BTreeSet<IpAddr>> {
        let arrival = self.last_arrival();
        addresses::broadcasts(&mut self.route, |on| arrival.reaches(on))
    }

    /// The addresses of this machine, whatever the device.
    pub(super) fn own_addresses(&mut self) -> io::Result<BTreeSet<IpAddr>> {
        addresses::of_all_devices(&mut self.route)
    }
}
