//! A tun or tap device for one test: packets that are written to it arrive at the device. Has the
//! tests' only `unsafe`: the ioctl(2) that makes the device.
#![expect(unsafe_code, reason = "devices are made by an ioctl that rustix has no function for")]

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
};

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

use super::lab::Namespace;

/// The device's name.
pub const TUN: &str = "ct-tun";

/// The kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Packets start with their IP header.
    Tun,
    /// The same, written with a `virtio_net_hdr` before it.
    TunWithHeader,
    /// Packets start with an Ethernet header, written with a `virtio_net_hdr` before it.
    Tap,
}

/// A device; removed with this.
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

    /// Has a packet arrive with only this many octets in the linear part; the rest is in pages.
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
    // SAFETY: TUNSETIFF reads one `struct ifreq`, and `InterfaceRequest` has its size and layout; it
    // keeps no pointer to it.
    unsafe { ioctl(file, Setter::<TUNSETIFF, InterfaceRequest>::new(request)) }.expect("a device");
}
