//! Whether a socket of this network namespace takes what arrived: the evidence of UDP that is not
//! answered. The kernel is asked once for a batch, and only if there is something to ask.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
};

use super::sockets::Sockets;
use crate::{
    connection::{Direction, Evidence, Host, Protocol, Sighting},
    host::sockets::{Arrival, Listening},
};

/// Gives each sighting the evidence that it is served, where it has none and is; whether there was
/// something to ask.
///
/// # Errors
/// What the kernel answered; then none of them has it.
pub(super) fn mark(sightings: &mut [Sighting], sockets: &mut Sockets) -> io::Result<bool> {
    let arrived: Vec<_> = sightings.iter_mut().filter_map(Arrived::of).collect();
    if arrived.is_empty() {
        return Ok(false);
    }
    let told = Told::about(&arrived, sockets)?;
    for it in arrived {
        it.mark(&told);
    }
    Ok(true)
}

/// What the kernel told.
struct Told {
    arrival: Arrival,
    listening: Listening,
    /// Joined.
    groups: BTreeSet<IpAddr>,
    broadcasts: BTreeSet<IpAddr>,
}

impl Told {
    fn about(arrived: &[Arrived<'_>], sockets: &mut Sockets) -> io::Result<Self> {
        let has = |kind| arrived.iter().any(|it| it.kind == kind);
        let none = || Ok(BTreeSet::new());
        Ok(Self {
            arrival: sockets.arrival()?,
            listening: sockets.listening(Protocol::Udp)?,
            groups: if has(Kind::Group) { sockets.groups() } else { none() }?,
            broadcasts: if has(Kind::OfOthers) { sockets.broadcasts() } else { none() }?,
        })
    }
}

/// A sighting that may be served.
struct Arrived<'a> {
    to: SocketAddr,
    kind: Kind,
    evidence: &'a mut Option<Evidence>,
}

/// What it was sent to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ours,
    Group,
    /// A broadcast, or none of our business.
    OfOthers,
}

impl<'a> Arrived<'a> {
    /// A datagram that asks for something. What only answers is for a socket that asked.
    fn of(sighting: &'a mut Sighting) -> Option<Self> {
        let Sighting { connection, has_packet: _, opens, evidence, whose: _ } = sighting;
        let is_question = connection.protocol == Protocol::Udp && *opens;
        let Host::Address(address) = connection.destination else { return None };
        let kind = match connection.direction {
            Direction::In => Kind::Ours,
            Direction::Else if address.is_multicast() => Kind::Group,
            Direction::Else => Kind::OfOthers,
            Direction::Out => return None,
        };
        let is_asked = is_question && *evidence < Some(Evidence::Served);
        let to = SocketAddr::new(address, connection.destination_port);
        is_asked.then_some(Self { to, kind, evidence })
    }

    fn mark(self, told: &Told) {
        let address = self.to.ip();
        let is_for_us = match self.kind {
            Kind::Ours => true,
            Kind::Group => told.groups.contains(&address),
            Kind::OfOthers => told.broadcasts.contains(&address),
        };
        if is_for_us && told.listening.takes(self.to, &told.arrival) {
            *self.evidence = Some(Evidence::Served);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;
    use crate::connection::{Connection, SourcePort};

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn datagram(direction: Direction, to: IpAddr, port: u16) -> Sighting {
        Sighting::opened(Connection {
            direction,
            protocol: Protocol::Udp,
            source: Host::Internet,
            source_port: SourcePort::Any,
            destination: Host::Address(to),
            destination_port: port,
        })
    }

    fn marked(sighting: Sighting) -> Option<Evidence> {
        let mut sightings = [sighting];
        let mut sockets = Sockets::at(&["lo".to_owned()]).expect("a kernel that tells");
        mark(&mut sightings, &mut sockets).expect("it tells");
        sightings[0].evidence
    }

    fn port(socket: &UdpSocket) -> u16 {
        socket.local_addr().expect("bound").port()
    }

    const SERVED: Option<Evidence> = Some(Evidence::Served);

    #[test]
    fn what_arrives_at_a_socket_is_served() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let port = port(&socket);
        assert_eq!(marked(datagram(Direction::In, LOOPBACK, port)), SERVED);
        let other = [127, 0, 0, 2].into();
        assert_eq!(marked(datagram(Direction::In, other, port)), None);
        assert_eq!(marked(datagram(Direction::Out, LOOPBACK, port)), None);
        assert_eq!(marked(datagram(Direction::Else, LOOPBACK, port)), None);
        drop(socket);
        assert_eq!(marked(datagram(Direction::In, LOOPBACK, port)), None);
    }

    #[test]
    fn only_a_datagram_that_asks_for_it_and_has_no_better_evidence() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let asks = datagram(Direction::In, LOOPBACK, port(&socket));
        let with = |evidence| Sighting { evidence: Some(evidence), ..asks.clone() };
        let reply = Sighting { opens: false, ..with(Evidence::Reply) };
        assert_eq!(marked(reply), Some(Evidence::Reply));
        assert_eq!(marked(with(Evidence::Answered)), Some(Evidence::Answered));
        let only_answered =
            Sighting { has_packet: false, opens: false, ..with(Evidence::Answered) };
        assert_eq!(marked(only_answered), Some(Evidence::Answered));
        let mut tcp = asks;
        tcp.connection.protocol = Protocol::Tcp;
        assert_eq!(marked(tcp), None);
    }

    #[test]
    fn a_group_is_served_where_it_is_joined() {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let group = Ipv4Addr::new(239, 255, 77, 67);
        let to_group = datagram(Direction::Else, group.into(), port(&socket));
        assert_eq!(marked(to_group.clone()), None);
        socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).expect("joined");
        assert_eq!(marked(to_group), SERVED);
        let other_port = datagram(Direction::Else, group.into(), 1);
        assert_eq!(marked(other_port), None);
    }

    #[test]
    fn a_broadcast_is_served_by_whom_it_reaches() {
        let all = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let one = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for broadcast in [[255, 255, 255, 255], [127, 255, 255, 255]].map(IpAddr::from) {
            let served = |socket| marked(datagram(Direction::Else, broadcast, port(socket)));
            assert_eq!(served(&all), SERVED);
            assert_eq!(served(&one), None);
        }
    }
}
