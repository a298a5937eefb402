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
    /// The device that is watched, or [`ANY`].
    device: String,
    /// What it was when it was there last.
    arrival: Arrival,
    route: Connection,
    sock_diag: Connection,
}

impl Sockets {
    /// Asks about what arrives at this device.
    ///
    /// # Errors
    /// That the kernel cannot be asked.
    pub(super) fn at(device: &str) -> io::Result<Self> {
        Ok(Self {
            device: device.to_owned(),
            arrival: Arrival::Anywhere,
            route: Connection::to_route()?,
            sock_diag: Connection::to_sock_diag()?,
        })
    }

    /// Whether it is about all devices.
    pub(super) fn is_any(&self) -> bool {
        self.device == ANY
    }

    /// The device as it is now, or was when it was there last.
    pub(super) fn arrival(&mut self) -> io::Result<Arrival> {
        if !self.is_any()
            && let Some(state) = device::State::of(&mut self.route, &self.device)?
        {
            let device = state.device.index;
            let part_of = state.master;
            self.arrival = Arrival::At { device, part_of };
        }
        Ok(self.arrival)
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
        let device = match self.arrival {
            Arrival::At { device, .. } => device,
            Arrival::Anywhere => 0,
        };
        sockets::cgroup(&mut self.sock_diag, protocol, (local, remote), device)
    }

    /// The multicast groups that are joined where packets arrive.
    pub(super) fn groups(&self) -> io::Result<BTreeSet<IpAddr>> {
        groups::joined(|on| self.arrival.reaches(on))
    }

    /// The addresses of broadcasts to the networks there.
    pub(super) fn broadcasts(&mut self) -> io::Result<BTreeSet<IpAddr>> {
        addresses::broadcasts(&mut self.route, |on| self.arrival.reaches(on))
    }

    /// The addresses of this machine, whatever the device.
    pub(super) fn own_addresses(&mut self) -> io::Result<BTreeSet<IpAddr>> {
        addresses::of_all_devices(&mut self.route)
    }
}
