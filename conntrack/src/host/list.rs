//! All devices at a glance, as `-D` lists them, and the one that is meant where none is named.

use std::{collections::BTreeMap, fmt, io, net::IpAddr};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::AddressMessage,
    link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkLayerType, LinkMessage},
    route::{RouteHeader, RouteMessage, RouteType},
};

use super::{
    addresses::local_address,
    device::{Device, DeviceError},
    netlink::{Connection, Reply, attributes, number, text},
};

/// The device that is watched where none is named and there is one of that name.
pub const USUAL: &str = "eth0";

/// Attributes of a device (`include/uapi/linux/if_link.h`).
mod link {
    /// Length of `struct ifinfomsg`.
    pub(super) const HEADER: usize = 16;
    pub(super) const NAME: u16 = 3;
    pub(super) const OPERATIONAL_STATE: u16 = 16;
    pub(super) const INFO: u16 = 18;
    /// Within `INFO`.
    pub(super) const KIND: u16 = 1;
}

/// Attributes of a route (`include/uapi/linux/rtnetlink.h`).
mod route {
    /// Length of `struct rtmsg`.
    pub(super) const HEADER: usize = 12;
    pub(super) const OUTPUT: u16 = 4;
    pub(super) const PRIORITY: u16 = 6;
    /// Several `struct rtnexthop`: length (16 bits), flags, hops (8 bits each), index.
    pub(super) const SEVERAL: u16 = 9;
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its own name.
    pub name: String,
    index: u32,
    /// What made it, as `ip link add type` has it, or else what its frames are.
    pub kind: String,
    /// Whether it is set up, and whether something is at the other end.
    pub state: &'static str,
    /// With the lengths of their networks' prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// The devices of this network namespace, in the kernel's order.
///
/// # Errors
/// The kernel's refusal to list them.
pub fn devices() -> io::Result<Vec<Listed>> {
    let mut connection = Connection::to_route()?;
    let mut addresses = addresses(&mut connection)?;
    let replies = links(&mut connection)?;
    let mut devices = replies.iter().filter_map(listed).collect::<Vec<_>>();
    for device in &mut devices {
        device.addresses = addresses.remove(&device.index).unwrap_or_default();
    }
    Ok(devices)
}

/// The device to watch where none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Default {
    /// Its name.
    pub name: String,
    /// Whether it is another one than [`USUAL`].
    pub is_by_route: bool,
}

impl Default {
    /// [`USUAL`], or where there is none the device of the default route.
    ///
    /// # Errors
    /// That there is neither; the names that there are.
    pub fn find() -> Result<Self, DeviceError> {
        match Device::find(USUAL) {
            Ok(device) => Ok(Self { name: device.name, is_by_route: false }),
            Err(error @ DeviceError::NotFound { .. }) => {
                let name = by_default_route()?.ok_or(error)?;
                Ok(Self { name, is_by_route: true })
            }
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for Default {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.is_by_route { write!(f, ", the device of the default route") } else { Ok(()) }
    }
}

/// The device that packets to elsewhere leave by; IPv4 goes first.
fn by_default_route() -> io::Result<Option<String>> {
    let mut connection = Connection::to_route()?;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        let replies = connection.dump(&RouteNetlinkMessage::GetRoute(question))?;
        let best = replies.iter().filter_map(default_route).min();
        if let Some((_priority, index)) = best {
            let replies = links(&mut connection)?;
            let devices = replies.iter().filter_map(listed);
            return Ok(devices.filter(|it| it.index == index).map(|it| it.name).next());
        }
    }
    Ok(None)
}

/// Priority and device of a route, if it is a default route of the main table.
fn default_route(reply: &Reply) -> Option<(u32, u32)> {
    let [_family, destination_length, _source_length, _tos, table, _, _, kind, ..] =
        *reply.payload.as_slice()
    else {
        return None;
    };
    let is_unicast = RouteType::from(kind) == RouteType::Unicast;
    if destination_length != 0 || table != RouteHeader::RT_TABLE_MAIN || !is_unicast {
        return None;
    }
    let value = |wanted| reply.attributes(route::HEADER).find(|(kind, _)| *kind == wanted);
    let of = |wanted| value(wanted).and_then(|(_, value)| number(value));
    let first = || value(route::SEVERAL).and_then(|(_, hops)| number(hops.get(4..8)?));
    let index = of(route::OUTPUT).or_else(first)?;
    Some((of(route::PRIORITY).unwrap_or_default(), index))
}

fn links(connection: &mut Connection) -> io::Result<Vec<Reply>> {
    let mut question = LinkMessage::default();
    // See `device::names`.
    question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    connection.dump(&RouteNetlinkMessage::GetLink(question))
}

fn listed(reply: &Reply) -> Option<Listed> {
    let header = LinkHeader::parse(&reply.payload).ok()?;
    let value = |wanted| reply.attributes(link::HEADER).find(|(kind, _)| *kind == wanted);
    let kind = value(link::INFO).and_then(|(_, info)| {
        attributes(info).find_map(|(kind, value)| (kind == link::KIND).then(|| text(value)))
    });
    let operational = value(link::OPERATIONAL_STATE).and_then(|(_, state)| state.first().copied());
    Some(Listed {
        name: value(link::NAME).map(|(_, name)| text(name))?,
        index: header.index,
        kind: kind.unwrap_or_else(|| frames(header.link_layer_type).to_owned()),
        state: state(header.flags, operational),
        addresses: Vec::new(),
    })
}

/// What a device that nobody made by a kind carries.
const fn frames(link_layer_type: LinkLayerType) -> &'static str {
    match link_layer_type {
        LinkLayerType::Ether => "ethernet",
        LinkLayerType::Loopback => "loopback",
        LinkLayerType::Ppp => "ppp",
        _ => "other",
    }
}

/// RFC 2863 (`IF_OPER_*` in `include/uapi/linux/if.h`); loopback and tunnels leave it unknown.
const fn state(flags: LinkFlags, operational: Option<u8>) -> &'static str {
    const LOWER_LAYER_DOWN: u8 = 3;
    const DOWN: u8 = 2;
    const DORMANT: u8 = 5;
    match operational {
        _ if !flags.contains(LinkFlags::Up) => "down",
        Some(DOWN | LOWER_LAYER_DOWN) => "no carrier",
        Some(DORMANT) => "dormant",
        _ => "up",
    }
}

/// Addresses with the lengths of their prefixes, by the index of their device.
fn addresses(connection: &mut Connection) -> io::Result<BTreeMap<u32, Vec<(IpAddr, u8)>>> {
    let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let mut addresses = BTreeMap::<_, Vec<_>>::new();
    for reply in connection.dump(&question)? {
        // `struct ifaddrmsg`: family, length of the prefix, flags, scope (8 bits each), index.
        let index = reply.payload.get(4..8).and_then(number);
        let length = reply.payload.get(1).copied();
        if let (Some(index), Some(address), Some(length)) = (index, local_address(&reply), length) {
            addresses.entry(index).or_default().push((address, length));
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_listed_with_its_kind() {
        let devices = devices().expect("a list");
        let loopback = devices.iter().find(|it| it.name == "lo").expect("loopback");
        assert_eq!(loopback.kind, "loopback");
        assert_eq!(loopback.state == "up", !loopback.addresses.is_empty(), "{loopback:?}");
    }

    #[test]
    fn a_route_that_is_cut_short_is_none_and_no_panic() {
        let payload = [2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0, 8, 0, 4, 0, 7, 0, 0, 0];
        for length in 0..=payload.len() {
            let reply = Reply { kind: 24, payload: payload[..length].to_vec() };
            let whole = length == payload.len();
            assert_eq!(default_route(&reply), whole.then_some((0, 7)), "{length} bytes");
        }
    }

    #[test]
    fn a_route_by_several_ways_is_its_first() {
        let hops = [20, 0, 9, 0, 8, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0];
        let mut payload = vec![2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        payload.extend(hops);
        assert_eq!(default_route(&Reply { kind: 24, payload }), Some((0, 7)));
    }
}
