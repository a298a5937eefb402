//! Which device a packet socket (packet(7)) is bound to. There is no safe way to read its address.
#![expect(unsafe_code, reason = "rustix has the address as bytes that only a pointer leads to")]

use std::{io, os::fd::AsFd};

use rustix::net::{AddressFamily, getsockname};

/// As far as it is read: `struct sockaddr_ll` (`include/uapi/linux/if_packet.h`).
#[repr(C)]
struct LinkAddress {
    family: u16,
    protocol: u16,
    index: i32,
}

/// The device's index; 0 stands for all devices, and `None` for one that is gone.
pub(super) fn bound_to(socket: impl AsFd) -> io::Result<Option<u32>> {
    let address = getsockname(socket)?;
    let length = usize::try_from(address.addr_len()).unwrap_or_default();
    if address.address_family() != AddressFamily::PACKET || length < size_of::<LinkAddress>() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not the address of a packet socket",
        ));
    }
    // SAFETY: the address is at least that long, which was looked at, and any bytes are one.
    let address = unsafe { address.as_ptr().cast::<LinkAddress>().read_unaligned() };
    Ok(u32::try_from(address.index).ok())
}
