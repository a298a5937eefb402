//! Network devices, as the kernel knows them: which there are, their index, what their frames start
//! with, and how they are at the moment.
//!
//! Asked over netlink, not read from `/sys/class/net`, which shows the namespace it was mounted in
//! and not the one that we run in. The one device that is meant is asked for, by its name or one of its
//! alternative names, so nothing that another device has can be in the way.

use std::{fmt, io};

use conntrack_common::wire::LinkLayer;
use netlink_packet_core::DefaultNla;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkLayerType, LinkMessage},
};
use rustix::io::Errno;

use super::netlink::{Connection, Reply, attributes, number, text};

/// Attributes of a device (`include/uapi/linux/if_link.h`).
mod attribute {
    pub(super) const NAME: u16 = 3;
    pub(super) const MASTER: u16 = 10;
    pub(super) const STATISTICS: u16 = 23;
    pub(super) const XDP: u16 = 43;
    pub(super) const ALTERNATIVE_NAME: u16 = 53;
}

/// Attributes within `IFLA_XDP`: the programs that are attached, natively, generically, in hardware.
const XDP_PROGRAMS: [u16; 4] = [4, 5, 6, 7];

/// Length of `struct ifinfomsg`, behind which the attributes are.
const HEADER: usize = 16;

/// Octets of a name that is no alternative one, at most.
const NAME_MAX: usize = 15;

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The name that it was asked for by: its own or an alternative one.
    pub name: String,
    /// Its own name.
    pub kernel_name: String,
    /// Its index.
    pub index: u32,
    /// The kernel's `ARPHRD_*`.
    link_layer_type: LinkLayerType,
}

/// Why a device cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// There is none of that name.
    #[error("no such device: {name}; there are: {}", Names(.there_are))]
    NotFound {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        there_are: Vec<String>,
    },
    /// Its frames start with something that the parser does not know.
    #[error(
        "{name}: frames of type {link_layer} cannot be read; watch an Ethernet device or one that carries bare IP"
    )]
    LinkLayer {
        /// The device.
        name: String,
        /// The kernel's name for what it is.
        link_layer: String,
    },
    /// The kernel did not say.
    #[error("cannot ask for the network device: {0}")]
    Kernel(#[from] io::Error),
}

impl Device {
    /// The device of this name.
    ///
    /// # Errors
    /// [`DeviceError::NotFound`] names those that there are.
    pub fn find(name: &str) -> Result<Self, DeviceError> {
        let mut connection = Connection::to_route()?;
        match State::of(&mut connection, name)? {
            Some(state) => Ok(state.device),
            None => Err(DeviceError::NotFound {
                name: name.to_owned(),
                there_are: names(&mut connection)?,
            }),
        }
    }

    /// What stands before the IP header in its frames.
    ///
    /// # Errors
    /// [`DeviceError::LinkLayer`] where the parser cannot read them.
    pub fn link_layer(&self) -> Result<LinkLayer, DeviceError> {
        match self.link_layer_type {
            LinkLayerType::Ether | LinkLayerType::Loopback => Ok(LinkLayer::Ethernet),
            LinkLayerType::None | LinkLayerType::Rawip | LinkLayerType::Ppp => Ok(LinkLayer::Ip),
            _ if self.is_tunnel() => Ok(LinkLayer::Ip),
            other => Err(DeviceError::LinkLayer {
                name: self.name.clone(),
                link_layer: format!("{other:?}"),
            }),
        }
    }

    /// Whether its packets had another IP header before theirs: what a packet's bytes start with is
    /// then a matter of where one looks.
    pub fn is_tunnel(&self) -> bool {
        matches!(
            self.link_layer_type,
            LinkLayerType::Tunnel
                | LinkLayerType::Tunnel6
                | LinkLayerType::Sit
                | LinkLayerType::Ipgre
                | LinkLayerType::Ip6gre
        )
    }

    /// Whether `other` is the same device, as far as it can be told, and its frames are read the same
    /// way. Its own name may have changed, if it was asked for by another.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let Self { name, kernel_name: _, index, link_layer_type } = self;
        (name, index, link_layer_type) == (&other.name, &other.index, &other.link_layer_type)
    }
}

/// How a device is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) device: Device,
    /// Whether it was set up; whether its cable is plugged in is another matter.
    pub(crate) is_up: bool,
    /// Frames that it counted itself, arriving and leaving; `None` where the kernel does not say.
    pub(crate) frames: Option<u64>,
    /// Index of the device that it is a part of: a bridge, a bond, a VRF.
    pub(crate) master: Option<u32>,
    /// Ids of its XDP programs.
    pub(crate) xdp_programs: Vec<u32>,
}

impl State {
    /// Of the device of this name; `None` where there is none.
    ///
    /// # Errors
    /// That the kernel does not say.
    pub(crate) fn of(connection: &mut Connection, name: &str) -> io::Result<Option<Self>> {
        match connection.get(RouteNetlinkMessage::GetLink(question(name))) {
            Ok(reply) => Self::read(name, &reply).map(Some),
            Err(error) if says_that_there_is_none(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(name: &str, reply: &Reply) -> io::Result<Self> {
        let header = LinkHeader::parse(&reply.payload)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let device = Device {
            name: name.to_owned(),
            kernel_name: value(reply, attribute::NAME).map(text).unwrap_or_default(),
            index: header.index,
            link_layer_type: header.link_layer_type,
        };
        let xdp = value(reply, attribute::XDP).unwrap_or_default();
        let xdp = attributes(xdp).filter(|(kind, _)| XDP_PROGRAMS.contains(kind));
        let is_up = header.flags.contains(LinkFlags::Up);
        let frames = value(reply, attribute::STATISTICS).and_then(frames);
        Ok(Self {
            device,
            is_up,
            frames,
            master: value(reply, attribute::MASTER).and_then(number),
            xdp_programs: xdp.filter_map(|(_, id)| number(id)).collect(),
        })
    }
}

/// The index of the device of this name, if there is one.
///
/// # Errors
/// That the kernel does not say.
pub(crate) fn index(connection: &mut Connection, name: &str) -> io::Result<Option<u32>> {
    Ok(State::of(connection, name)?.map(|state| state.device.index))
}

fn question(name: &str) -> LinkMessage {
    // An alternative name is found by either attribute (Linux 5.5), and only one of them takes long ones.
    let attribute = if name.len() <= NAME_MAX {
        LinkAttribute::IfName(name.to_owned())
    } else {
        let terminated = [name.as_bytes(), &[0]].concat();
        LinkAttribute::Other(DefaultNla::new(attribute::ALTERNATIVE_NAME, terminated))
    };
    let mut message = LinkMessage::default();
    message.attributes.push(attribute);
    message
}

/// ERANGE and EINVAL are about names that no device can have.
fn says_that_there_is_none(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NODEV | Errno::RANGE | Errno::INVAL))
}

/// Own names of all devices.
fn names(connection: &mut Connection) -> io::Result<Vec<String>> {
    let mut question = LinkMessage::default();
    // Unless something is said of what is wanted, the kernel reckons with short replies only: its list
    // ends before a device that has many names (`rtnl_calcit` in the kernel's `net/core/rtnetlink.c`).
    question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let replies = connection.dump(&RouteNetlinkMessage::GetLink(question))?;
    Ok(replies.iter().filter_map(|reply| value(reply, attribute::NAME)).map(text).collect())
}

fn value(reply: &Reply, kind: u16) -> Option<&[u8]> {
    reply.attributes(HEADER).find_map(|(it, value)| (it == kind).then_some(value))
}

/// `rx_packets` and `tx_packets`, which `struct rtnl_link_stats64` begins with.
fn frames(statistics: &[u8]) -> Option<u64> {
    let at = |place: usize| {
        let bytes = statistics.get(place..place + 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    };
    Some(at(0)?.wrapping_add(at(8)?))
}

struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_with_what_is_needed_of_it() {
        let mut connection = Connection::to_route().expect("a socket");
        let state = State::of(&mut connection, "lo").expect("an answer").expect("a device");
        assert_eq!((state.device.kernel_name.as_str(), state.device.index), ("lo", 1));
        assert_eq!(state.device.link_layer().expect("it can be read"), LinkLayer::Ethernet);
        assert!(state.frames.is_some());
        assert!(state.xdp_programs.is_empty());
    }

    #[test]
    fn a_name_that_no_device_has_or_can_have_is_not_found() {
        for name in ["nosuchdev0", "", &"long".repeat(10), &"longer than any".repeat(100)] {
            let error = Device::find(name).expect_err("there is none");
            let DeviceError::NotFound { there_are, .. } = error else { panic!("{name}: {error}") };
            assert!(there_are.contains(&"lo".to_owned()));
        }
    }
}
