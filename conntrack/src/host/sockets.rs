//! The sockets of this network namespace, as `sock_diag`(7) lists them: those that take what arrives at a
//! port, and those that have another end. No privilege is needed for that.
//!
//! Which process has a socket is not asked.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::{IpAddr, SocketAddr},
};

use netlink_packet_core::Nla as _;
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SockDiagMessage,
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};

use super::netlink::Connection;
use crate::connection::Protocol;

/// The sockets that take what arrives from anybody: TCP's that listen, UDP's that are not connected.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    by_port: HashMap<u16, Vec<Local>>,
}

/// What a socket is bound to besides its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Local {
    address: Bound,
    /// Index of the device that it is bound to; 0 is none.
    device: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    To(IpAddr),
    AllV4,
    AllV6,
    /// To `[::]` without `IPV6_V6ONLY`.
    All,
}

/// The devices that packets arrive at, as sockets that are bound to a device see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Those of these indexes, and of what they are a part of (a bridge, a VRF).
    Among(BTreeSet<u32>),
    /// Any of them.
    Anywhere,
}

impl Listening {
    /// Those that there are now.
    ///
    /// # Errors
    /// What the kernel answered: it may lack `sock_diag`, or be short of descriptors or memory.
    pub(crate) fn now(connection: &mut Connection, protocol: Protocol) -> io::Result<Self> {
        let states = match protocol {
            Protocol::Tcp => StateFlags::LISTEN,
            Protocol::Udp => StateFlags::CLOSE,
        };
        let mut listening = Self::default();
        for_each(connection, protocol, &states, |socket| listening.add(socket))?;
        Ok(listening)
    }

    fn add(&mut self, socket: &InetResponse) {
        let id = &socket.header.socket_id;
        // Port 0: made, and not bound yet.
        if id.source_port != 0 {
            let local = Local { address: bound(socket), device: id.interface_id };
            self.by_port.entry(id.source_port).or_default().push(local);
        }
    }

    /// The ports of those that are bound to this address alone.
    pub(crate) fn ports_of(&self, address: IpAddr) -> impl Iterator<Item = u16> {
        let is_bound = move |local: &Local| local.address == Bound::To(address);
        let bound = self.by_port.iter().filter(move |(_, sockets)| sockets.iter().any(is_bound));
        bound.map(|(port, _)| *port)
    }

    /// Whether one of them takes what comes to this address and port.
    pub(crate) fn takes(&self, to: SocketAddr, arrival: &Arrival) -> bool {
        let sockets = self.by_port.get(&to.port());
        sockets.is_some_and(|sockets| sockets.iter().any(|it| it.takes(to.ip(), arrival)))
    }
}

impl Local {
    fn takes(self, address: IpAddr, arrival: &Arrival) -> bool {
        let takes_address = match self.address {
            Bound::To(own) => own == address,
            Bound::AllV4 => address.is_ipv4(),
            Bound::AllV6 => address.is_ipv6(),
            Bound::All => true,
        };
        takes_address && arrival.reaches(self.device)
    }
}

impl Arrival {
    /// Whether what arrives there reaches a socket that is bound to this device; 0 is none.
    pub(crate) fn reaches(&self, bound_to: u32) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Among(devices) => bound_to == 0 || devices.contains(&bound_to),
        }
    }
}

/// The control group of the socket with these ends; 0 where the kernel does not tell. With an unspecified
/// other end, of the one that takes what arrives at ours; `device` is where, or 0.
///
/// # Errors
/// That there is no such socket, or what else the kernel answered.
pub(crate) fn cgroup(
    connection: &mut Connection,
    protocol: Protocol,
    (local, remote): (SocketAddr, SocketAddr),
    device: u32,
) -> io::Result<u64> {
    // Of UDP, the kernel takes the ends as they are in a packet that arrives (`udp_dump_one`).
    let (source, destination) = match protocol {
        Protocol::Tcp => (local, remote),
        Protocol::Udp => (remote, local),
    };
    let question = InetRequest {
        family: if local.is_ipv4() { AF_INET } else { AF_INET6 },
        protocol: number(protocol),
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: source.port(),
            destination_port: destination.port(),
            source_address: source.ip(),
            destination_address: destination.ip(),
            interface_id: device,
            cookie: ANY_COOKIE,
        },
    };
    match connection.get(SockDiagMessage::InetRequest(question))? {
        SockDiagMessage::InetResponse(socket) => Ok(cgroup_of(&socket)),
        _ => Ok(0),
    }
}

/// `INET_DIAG_NOCOOKIE`.
const ANY_COOKIE: [u8; 8] = [0xff; 8];

/// `INET_DIAG_CGROUP_ID`, of Linux 5.8: the number of the control group that a socket was made in.
const CGROUP_ID: u16 = 21;

fn cgroup_of(socket: &InetResponse) -> u64 {
    let mut attributes = socket.nlas.iter();
    let value = attributes.find_map(|it| match it {
        Nla::Other(attribute) if attribute.kind() == CGROUP_ID => {
            let mut value = [0; size_of::<u64>()];
            (attribute.value_len() == value.len()).then(|| attribute.emit_value(&mut value))?;
            Some(u64::from_ne_bytes(value))
        }
        _ => None,
    });
    value.unwrap_or_default()
}

/// Both ends of a socket that has another end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Connected {
    /// Ours.
    pub(crate) local: SocketAddr,
    /// The other one.
    pub(crate) remote: SocketAddr,
    /// Index of the device that the socket is bound to; 0 is none.
    pub(crate) device: u32,
    /// Its control group; 0 where the kernel does not tell.
    pub(crate) cgroup: u64,
}

/// Hands each socket that is connected now to `each`: TCP's that are established, UDP's that
/// connect(2) was called on.
///
/// # Errors
/// As for [`Listening::now`].
pub(crate) fn for_each_connected(
    connection: &mut Connection,
    protocol: Protocol,
    mut each: impl FnMut(Connected),
) -> io::Result<()> {
    for_each(connection, protocol, &StateFlags::ESTABLISHED, |socket| {
        let id = &socket.header.socket_id;
        let end = |address: IpAddr, port| SocketAddr::new(address.to_canonical(), port);
        each(Connected {
            local: end(id.source_address, id.source_port),
            remote: end(id.destination_address, id.destination_port),
            device: id.interface_id,
            cgroup: cgroup_of(socket),
        });
    })
}

fn for_each(
    connection: &mut Connection,
    protocol: Protocol,
    states: &StateFlags,
    mut each: impl FnMut(&InetResponse),
) -> io::Result<()> {
    for (family, socket_id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        let question = InetRequest {
            family,
            protocol: number(protocol),
            extensions: ExtensionFlags::empty(),
            states: states.clone(),
            socket_id,
        };
        connection.dump_each(SockDiagMessage::InetRequest(question), |reply| {
            if let SockDiagMessage::InetResponse(socket) = reply {
                each(&socket);
            }
        })?;
    }
    Ok(())
}

const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => IPPROTO_TCP,
        Protocol::Udp => IPPROTO_UDP,
    }
}

fn bound(socket: &InetResponse) -> Bound {
    let is_v6_only = || socket.nlas.iter().any(|it| matches!(it, Nla::SkV6Only(true)));
    match socket.header.socket_id.source_address.to_canonical() {
        address if !address.is_unspecified() => Bound::To(address),
        // Also `::ffff:0.0.0.0`, an IPv6 socket that takes IPv4 alone.
        IpAddr::V4(_) => Bound::AllV4,
        IpAddr::V6(_) if is_v6_only() => Bound::AllV6,
        IpAddr::V6(_) => Bound::All,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};

    use socket2::{Domain, SockRef, Socket, Type};

    use super::*;
    use crate::host::device;

    fn listening(protocol: Protocol) -> Listening {
        let mut connection = Connection::to_sock_diag().expect("sock_diag");
        Listening::now(&mut connection, protocol).expect("sockets")
    }

    fn connected(protocol: Protocol) -> Vec<Connected> {
        let mut connection = Connection::to_sock_diag().expect("sock_diag");
        let mut connected = Vec::new();
        for_each_connected(&mut connection, protocol, |it| connected.push(it)).expect("sockets");
        connected
    }

    fn loopback() -> u32 {
        let mut connection = Connection::to_route().expect("a socket");
        device::index(&mut connection, "lo").expect("an answer").expect("a device")
    }

    fn address(text: &str, port: u16) -> SocketAddr {
        SocketAddr::new(text.parse().expect("an address"), port)
    }

    fn port(socket: &UdpSocket) -> u16 {
        socket.local_addr().expect("bound").port()
    }

    fn bound_to(local: &str) -> UdpSocket {
        UdpSocket::bind(local).expect("a socket")
    }

    fn all_v6(only: bool) -> UdpSocket {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).expect("a socket");
        socket.set_only_v6(only).expect("set");
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).expect("bound");
        socket.into()
    }

    /// Which of these a socket takes what comes to, at its port.
    #[track_caller]
    fn taken(socket: &UdpSocket) -> Vec<&'static str> {
        let listening = listening(Protocol::Udp);
        let takes = |to: &&str| listening.takes(address(to, port(socket)), &Arrival::Anywhere);
        ["127.0.0.1", "10.1.2.3", "::1", "2001:db8::1"].into_iter().filter(takes).collect()
    }

    #[test]
    fn a_socket_takes_what_it_is_bound_to() {
        assert_eq!(taken(&bound_to("127.0.0.1:0")), ["127.0.0.1"]);
        assert_eq!(taken(&bound_to("0.0.0.0:0")), ["127.0.0.1", "10.1.2.3"]);
        assert_eq!(taken(&bound_to("[::1]:0")), ["::1"]);
        assert_eq!(taken(&bound_to("[::ffff:127.0.0.1]:0")), ["127.0.0.1"]);
        assert_eq!(taken(&bound_to("[::ffff:0.0.0.0]:0")), ["127.0.0.1", "10.1.2.3"]);
        assert_eq!(taken(&all_v6(true)), ["::1", "2001:db8::1"]);
        assert_eq!(taken(&all_v6(false)), ["127.0.0.1", "10.1.2.3", "::1", "2001:db8::1"]);
    }

    #[test]
    fn a_connected_socket_has_another_end_and_takes_nothing_from_others() {
        let server = bound_to("127.0.0.1:0");
        let client = bound_to("127.0.0.1:0");
        client.connect(server.local_addr().expect("bound")).expect("connected");
        assert!(taken(&client).is_empty());
        let ends = Connected {
            local: client.local_addr().expect("bound"),
            remote: server.local_addr().expect("bound"),
            device: 0,
            cgroup: of_this_process(),
        };
        let connected = connected(Protocol::Udp);
        assert!(connected.contains(&ends), "{connected:?}");
        assert!(connected.iter().all(|it| it.local.port() != port(&server)), "{connected:?}");
    }

    #[test]
    fn both_ends_of_a_tcp_connection_are_known_and_its_listener() {
        // The server's end is an IPv6 socket with an IPv4 address.
        let listener = TcpListener::bind("[::]:0").expect("a listener");
        let to = address("127.0.0.1", listener.local_addr().expect("bound").port());
        let client = TcpStream::connect(to).expect("connected");
        let _server = listener.accept().expect("accepted");
        let local = client.local_addr().expect("bound");
        let ends = Connected { local, remote: to, device: 0, cgroup: of_this_process() };
        let connected = connected(Protocol::Tcp);
        for ends in [ends, Connected { local: ends.remote, remote: ends.local, ..ends }] {
            assert!(connected.contains(&ends), "{ends:?} is not in {connected:?}");
        }
        let listening = listening(Protocol::Tcp);
        assert!(listening.takes(ends.remote, &Arrival::Anywhere));
        assert!(!listening.takes(ends.local, &Arrival::Anywhere));
    }

    /// The number of this process's control group, as its own sockets have it; 0 if there is none.
    fn of_this_process() -> u64 {
        let path = std::fs::read_to_string("/proc/self/cgroup").expect("read");
        let path = path.lines().find_map(|line| line.strip_prefix("0::/"));
        let mount = crate::host::cgroups::Mount::find().expect("mounts are told");
        let group = mount.zip(path).map(|(mount, path)| mount.path.join(path));
        let number = group.map(|group| {
            std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(group).expect("a group"))
        });
        number.unwrap_or_default()
    }

    #[test]
    fn the_control_group_of_a_socket_is_told_by_its_ends() {
        let expected = of_this_process();
        assert_ne!(expected, 0, "control groups are mounted");
        let mut connection = Connection::to_sock_diag().expect("sock_diag");
        let mut told = |protocol, ends| cgroup(&mut connection, protocol, ends, 0).ok();
        for (own, any) in [("127.0.0.1", "0.0.0.0"), ("::1", "::")] {
            let anybody = address(any, 0);
            let tcp = TcpListener::bind(address(own, 0)).expect("a listener");
            let to = tcp.local_addr().expect("bound");
            let client = TcpStream::connect(to).expect("connected");
            let from = client.local_addr().expect("bound");
            assert_eq!(told(Protocol::Tcp, (from, to)), Some(expected));
            assert_eq!(told(Protocol::Tcp, (to, anybody)), Some(expected));
            assert_eq!(told(Protocol::Tcp, (address(own, 1), anybody)), None);
            let udp = UdpSocket::bind(address(any, 0)).expect("a socket");
            let to = address(own, port(&udp));
            let client = UdpSocket::bind(address(own, 0)).expect("a socket");
            client.connect(to).expect("connected");
            let from = client.local_addr().expect("bound");
            assert_eq!(told(Protocol::Udp, (from, to)), Some(expected));
            assert_eq!(told(Protocol::Udp, (from, address(own, 1))), None);
            assert_eq!(told(Protocol::Udp, (to, anybody)), Some(expected));
        }
    }

    #[test]
    fn a_socket_that_is_bound_to_a_device_takes_what_arrives_there() {
        let socket = bound_to("0.0.0.0:0");
        SockRef::from(&socket).bind_device(Some(b"lo")).expect("bound to loopback");
        let loopback = loopback();
        let listening = listening(Protocol::Udp);
        let takes = |devices: &[u32]| {
            let arrival = Arrival::Among(devices.iter().copied().collect());
            listening.takes(address("127.0.0.1", port(&socket)), &arrival)
        };
        assert!(takes(&[loopback]));
        assert!(!takes(&[loopback + 1]));
        assert!(takes(&[loopback + 1, loopback]));
    }
}
