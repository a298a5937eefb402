//! Network devices, as the kernel lists them: which there are, their index and what their frames
//! start with.
//!
//! Asked over netlink, not read from `/sys/class/net`, which shows the namespace it was mounted in
//! and not the one that we run in.

use std::{fmt, io};

use conntrack_common::wire::LinkLayer;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkLayerType, LinkMessage},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, netdevice::name_to_index, socket},
};

use super::netlink;

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its index; a device that is made again has another.
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
    #[error("cannot list the network devices: {0}")]
    List(#[from] io::Error),
}

impl Device {
    /// The device of this name.
    ///
    /// # Errors
    /// [`DeviceError::NotFound`] names those that there are.
    pub fn find(name: &str) -> Result<Self, DeviceError> {
        let devices = list()?;
        let there_are = devices.iter().map(|device| device.name.clone()).collect();
        let found = devices.into_iter().find(|device| device.name == name);
        found.ok_or_else(|| DeviceError::NotFound { name: name.to_owned(), there_are })
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

    /// Whether it is still there, as the device that it was.
    ///
    /// # Errors
    /// [`DeviceError::List`] where the kernel does not say.
    pub fn is_there(&self) -> Result<bool, DeviceError> {
        Ok(index(&self.name)? == Some(self.index))
    }
}

/// The index of the device of this name, if there is one.
pub(crate) fn index(name: &str) -> io::Result<Option<u32>> {
    // Any socket will do to ask with.
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    match name_to_index(socket, name) {
        Ok(index) => Ok(Some(index)),
        Err(Errno::NODEV) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn list() -> io::Result<Vec<Device>> {
    let answers = netlink::dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let devices = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(link) => device(link),
        _ => None,
    });
    Ok(devices.collect())
}

fn device(link: LinkMessage) -> Option<Device> {
    let name = link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    })?;
    Some(Device { name, index: link.header.index, link_layer_type: link.header.link_layer_type })
}

struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}
