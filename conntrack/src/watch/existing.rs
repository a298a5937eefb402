//! Connections that were open before anybody watched, from the kernel's sockets: as if they had just been
//! opened, and answered. Which end opened one is told by its local port.

use std::{
    collections::BTreeSet,
    fmt, io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use conntrack_common::{
    flow::{FlowKey, Protocol},
    policy::Policy,
    rules,
    seen::{Flow, Seen},
};

use super::sockets::Sockets;
use crate::host::{
    ephemeral,
    sockets::{Arrival, Connected, Listening},
};

/// Where the kernel does not say which it chooses from.
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

/// Untold connections that are named; the others are counted.
const NAMED: usize = 8;

/// What was open.
#[derive(Debug, Default)]
pub(super) struct Existing {
    /// In the direction in which they were opened.
    /// Each with the control group that has it.
    keys: BTreeSet<(FlowKey, u64)>,
    /// Of which that cannot be told.
    pub(super) untold: Untold,
}

/// Connections whose direction cannot be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Untold(BTreeSet<(Protocol, SocketAddr, SocketAddr)>);

impl Existing {
    /// What is open between one of the devices' addresses and others.
    ///
    /// # Errors
    /// What the kernel answered.
    pub(super) fn now(
        sockets: &mut Sockets,
        local: &BTreeSet<IpAddr>,
        policy: &Policy,
    ) -> io::Result<Self> {
        let mut existing = Self::default();
        let is_any = sockets.is_any();
        let own = if is_any { BTreeSet::new() } else { sockets.own_addresses()? };
        let ephemeral = ephemeral::ports().unwrap_or_else(|error| {
            log::warn!("cannot read the range of ephemeral ports, taking {EPHEMERAL:?}: {error}");
            EPHEMERAL
        });
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let arrival = sockets.arrival()?;
            let listening = sockets.listening(protocol)?;
            let told = Told { protocol, listening, arrival, ephemeral: ephemeral.clone() };
            sockets.for_each_connected(protocol, |ends| {
                // What a machine sends to itself passes loopback.
                let is_there = ends.remote.ip().is_loopback() || !own.contains(&ends.remote.ip());
                if local.contains(&ends.local.ip()) && told.arrival.reaches(ends.device) && is_there
                {
                    existing.add(&told, ends, policy);
                }
            })?;
        }
        Ok(existing)
    }

    /// As flows that a source could have yielded.
    pub(super) fn flows(&self) -> Vec<Flow> {
        let seen = Seen::OPENS | Seen::ANSWERED;
        let flow = |(key, cgroup): &_| Flow { cgroup: *cgroup, ..Flow::of(*key, seen) };
        self.keys.iter().map(flow).collect()
    }

    /// Coarsened like those of a source: many sessions of a server are one flow.
    fn add(&mut self, told: &Told, ends: Connected, policy: &Policy) {
        let Some((from, to)) = told.direction(ends) else {
            self.untold.0.insert((told.protocol, ends.local, ends.remote));
            return;
        };
        let end = |end: SocketAddr| (end.ip().into(), end.port());
        let mut key = FlowKey::new(told.protocol, end(from), end(to));
        if rules::coarsen(&mut key, policy).is_ok() {
            self.keys.insert((key, ends.cgroup));
        }
    }
}

/// What tells who opened a connection.
struct Told {
    protocol: Protocol,
    listening: Listening,
    arrival: Arrival,
    ephemeral: RangeInclusive<u16>,
}

impl Told {
    /// Who opened it, and to whom.
    fn direction(&self, ends: Connected) -> Option<(SocketAddr, SocketAddr)> {
        let Connected { local, remote, .. } = ends;
        if self.listening.takes(local, &self.arrival) {
            Some((remote, local))
        } else if self.ephemeral.contains(&local.port()) {
            Some((local, remote))
        } else {
            None
        }
    }
}

impl Untold {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.0.iter().take(NAMED).map(|(protocol, local, remote)| {
            let protocol = match protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
            };
            format!("{protocol} {local} with {remote}")
        });
        f.write_str(&named.collect::<Vec<_>>().join(", "))?;
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            others => write!(f, " and {others} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn existing(policy: &Policy) -> Existing {
        let mut sockets = Sockets::at(&["lo".to_owned()]).expect("a kernel that tells");
        let local = [Ipv4Addr::LOCALHOST.into()].into();
        Existing::now(&mut sockets, &local, policy).expect("sockets")
    }

    fn key(protocol: Protocol, from: SocketAddr, to: SocketAddr) -> FlowKey {
        let end = |end: SocketAddr| (end.ip().into(), end.port());
        FlowKey::new(protocol, end(from), end(to))
    }

    impl Existing {
        fn has(&self, key: FlowKey) -> bool {
            self.keys.iter().any(|(it, _)| *it == key)
        }
    }

    #[test]
    fn a_session_is_from_who_connected_to_who_listened() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let to = listener.local_addr().expect("bound");
        let client = TcpStream::connect(to).expect("connected");
        let _server = listener.accept().expect("accepted");
        let from = client.local_addr().expect("bound");
        let existing = existing(&Policy::NONE);
        assert!(existing.has(key(Protocol::Tcp, from, to)), "{existing:?}");
        assert!(!existing.has(key(Protocol::Tcp, to, from)), "{existing:?}");
    }

    #[test]
    fn a_connected_udp_socket_at_an_ephemeral_port_asks() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let [to, from] = [&server, &client].map(|it| it.local_addr().expect("bound"));
        client.connect(to).expect("connected");
        let existing = existing(&Policy::NONE);
        assert!(existing.has(key(Protocol::Udp, from, to)), "{existing:?}");
        let flows = existing.flows();
        assert!(flows.iter().all(|flow| flow.seen == Seen::OPENS | Seen::ANSWERED));
    }

    #[test]
    fn untold_connections_are_named_up_to_a_number() {
        let end = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let untold = |ports: std::ops::Range<u16>| {
            Untold(ports.map(|port| (Protocol::Tcp, end(port), end(9))).collect()).to_string()
        };
        assert_eq!(untold(1..2), "TCP 127.0.0.1:1 with 127.0.0.1:9");
        assert!(untold(0..8).ends_with(", TCP 127.0.0.1:7 with 127.0.0.1:9"));
        assert!(untold(0..20).ends_with(", TCP 127.0.0.1:7 with 127.0.0.1:9 and 12 more"));
    }
}
