//! Names: a connection as a path below the tree's root, and back.
//!
//! `{in,out,else}/{tcp,udp}/SRCIP-SRCPORT-DSTIP-DSTPORT`. Addresses hold no dash, in neither
//! family (IPv6 as in RFC 5952), so four fields come back as they went in.

use std::{fmt::Write as _, net::IpAddr, str::FromStr};

use crate::connection::{Connection, Direction, Host, Protocol, SourcePort};

const INTERNET: &str = "INTERNET";
const PORT: &str = "PORT";

/// The directory of a direction, below the root.
pub(super) const fn direction_directory(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "in",
        Direction::Out => "out",
        Direction::Else => "else",
    }
}

/// The directory of a protocol, below that of its direction.
pub(super) const fn protocol_directory(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// The name of a connection's file, in the directory of its direction and protocol.
pub fn file_name(connection: &Connection) -> String {
    let mut name = String::with_capacity(64);
    push_host(&mut name, connection.source);
    match connection.source_port {
        SourcePort::Number(port) => push(&mut name, format_args!("-{port}-")),
        SourcePort::Any => push(&mut name, format_args!("-{PORT}-")),
    }
    push_host(&mut name, connection.destination);
    push(&mut name, format_args!("-{}", connection.destination_port));
    name
}

/// The path of a connection's file, relative to the root.
pub fn path(connection: &Connection) -> String {
    let direction = direction_directory(connection.direction);
    let protocol = protocol_directory(connection.protocol);
    format!("{direction}/{protocol}/{}", file_name(connection))
}

/// The connection that a file in the directory of `direction` and `protocol` stands for; `None`
/// for a name that we would not write.
pub(super) fn connection(
    direction: Direction,
    protocol: Protocol,
    name: &str,
) -> Option<Connection> {
    let mut fields = name.split('-');
    let connection = Connection {
        direction,
        protocol,
        source: host(fields.next()?)?,
        source_port: source_port(fields.next()?)?,
        destination: host(fields.next()?)?,
        destination_port: number(fields.next()?)?,
    };
    // One spelling for each: "010.0.0.1", "+53" or a fifth field are no names of ours.
    (file_name(&connection) == name).then_some(connection)
}

fn push(name: &mut String, text: std::fmt::Arguments<'_>) {
    name.write_fmt(text).expect("a String takes every text");
}

fn push_host(name: &mut String, host: Host) {
    match host {
        Host::Address(address) => push(name, format_args!("{address}")),
        Host::Internet => name.push_str(INTERNET),
    }
}

fn host(field: &str) -> Option<Host> {
    match field {
        INTERNET => Some(Host::Internet),
        address => IpAddr::from_str(address).ok().map(Host::Address),
    }
}

fn source_port(field: &str) -> Option<SourcePort> {
    match field {
        PORT => Some(SourcePort::Any),
        port => number(port).map(SourcePort::Number),
    }
}

fn number(field: &str) -> Option<u16> {
    field.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out_udp(name: &str) -> Option<Connection> {
        connection(Direction::Out, Protocol::Udp, name)
    }

    #[test]
    fn names_come_back_as_they_went_in() {
        for name in [
            "192.168.200.230-PORT-INTERNET-443",
            "INTERNET-PORT-192.168.200.230-22",
            "192.168.200.214-5353-224.0.0.251-5353",
            "fe80::1-PORT-2001:db8::230-0",
            "::ffff:192.0.2.1-PORT-::-65535",
        ] {
            let connection = out_udp(name).expect(name);
            assert_eq!(file_name(&connection), name);
            assert_eq!(path(&connection), format!("out/udp/{name}"));
        }
    }

    #[test]
    fn other_names_are_no_connections() {
        for name in [
            "",
            "-",
            "---",
            "README",
            "192.168.200.230-PORT-INTERNET",
            "192.168.200.230-PORT-INTERNET-",
            "192.168.200.230-PORT-INTERNET-65536",
            "192.168.200.230-PORT-INTERNET-443-",
            "192.168.200.230-PORT-INTERNET-443-1",
            "192.168.200.230-PORT-INTERNET-+443",
            "192.168.200.230-PORT-INTERNET-0443",
            "192.168.200.230-port-INTERNET-443",
            "192.168.200.230-PORT-internet-443",
            "2001:DB8::1-PORT-INTERNET-443",
            "fe80::1%eth0-PORT-INTERNET-443",
            "../../etc/passwd",
        ] {
            assert_eq!(out_udp(name), None, "{name:?}");
        }
    }
}
