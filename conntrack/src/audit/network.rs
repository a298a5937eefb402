//! Devices, addresses and routes of the namespace, set over rtnetlink; connection tracking's table emptied
//! over ctnetlink.

use std::{io, net::IpAddr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NetlinkSerializable};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkMessage},
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use rustix::io::Errno;

use crate::host::{
    device,
    netlink::{Connection, Question, Reply},
};

/// Packets that a device keeps until they are read.
const QUEUE: u32 = 10_000;
/// The routing table of addresses that are this host's.
const LOCAL_TABLE: u8 = 255;

/// The namespace of the thread that made it.
pub(super) struct Network {
    route: Connection,
    netfilter: Option<Connection>,
}

impl Network {
    /// # Errors
    /// That the kernel cannot be asked.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { route: Connection::to_route()?, netfilter: Connection::to_netfilter().ok() })
    }

    pub(super) fn index(&mut self, device: &str) -> io::Result<u32> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no device {device}"));
        device::index(&mut self.route, device)?.ok_or_else(missing)
    }

    /// Without neighbour discovery: whoever is at the other end has one address.
    pub(super) fn set_up(&mut self, index: u32, link_address: Option<&[u8]>) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Noarp;
        message.header.change_mask = LinkFlags::Noarp;
        message.attributes.push(LinkAttribute::TxQueueLen(QUEUE));
        message.attributes.extend(link_address.map(|it| LinkAttribute::Address(it.to_vec())));
        self.route.command(RouteNetlinkMessage::SetLink(message), 0)?;
        self.up(index)
    }

    pub(super) fn up(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.route.command(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Gives a device an address. One that it has is no error.
    pub(super) fn add_address(
        &mut self,
        index: u32,
        address: IpAddr,
        prefix_length: u8,
    ) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = prefix_length;
        message.header.index = index;
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes =
            vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        let command = RouteNetlinkMessage::NewAddress(message);
        unless_it_exists(self.route.command(command, NLM_F_CREATE | NLM_F_EXCL))
    }

    /// Whether a packet to this address is for this host by now: with IPv6 that takes the kernel a moment.
    pub(super) fn is_local(&mut self, address: IpAddr) -> io::Result<bool> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(address);
        message.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
        message.attributes.push(RouteAttribute::Destination(address.into()));
        let reply = self.route.get(RouteNetlinkMessage::GetRoute(message))?;
        let header = RouteHeader::parse(&reply.payload)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(header.kind == RouteType::Local)
    }

    /// A route to everything.
    pub(super) fn add_default_route(
        &mut self,
        index: u32,
        family: AddressFamily,
        metric: u32,
    ) -> io::Result<()> {
        let mut message = route(family, RouteType::Unicast);
        message.attributes.push(RouteAttribute::Priority(metric));
        self.add_route(message, index, None)
    }

    /// A route to one address.
    pub(super) fn add_host_route(&mut self, index: u32, address: IpAddr) -> io::Result<()> {
        self.add_route(route(family(address), RouteType::Unicast), index, Some(address))
    }

    /// Has the host take an address for a broadcast address of its network.
    pub(super) fn add_broadcast(&mut self, index: u32, address: IpAddr) -> io::Result<()> {
        let mut message = route(family(address), RouteType::Broadcast);
        message.header.table = LOCAL_TABLE;
        self.add_route(message, index, Some(address))
    }

    fn add_route(
        &mut self,
        mut message: RouteMessage,
        index: u32,
        destination: Option<IpAddr>,
    ) -> io::Result<()> {
        if let Some(address) = destination {
            message.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
            message.attributes.push(RouteAttribute::Destination(address.into()));
        }
        message.attributes.push(RouteAttribute::Oif(index));
        let command = RouteNetlinkMessage::NewRoute(message);
        unless_it_exists(self.route.command(command, NLM_F_CREATE | NLM_F_REPLACE))
    }

    /// Has connection tracking forget everything; where nothing is tracked, there is nothing to forget.
    pub(super) fn forget_connections(&mut self) {
        if let Some(netfilter) = &mut self.netfilter {
            let _not_tracked = netfilter.command(ForgetConnections, 0);
        }
    }
}

fn unless_it_exists(added: io::Result<()>) -> io::Result<()> {
    match added {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => Ok(()),
        added => added,
    }
}

pub(super) const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn route(family: AddressFamily, kind: RouteType) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Link;
    message.header.kind = kind;
    message
}

/// Deletes all entries of the table (`include/uapi/linux/netfilter/nfnetlink_conntrack.h`).
struct ForgetConnections;

/// `NFNL_SUBSYS_CTNETLINK` and `IPCTNL_MSG_CT_DELETE`.
const FORGET: u16 = 1 << 8 | 2;
/// `struct nfgenmsg`: of any family, version 0.
const NETFILTER_HEADER: [u8; 4] = [0; 4];

impl NetlinkSerializable for ForgetConnections {
    fn message_type(&self) -> u16 {
        FORGET
    }

    fn buffer_len(&self) -> usize {
        NETFILTER_HEADER.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&NETFILTER_HEADER);
    }
}

impl Question for ForgetConnections {
    type Reply = Reply;
}
