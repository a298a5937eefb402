//! The sockets of this machine: whether the kernel lists them, which is how UDP that nobody answers is
//! told from a scan, and how connections that are open already are found.

use std::io;

use super::check::Check;
use crate::{
    connection::Protocol,
    host::{ephemeral, groups, netlink::Connection, sockets::Listening},
};

pub(super) fn check() -> Check {
    const SUBJECT: &str = "sockets";
    let ask = || -> io::Result<()> {
        let mut connection = Connection::to_sock_diag()?;
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            Listening::now(&mut connection, protocol)?;
        }
        Ok(())
    };
    if let Err(error) = ask() {
        let found = format!("cannot be listed: {error}; UDP that nobody answers has no evidence");
        let fix = "a kernel with CONFIG_INET_DIAG and CONFIG_INET_UDP_DIAG, or their modules";
        return Check::warn(SUBJECT, found, fix);
    }
    match ephemeral::ports().and_then(|ports| groups::joined(|_| true).map(|_| ports)) {
        Ok(ports) => {
            let (first, last) = ports.into_inner();
            Check::ok(SUBJECT, format!("can be listed; ephemeral ports are {first} to {last}"))
        }
        Err(error) => {
            let found = format!("multicast groups or ephemeral ports cannot be read: {error}");
            Check::warn(SUBJECT, found, "mount /proc, all of it")
        }
    }
}
