//! What this machine is: its devices and their addresses, its sockets, its control groups, its kernel, a thread of one's own.

pub(crate) mod address_events;
pub mod addresses;
pub(crate) mod cgroups;
pub mod device;
pub(crate) mod ephemeral;
pub(crate) mod group_events;
pub(crate) mod groups;
pub(crate) mod joined;
pub(crate) mod kernel;
pub mod list;
pub(crate) mod memory;
pub(crate) mod netlink;
pub mod programs;
pub(crate) mod sockets;
pub(crate) mod thread;

use rustix::system::uname;

/// What this machine is called, if it is called anything.
pub(crate) fn name() -> Option<String> {
    let name = uname().nodename().to_string_lossy().into_owned();
    (!name.is_empty() && name != "(none)").then_some(name)
}
