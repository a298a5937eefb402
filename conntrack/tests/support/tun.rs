//! A tun or tap device of a test's own: what is written to it arrives at the device. The only
//! `unsafe` of the tests: the ioctl(2) that makes the device.
#![expect(unsafe_code, reason = "devices are made by an ioctl that rustix has no function for")]

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
};

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

use super::lab::Namespace;

/// The device's name.
pub const TUN: &str = "ct-tun";

/// What the device's packets start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With their IP header.
    Tun,
    /// The same, and when written with a `virtio_net_hdr` before it.
    TunWithHeader,
    /// With an Ethernet header, and when written with a `virtio_net_hdr` before it.
    Tap,
}

/// A device; it goes when this does.
pub struct Tun {
    file: File,
}

impl Tun {
    /// A device in a namespace, up, with this address.
    pub fn new(namespace: &Namespace, kind: Kind, address: &str) -> Self {
        let file = namespace.enter(|| {
            let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
            let file = file.expect("/dev/net/tun");
            set_device(&file, kind);
            file
        });
        namespace.run("ip", &["link", "set", TUN, "mtu", "16000"]);
        namespace.add_address(TUN, address);
        namespace.up(TUN);
        Self { file }
    }

    /// Has a packet arrive at the device.
    pub fn arrive(&self, packet: &[u8]) {
        let written = (&self.file).write(packet).expect("written");
        assert_eq!(written, packet.len());
    }

    /// Has a packet arrive of which only so many octets are in the linear part: everything else is
    /// in pages.
    pub fn arrive_in_pages(&self, linear: u16, frame: &[u8]) {
        // struct virtio_net_hdr (include/uapi/linux/virtio_net.h): flags, gso_type, then the length
        // of the linear part; the rest is about checksums and segmentation.
        let mut packet = vec![0, 0];
        packet.extend(linear.to_ne_bytes());
        packet.extend([0; 6]);
        packet.extend(frame);
        self.arrive(&packet);
    }
}

/// `struct ifreq` (`include/uapi/linux/if.h`) as far as TUNSETIFF reads it.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// `include/uapi/linux/if_tun.h`.
const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
const IFF_TUN: u16 = 0x0001;
const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;

fn set_device(file: &File, kind: Kind) {
    let mut name = [0; 16];
    name[..TUN.len()].copy_from_slice(TUN.as_bytes());
    let flags = match kind {
        Kind::Tun => IFF_TUN | IFF_NO_PI,
        Kind::TunWithHeader => IFF_TUN | IFF_NO_PI | IFF_VNET_HDR,
        Kind::Tap => IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
    };
    let request = InterfaceRequest { name, flags, rest: [0; 22] };
    // SAFETY: TUNSETIFF reads one `struct ifreq`, which `InterfaceRequest` has the size and layout
    // of, and keeps no pointer to it.
    unsafe { ioctl(file, Setter::<TUNSETIFF, InterfaceRequest>::new(request)) }.expect("a device");
}
