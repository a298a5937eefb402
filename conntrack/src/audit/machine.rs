//! What the machine that we run on has: its devices and their addresses, and by which of them it would
//! send.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::AddressMessage,
    link::{LinkAttribute, LinkExtentMask, LinkHeader, LinkLayerType, LinkMessage},
    route::{RouteAttribute, RouteMessage},
};

use super::{network::family, tap::Link};
use crate::host::netlink::{Connection, Reply, number, text};

/// Lengths of the headers behind which the attributes are, and the attributes
/// (`include/uapi/linux/{if_link,if_addr,rtnetlink}.h`).
const LINK_HEADER: usize = 16;
const LINK_NAME: u16 = 3;
const ADDRESS_HEADER: usize = 8;
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const ROUTE_HEADER: usize = 12;
const OUTPUT: u16 = 4;

/// A device of the machine.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) link: Link,
    pub(super) is_loopback: bool,
    pub(super) addresses: Vec<IpNet>,
}

/// This machine, at the moment it was asked.
pub(super) struct Machine {
    pub(super) devices: Vec<Device>,
    connection: Connection,
}

impl Machine {
    /// # Errors
    /// The kernel's refusal to tell.
    pub(super) fn read() -> io::Result<Self> {
        let mut connection = Connection::to_route()?;
        let mut question = LinkMessage::default();
        // See `host::device`: else the list may end early.
        question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let links = connection.dump(&RouteNetlinkMessage::GetLink(question))?;
        let mut devices: Vec<_> = links.iter().filter_map(device).collect();
        let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        for reply in connection.dump(&question)? {
            let Some((index, network)) = address(&reply) else { continue };
            if let Some(device) = devices.iter_mut().find(|device| device.index == index) {
                device.addresses.push(network);
            }
        }
        Ok(Self { devices, connection })
    }

    pub(super) fn device(&self, name: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == name)
    }

    /// All addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.devices.iter().flat_map(|device| &device.addresses).map(IpNet::addr)
    }

    /// The device by which this machine goes to the rest of the world, if it does: by an address that is nobody's
    /// (RFC 5737, RFC 3849).
    pub(super) fn way_out(&mut self) -> Option<&Device> {
        const NOBODY: [IpAddr; 2] = [
            IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        ];
        let index = NOBODY.into_iter().find_map(|it| Some(self.way_to(it)?.index))?;
        self.devices.iter().find(|device| device.index == index)
    }

    /// The device by which a packet to this address would leave, if it would.
    pub(super) fn way_to(&mut self, address: IpAddr) -> Option<&Device> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(address);
        message.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
        message.attributes.push(RouteAttribute::Destination(address.into()));
        let reply = self.connection.get(RouteNetlinkMessage::GetRoute(message)).ok()?;
        let mut attributes = reply.attributes(ROUTE_HEADER);
        let index =
            attributes.find_map(|(kind, value)| (kind == OUTPUT).then(|| number(value))?)?;
        self.devices.iter().find(|device| device.index == index)
    }
}

fn device(reply: &Reply) -> Option<Device> {
    let header = LinkHeader::parse(&reply.payload).ok()?;
    let is_loopback = header.link_layer_type == LinkLayerType::Loopback;
    let link = match header.link_layer_type {
        LinkLayerType::Ether | LinkLayerType::Loopback => Link::Ethernet,
        _ => Link::None,
    };
    let mut attributes = reply.attributes(LINK_HEADER);
    let name = attributes.find_map(|(kind, value)| (kind == LINK_NAME).then(|| text(value)))?;
    Some(Device { name, index: header.index, link, is_loopback, addresses: Vec::new() })
}

fn address(reply: &Reply) -> Option<(u32, IpNet)> {
    let of_kind = |kind| {
        reply.attributes(ADDRESS_HEADER).find_map(|(it, value)| (it == kind).then_some(value))
    };
    let octets = of_kind(LOCAL).or_else(|| of_kind(ADDRESS))?;
    let address = match octets.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
    };
    let prefix_length = *reply.payload.get(1)?;
    let index = number(reply.payload.get(ADDRESS_HEADER - 4..ADDRESS_HEADER)?)?;
    Some((index, IpNet::new(address, prefix_length).ok()?))
}
