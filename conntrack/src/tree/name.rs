//! Names: a connection as a path below the tree's root, and back.
//!
//! `{in,out,else}/{tcp,udp}/SRCIP-SRCPORT-DSTIP-DSTPORT`. Addresses hold no dash, in neither
//! family (IPv6 as in RFC 5952), so four fields come back as they went in.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use crate::connection::{Connection, Direction, Host, Protocol, SourcePort};

const INTERNET: &str = "INTERNET";
const PORT: &str = "PORT";

/// Every directory of connections, in the order of connections.
pub(super) fn directories() -> impl Iterator<Item = (Direction, Protocol)> {
    let both = [Protocol::Tcp, Protocol::Udp];
    Direction::ALL.into_iter().flat_map(move |direction| both.map(|it| (direction, it)))
}

/// The directory of a direction, below the root.
pub const fn direction_directory(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "in",
        Direction::Out => "out",
        Direction::Else => "else",
    }
}

/// The directory of a protocol, below that of its direction.
pub const fn protocol_directory(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// The name of a connection's file, in the directory of its direction and protocol.
pub fn file_name(connection: &Connection) -> String {
    let mut name = String::with_capacity(64);
    push_file_name(&mut name, connection);
    name
}

/// Appends the name of a connection's file.
pub(super) fn push_file_name(name: &mut String, connection: &Connection) {
    push_host(name, connection.source);
    name.push('-');
    match connection.source_port {
        SourcePort::Number(port) => push_number(name, port),
        SourcePort::Any => name.push_str(PORT),
    }
    name.push('-');
    push_host(name, connection.destination);
    name.push('-');
    push_number(name, connection.destination_port);
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

fn push_host(name: &mut String, host: Host) {
    match host {
        Host::Address(IpAddr::V4(address)) => push_ipv4(name, address),
        Host::Address(IpAddr::V6(address)) => {
            write!(name, "{address}").expect("a String takes every text");
        }
        Host::Internet => name.push_str(INTERNET),
    }
}

/// By hand, like the ports: formatting took longer than all else that is done for a name.
fn push_ipv4(name: &mut String, address: Ipv4Addr) {
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            name.push('.');
        }
        push_number(name, octet.into());
    }
}

fn push_number(name: &mut String, number: u16) {
    if number >= 10 {
        push_number(name, number / 10);
    }
    let [last_digit, _] = (number % 10).to_le_bytes();
    name.push(char::from(b'0' + last_digit));
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
    use proptest::prelude::*;

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
    fn numbers_are_written_as_everybody_writes_them() {
        for number in 0..=u16::MAX {
            let mut name = String::new();
            push_number(&mut name, number);
            assert_eq!(name, number.to_string());
            let [a, b] = number.to_be_bytes();
            let address = Ipv4Addr::new(a, b, !a, !b);
            name.clear();
            push_ipv4(&mut name, address);
            assert_eq!(name, address.to_string());
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

    fn any_host() -> impl Strategy<Value = Host> {
        prop_oneof![any::<IpAddr>().prop_map(Host::Address), Just(Host::Internet)]
    }

    fn any_connection() -> impl Strategy<Value = Connection> {
        let directions = prop::sample::select(&Direction::ALL[..]);
        let protocols = prop::sample::select(&[Protocol::Tcp, Protocol::Udp][..]);
        let ports = (prop::option::of(any::<u16>()), any::<u16>());
        let connection = (directions, protocols, any_host(), any_host(), ports);
        connection.prop_map(|(direction, protocol, source, destination, (from, to))| Connection {
            direction,
            protocol,
            source,
            source_port: from.map_or(SourcePort::Any, SourcePort::Number),
            destination,
            destination_port: to,
        })
    }

    proptest! {
        #[test]
        fn every_connection_comes_back_from_its_name(it in any_connection()) {
            prop_assert_eq!(connection(it.direction, it.protocol, &file_name(&it)), Some(it));
        }

        #[test]
        fn a_name_is_ours_or_none(name in "[-0-9A-Z:.]{0,40}|.*") {
            if let Some(it) = out_udp(&name) {
                prop_assert_eq!(file_name(&it), name);
            }
        }
    }
}
