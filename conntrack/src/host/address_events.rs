//! What the kernel tells by itself: that an address was added or removed, on any device.
#![expect(unsafe_code, reason = "tokio cannot know that the descriptor stays the same")]

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::io::unix::AsyncFd;

/// `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR` (`include/uapi/linux/rtnetlink.h`).
const ADDRESSES: u32 = 0x10 | 0x100;

/// Waits for changes of addresses.
pub(crate) struct AddressEvents(AsyncFd<Socket>);

impl AddressEvents {
    /// Of this network namespace, from now on.
    ///
    /// # Errors
    /// That there can be no socket.
    pub(crate) fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, ADDRESSES))?;
        socket.set_non_blocking(true)?;
        // SAFETY: the socket owns its descriptor, names no other as long as it lives, and lives in the
        // `AsyncFd`.
        let socket = unsafe { AsyncFd::register(socket) };
        Ok(Self(socket?))
    }

    /// Until something changed since the last call. What it was is not read: whoever waits asks for all.
    pub(crate) async fn changed(&self) {
        let Ok(mut ready) = self.0.readable().await else { return std::future::pending().await };
        // That events were lost is an event, too.
        while let Ok(Ok(_event)) = ready.try_io(|socket| socket.get_ref().recv_from_full()) {}
        ready.clear_ready();
    }
}
