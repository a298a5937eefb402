//! What sockets tell that packets do not: whether UDP that nobody answers is served, and which
//! connections were open before. Real sockets in a namespace of their own.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use socket2::{Domain, SockRef, Socket, Type};

use crate::support::{
    Files, PATIENCE, assert_same_tree,
    collector::Collector,
    evidence::{Evidence, evidence, wait_for_evidence},
    lab::{DEVICE, Lab, PEER_DEVICE},
    refusal::refuse_sock_diag,
    services::{open_tcp, tell_udp},
    usual::{HOST, each_way, end},
    wait_until,
};

const HOST_V6: &str = "fd00::230";
const PEER: &str = "192.168.200.1";
const PEER_V6: &str = "fd00::1";

fn lab() -> Lab {
    let lab = Lab::new(&[HOST, HOST_V6]);
    peer_addresses(&lab);
    lab
}

/// An IPv6 address is there before it can be used, also without a test for duplicates.
fn peer_addresses(lab: &Lab) {
    for address in [PEER, PEER_V6] {
        lab.peer.add_address(PEER_DEVICE, address);
    }
    for (end, address) in [(&lab.host, HOST_V6), (&lab.peer, PEER_V6)] {
        let can_be_used = || end.enter(|| UdpSocket::bind(at(address, 0)).is_ok());
        assert!(wait_until(PATIENCE, can_be_used), "{address}");
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(address), port)
}

fn bound(to: &str) -> UdpSocket {
    UdpSocket::bind(end(to)).expect("bound")
}

fn at_device(port: u16, device: &str) -> UdpSocket {
    let socket = bound(&format!("0.0.0.0:{port}"));
    SockRef::from(&socket).bind_device(Some(device.as_bytes())).expect("bound to a device");
    socket
}

fn only_v6(port: u16) -> UdpSocket {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).expect("a socket");
    socket.set_only_v6(true).expect("set");
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into()).expect("bound");
    socket.into()
}

fn connected(local: SocketAddr, remote: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(local).expect("bound");
    socket.connect(remote).expect("connected");
    socket
}

each_way!(
    what_a_socket_takes_is_served,
    what_was_open_before_is_recorded,
    sessions_are_recorded_again_when_the_device_is_back,
);

/// Sockets of the host; each port is of one kind.
fn sockets() -> Vec<UdpSocket> {
    let group = bound("0.0.0.0:1008");
    group
        .join_multicast_v4(&Ipv4Addr::new(239, 1, 2, 3), &HOST.parse().expect("IPv4"))
        .expect("joined");
    vec![
        bound("[::]:1001"),
        bound(&format!("{HOST}:1002")),
        bound("127.0.0.1:1003"),
        connected(at(HOST, 1004), at(PEER, 9)),
        at_device(1005, "lo"),
        at_device(1006, DEVICE),
        only_v6(1007),
        group,
        bound("0.0.0.0:1010"),
    ]
}

fn what_a_socket_takes_is_served(how: &[&str]) {
    let lab = lab();
    let _sockets = lab.host.enter(sockets);
    let collector = Collector::start(&lab.host, how);
    let to_host = (1001..=1007).chain([1099]).map(|port| at(HOST, port));
    let to_host_v6 = [1001, 1002, 1007].map(|port| at(HOST_V6, port));
    for to in to_host.chain(to_host_v6) {
        tell_udp(&lab.peer, ip(if to.is_ipv4() { PEER } else { PEER_V6 }), to);
    }
    let speaker = lab.peer.enter(|| UdpSocket::bind(at(PEER, 4000)).expect("bound"));
    speaker.set_broadcast(true).expect("set");
    for to in [
        "239.1.2.3:1008",
        "239.1.2.4:1008",
        "239.1.2.3:1099",
        "255.255.255.255:1010",
        "192.168.200.255:1010",
        "192.168.200.255:1099",
    ] {
        speaker.send_to(b"all", end(to)).expect("sent");
    }
    let in_v4 = |port| format!("in/udp/{PEER}-PORT-{HOST}-{port}");
    let in_v6 = |port| format!("in/udp/{PEER_V6}-PORT-{HOST_V6}-{port}");
    let of_all = |to: &str, port| format!("else/udp/{PEER}-4000-{to}-{port}");
    let expected = [
        (in_v4(1001), "served"),
        (in_v4(1002), "served"),
        (in_v4(1003), ""),
        (in_v4(1004), ""),
        (in_v4(1005), ""),
        (in_v4(1006), "served"),
        (in_v4(1007), ""),
        (in_v4(1099), ""),
        (in_v6(1001), "served"),
        (in_v6(1002), ""),
        (in_v6(1007), "served"),
        (of_all("239.1.2.3", 1008), "served"),
        (of_all("239.1.2.4", 1008), ""),
        (of_all("239.1.2.3", 1099), ""),
        (of_all("255.255.255.255", 1010), "served"),
        (of_all("192.168.200.255", 1010), "served"),
        (of_all("192.168.200.255", 1099), ""),
    ];
    wait_for_evidence(collector.path(), expected.iter().map(|(path, word)| (path.as_str(), *word)));
    collector.stop();
}

/// Sessions that are open, of several kinds; and where they belong.
struct Sessions {
    _listeners: Vec<TcpListener>,
    _tcp: Vec<TcpStream>,
    _udp: Vec<UdpSocket>,
}

impl Sessions {
    fn open(lab: &Lab) -> Self {
        let Lab { host, peer } = lab;
        let listen = |port| TcpListener::bind(at("::", port)).expect("bound");
        let [ssh, own] = host.enter(|| [listen(22), listen(7000)]);
        let [database, other] = peer.enter(|| [listen(5432), listen(6000)]);
        let open = |by, from, to| open_tcp(by, ip(from), to, PATIENCE).expect("opened");
        let mut tcp = vec![
            open(peer, PEER, at(HOST, 22)),
            open(peer, PEER_V6, at(HOST_V6, 22)),
            open(host, HOST, at(PEER, 5432)),
            open(host, HOST_V6, at(PEER_V6, 5432)),
            // Untold: neither a port that is listened on nor one that the kernel chose.
            host.enter(|| from_port(2000, at(PEER, 6000))),
            // They do not pass the device.
            open(host, "127.0.0.1", at("127.0.0.1", 7000)),
            open(host, HOST, at(HOST, 7000)),
        ];
        for listener in [&ssh, &ssh, &database, &database, &other, &own, &own] {
            tcp.push(listener.accept().expect("accepted").0);
        }
        let udp = host.enter(|| {
            // One that asks, and one that a server has for each client.
            let server = [(); 2].map(|()| shared(5000));
            server[1].connect(at(PEER, 4000)).expect("connected");
            let [all, for_one] = server;
            vec![
                all,
                for_one,
                connected(at(HOST, 0), at(PEER, 53)),
                connected(at(HOST_V6, 0), at(PEER_V6, 123)),
            ]
        });
        Self { _listeners: vec![ssh, own, database, other], _tcp: tcp, _udp: udp }
    }

    fn expected() -> Evidence {
        let paths = [
            format!("in/tcp/{PEER}-PORT-{HOST}-22"),
            format!("in/tcp/{PEER_V6}-PORT-{HOST_V6}-22"),
            format!("out/tcp/{HOST}-PORT-{PEER}-5432"),
            format!("out/tcp/{HOST_V6}-PORT-{PEER_V6}-5432"),
            format!("in/udp/{PEER}-PORT-{HOST}-5000"),
            format!("out/udp/{HOST}-PORT-{PEER}-53"),
            format!("out/udp/{HOST_V6}-PORT-{PEER_V6}-123"),
        ];
        paths.map(|path| (path, "answered".to_owned())).into()
    }
}

/// A socket that shares its port.
fn shared(port: u16) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("set");
    socket.bind(&at("0.0.0.0", port).into()).expect("bound");
    socket.into()
}

fn from_port(port: u16, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&at(HOST, port).into()).expect("bound");
    socket.connect(&to.into()).expect("connected");
    socket.into()
}

/// Waits until these files are there with their words, and no others.
#[track_caller]
fn wait_for_exactly(collector: &Collector, expected: &Evidence) {
    let found = || evidence(collector.path());
    assert!(wait_until(PATIENCE, || found() == *expected), "{:#?}", found());
}

fn names(evidence: &Evidence) -> Files {
    evidence.keys().cloned().collect()
}

fn what_was_open_before_is_recorded(how: &[&str]) {
    let lab = lab();
    let _sessions = Sessions::open(&lab);
    let mut collector = Collector::start(&lab.host, &[how, &["--existing"]].concat());
    let line = collector.wait_for_line("who opened it");
    assert!(line.contains(&format!("TCP {HOST}:2000 with {PEER}:6000")), "{line}");
    let expected = Sessions::expected();
    wait_for_exactly(&collector, &expected);
    let ended = collector.stop();
    assert_same_tree("at the end", &names(&expected), &ended.files);
    assert_eq!(ended.said.matches("who opened it").count(), 1, "{}", ended.said);

    let collector = Collector::start(&lab.host, how);
    assert!(collector.stop().files.is_empty(), "only if it is asked for");
}

fn sessions_are_recorded_again_when_the_device_is_back(how: &[&str]) {
    let lab = lab();
    let _sessions = Sessions::open(&lab);
    let mut collector = Collector::start(&lab.host, &[how, &["--existing"]].concat());
    let expected = names(&Sessions::expected());
    collector.wait_for_files(&expected);
    lab.unplug();
    collector.wait_for_line("waiting for it");
    for path in &expected {
        fs::remove_file(collector.path().join(path)).expect("removed");
    }
    lab.plug_in(&[HOST, HOST_V6]);
    peer_addresses(&lab);
    wait_for_exactly(&collector, &Sessions::expected());
    collector.stop();
}

#[test]
fn where_sockets_cannot_be_listed_that_is_said_and_the_rest_goes_on() {
    let lab = lab();
    let collector = thread::scope(|scope| {
        let start = || {
            refuse_sock_diag();
            Collector::start(&lab.host, &["--existing"])
        };
        scope.spawn(start).join().expect("it starts")
    });
    tell_udp(&lab.peer, ip(PEER), at(HOST, 1099));
    let path = format!("in/udp/{PEER}-PORT-{HOST}-1099");
    collector.wait_for_files(&[path].into());
    let ended = collector.stop();
    assert!(ended.status.success());
    assert_eq!(ended.said.matches("sockets").count(), 1, "{}", ended.said);
}
