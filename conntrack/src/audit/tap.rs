//! A device of our own in a network namespace of our own: what is written to it arrives at the device,
//! what leaves by the device is read from it.
//!
//! It carries Ethernet, so that a packet for many is one to rules that ask for its type; without a link
//! header only where the device that it stands for has none.
#![expect(unsafe_code, reason = "devices are made by ioctls that rustix has no function for")]

use std::{
    fs::{File, OpenOptions},
    io::{self, IoSlice, Read as _, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
};

use rustix::{
    fs::OFlags,
    ioctl::{Opcode, Setter, ioctl, opcode},
};

const PATH: &str = "/dev/net/tun";

/// `include/uapi/linux/if_tun.h`.
const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
const TUNSETIFINDEX: Opcode = opcode::write::<u32>(b'T', 218);
const IFF_TUN: u16 = 0x0001;
const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;

/// Octets of a device's name, the zero at its end included (`IFNAMSIZ`).
const NAME: usize = 16;

/// The address of each of our devices: administered locally.
pub(super) const ADDRESS: [u8; 6] = [2, b'c', b'o', b'n', b'n', 1];
/// Of whoever is at the other end.
const PEER: [u8; 6] = [2, b'c', b'o', b'n', b'n', 2];
/// Destination, source, and what follows.
const LINK_HEADER: usize = 14;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// What its packets begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Ethernet,
    /// The IP header.
    None,
}

/// The device; it goes when this goes.
pub(super) struct Tap {
    file: File,
    link: Link,
}

/// `struct ifreq` (`include/uapi/linux/if.h`) as far as TUNSETIFF reads it.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; NAME],
    flags: u16,
    rest: [u8; 22],
}

impl Tap {
    /// A device of this name in the namespace of this thread, with this index if it can be had.
    ///
    /// # Errors
    /// `/dev/net/tun` that is not there or not ours to open, or a name that no device can have.
    pub(super) fn new(name: &str, index: Option<u32>, link: Link) -> io::Result<Self> {
        let file = open()?;
        if let Some(index) = index {
            // SAFETY: TUNSETIFINDEX reads one unsigned int and keeps no pointer to it.
            unsafe { ioctl(&file, Setter::<TUNSETIFINDEX, u32>::new(index)) }?;
        }
        let flags = match link {
            Link::Ethernet => IFF_TAP | IFF_NO_PI,
            Link::None => IFF_TUN | IFF_NO_PI,
        };
        let mut request = InterfaceRequest { name: [0; NAME], flags, rest: [0; 22] };
        let place = request.name[..NAME - 1].get_mut(..name.len());
        let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "a name that is too long");
        place.ok_or_else(too_long)?.copy_from_slice(name.as_bytes());
        // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, and `InterfaceRequest` has its size and
        // layout; it keeps no pointer to it.
        unsafe { ioctl(&file, Setter::<TUNSETIFF, InterfaceRequest>::new(request)) }?;
        Ok(Self { file, link })
    }

    /// Has a packet arrive.
    pub(super) fn arrive(
        &self,
        packet: &[u8],
        destination: IpAddr,
        is_broadcast: bool,
    ) -> io::Result<()> {
        let header = link_header(destination, is_broadcast);
        let header = match self.link {
            Link::Ethernet => &header[..],
            Link::None => &[],
        };
        (&self.file).write_vectored(&[IoSlice::new(header), IoSlice::new(packet)]).map(drop)
    }

    /// A packet that has left, from its IP header on; `None` if there is none for now.
    pub(super) fn left<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match (&self.file).read(buffer) {
            Ok(length) => {
                let header = match self.link {
                    Link::Ethernet => LINK_HEADER,
                    Link::None => 0,
                };
                Ok(Some(buffer.get(header..length).unwrap_or_default()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }
}

fn open() -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(PATH).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot open {PATH}, which makes devices: {error}"))
    })
}

/// To our device, or to many: the addresses of groups are made from theirs (RFC 1112 section 6.4,
/// RFC 2464 section 7).
fn link_header(destination: IpAddr, is_broadcast: bool) -> [u8; LINK_HEADER] {
    let (to, kind) = match destination {
        IpAddr::V4(_) if is_broadcast => ([0xff; 6], ETHERTYPE_IPV4),
        IpAddr::V4(group) if group.is_multicast() => {
            let [_, b, c, d] = group.octets();
            ([0x01, 0x00, 0x5e, b & 0x7f, c, d], ETHERTYPE_IPV4)
        }
        IpAddr::V6(group) if group.is_multicast() => {
            let [.., a, b, c, d] = group.octets();
            ([0x33, 0x33, a, b, c, d], ETHERTYPE_IPV6)
        }
        IpAddr::V4(_) => (ADDRESS, ETHERTYPE_IPV4),
        IpAddr::V6(_) => (ADDRESS, ETHERTYPE_IPV6),
    };
    let mut header = [0; LINK_HEADER];
    header[..6].copy_from_slice(&to);
    header[6..12].copy_from_slice(&PEER);
    header[12..].copy_from_slice(&kind.to_be_bytes());
    header
}
