//! Both ends of a connection in one word group, as ss(8) and tcpdump(1) write them.

use std::{fmt, net::IpAddr};

use crate::connection::{Connection, Host, SourcePort};

/// `SOURCE > DESTINATION`, with the ports that are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends<'a>(pub(crate) &'a Connection);

impl fmt::Display for Ends<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}", source(self.0), destination(self.0))
    }
}

/// Without a port where any port is meant.
pub(crate) fn source(connection: &Connection) -> String {
    match connection.source_port {
        SourcePort::Any => super::fields::host(connection.source),
        SourcePort::Number(port) => with_port(connection.source, &port),
    }
}

/// With its port.
pub(crate) fn destination(connection: &Connection) -> String {
    with_port(connection.destination, &connection.destination_port)
}

/// An address of IPv6 in brackets, so that its end is seen (RFC 5952 section 6).
pub(crate) fn with_port(host: Host, port: &impl fmt::Display) -> String {
    match host {
        Host::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        host => format!("{}:{port}", super::fields::host(host)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Direction, Protocol};

    #[test]
    fn ports_are_told_from_addresses() {
        let ends = |source, source_port, destination: &str| {
            let destination = Host::Address(destination.parse().expect("an address"));
            let connection = Connection {
                direction: Direction::In,
                protocol: Protocol::Tcp,
                source,
                source_port,
                destination,
                destination_port: 22,
            };
            Ends(&connection).to_string()
        };
        assert_eq!(ends(Host::Internet, SourcePort::Any, "10.0.0.2"), "INTERNET > 10.0.0.2:22");
        let address = Host::Address("fe80::1".parse().expect("an address"));
        assert_eq!(ends(address, SourcePort::Any, "fe80::2"), "fe80::1 > [fe80::2]:22");
        assert_eq!(ends(address, SourcePort::Number(5), "fe80::2"), "[fe80::1]:5 > [fe80::2]:22");
    }
}
