//! The closed loop of what no rule of a recorded connection accepts: `DHCPv6`, answers to multicast and
//! broadcast, data connections. Both formats, with real sockets.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket},
    time::Duration,
};

use conntrack::connection::Direction;

use crate::support::{
    PATIENCE, add_files,
    collector::Collector,
    evidence::wait_for_evidence,
    firewall::{Firewall, Iptables, Nftables, rules},
    ftp::{Mode, ftp, tftp},
    lab::{DEVICE, Lab, Namespace, PEER_DEVICE},
    services::{Service, Services, ask_tcp},
    wait_until,
};

const HOST: [&str; 2] = ["192.168.200.230", "fd00:200::230"];
const PEER: [&str; 2] = ["192.168.200.1", "fd00:200::1"];
/// Long enough to know that nothing comes.
const REFUSED_AFTER: Duration = Duration::from_millis(300);

macro_rules! each_format {
    ($($test:ident),* $(,)?) => { $(
        mod $test {
            #[test]
            fn nftables() {
                super::$test::<super::Nftables>();
            }

            #[test]
            fn iptables() {
                super::$test::<super::Iptables>();
            }
        }
    )* };
}

each_format!(
    an_address_of_dhcpv6_is_got,
    answers_of_a_group_arrive,
    who_asks_a_group_is_answered,
    data_connections_are_let_through,
    groups_that_programs_listen_to_are_heard,
);

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn lab() -> Lab {
    let lab = Lab::new(&HOST);
    for address in PEER {
        lab.peer.add_address(PEER_DEVICE, address);
    }
    for end in [(&lab.host, DEVICE), (&lab.peer, PEER_DEVICE)] {
        end.0.run("ip", &["route", "add", "224.0.0.0/4", "dev", end.1]);
    }
    lab
}

/// The address of a device on its link, once there is one.
fn on_link(namespace: &Namespace, device: &str) -> SocketAddrV6 {
    let shown =
        || namespace.run("ip", &["-6", "-o", "address", "show", "dev", device, "scope", "link"]);
    assert!(wait_until(PATIENCE, || shown().contains("fe80::") && !shown().contains("tentative")));
    let shown = shown();
    let address = shown.split_whitespace().find_map(|word| word.strip_suffix("/64"));
    let index = shown.split(':').next().and_then(|it| it.trim().parse().ok()).expect("an index");
    let address = address.expect("an address").parse().expect("an address");
    SocketAddrV6::new(address, 0, 0, index)
}

fn socket(namespace: &Namespace, at: impl Into<SocketAddr>) -> UdpSocket {
    let at = at.into();
    let socket = namespace.enter(|| UdpSocket::bind(at)).expect("bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    socket.set_broadcast(true).expect("set");
    socket
}

const fn with_port(address: SocketAddrV6, port: u16) -> SocketAddrV6 {
    SocketAddrV6::new(*address.ip(), port, 0, address.scope_id())
}

/// Whether a datagram comes within a time.
fn receives(socket: &UdpSocket, patience: Duration) -> bool {
    socket.set_read_timeout(Some(patience)).expect("set");
    socket.recv_from(&mut [0; 64]).is_ok()
}

/// A tree in which nothing but ssh was seen in each direction.
fn ssh_alone() -> tempfile::TempDir {
    let tree = tempfile::tempdir().expect("a scratch directory");
    let both = [0, 1].map(|family| {
        let [host, peer] = [HOST[family], PEER[family]];
        [format!("in/tcp/{peer}-PORT-{host}-22"), format!("out/tcp/{host}-PORT-{peer}-22")]
    });
    add_files(tree.path(), both.as_flattened());
    tree
}

/// A lease is renewed long after the rules were made, from a server that nobody knew before.
fn an_address_of_dhcpv6_is_got<F: Firewall>() {
    let lab = lab();
    let tree = ssh_alone();
    let (_scratch, file) = rules(tree.path(), &["--format", F::FORMAT, "--enforce"]);
    F::load(&lab.host, file.to_str().expect("UTF-8"));
    let here = on_link(&lab.host, DEVICE);
    let there = on_link(&lab.peer, PEER_DEVICE);
    let client = socket(&lab.host, with_port(here, 546));
    let server = socket(&lab.peer, SocketAddr::from(([0_u16; 8], 547)));
    let group = "ff02::1:2".parse().expect("a group");
    lab.peer.enter(|| server.join_multicast_v6(&group, there.scope_id())).expect("joined");
    client.send_to(b"solicit", SocketAddrV6::new(group, 547, 0, here.scope_id())).expect("sent");
    assert!(receives(&server, PATIENCE), "the request");
    drop(server);
    let answer = |from: u16, to: u16| {
        let socket = socket(&lab.peer, with_port(there, from));
        socket.send_to(b"advertise", with_port(here, to)).expect("sent");
    };
    answer(547, 546);
    assert!(receives(&client, PATIENCE), "the answer");
    answer(1024, 546);
    assert!(!receives(&client, REFUSED_AFTER), "from another port");
    let other = socket(&lab.host, with_port(here, 1547));
    answer(547, 1547);
    assert!(!receives(&other, REFUSED_AFTER), "to another port");
}

/// SSDP by multicast, `NetBIOS` by broadcast.
fn answers_of_a_group_arrive<F: Firewall>() {
    let lab = lab();
    let discoveries = [("239.255.255.250", 1900), ("192.168.200.255", 137)];
    let devices = discoveries.map(|(_, port)| {
        let socket = socket(&lab.peer, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        let on = PEER[0].parse().expect("an address");
        let group = Ipv4Addr::new(239, 255, 255, 250);
        lab.peer.enter(|| socket.join_multicast_v4(&group, &on)).expect("joined");
        socket
    });
    let discover = |patience| {
        let asker = socket(&lab.host, SocketAddr::new(address(HOST[0]), 0));
        let mut answered = Vec::new();
        for (device, discovery) in devices.iter().zip(discoveries) {
            asker.send_to(b"who?", discovery).expect("sent");
            let Ok((_, from)) = device.recv_from(&mut [0; 64]) else { continue };
            device.send_to(b"me", from).expect("sent");
            answered.push(receives(&asker, patience));
        }
        (asker, answered)
    };
    let collector = Collector::start(&lab.host, &["-m", "pcap", "--learn"]);
    let (asker, answered) = discover(PATIENCE);
    assert_eq!(answered, [true; 2], "without rules");
    let port = asker.local_addr().expect("bound").port();
    let answer = format!("in/udp/{}-PORT-{}-{port}", PEER[0], HOST[0]);
    let request = format!("out/udp/{}-PORT-192.168.200.255-137", HOST[0]);
    collector.wait_for_files(&[answer, request].into());
    drop(asker);
    // So that there is an input chain.
    add_files(collector.path(), &[format!("in/tcp/{}-PORT-{}-22", PEER[0], HOST[0])]);
    let (_scratch, file) = rules(collector.path(), &["--format", F::FORMAT, "--enforce"]);
    F::load(&lab.host, file.to_str().expect("UTF-8"));
    let (asker, answered) = discover(PATIENCE);
    assert_eq!(answered, [true; 2], "enforced");
    let stranger = socket(&lab.peer, SocketAddr::new(address(PEER[0]), 4000));
    stranger.send_to(b"me", asker.local_addr().expect("bound")).expect("sent");
    assert!(!receives(&asker, REFUSED_AFTER), "from a port that was not asked");
    let idle = socket(&lab.host, SocketAddr::new(address(HOST[0]), 20_000));
    devices[0].send_to(b"me", idle.local_addr().expect("bound")).expect("sent");
    assert!(!receives(&idle, REFUSED_AFTER), "to a port that asked nobody");
}

/// A responder of multicast DNS answers those who ask from any port, also ports that are new.
fn who_asks_a_group_is_answered<F: Firewall>() {
    let lab = lab();
    let group = Ipv4Addr::new(224, 0, 0, 251);
    let responder = socket(&lab.host, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5353)));
    let host = HOST[0].parse().expect("an address");
    lab.host.enter(|| responder.join_multicast_v4(&group, &host)).expect("joined");
    let ask = |patience| {
        let asker = socket(&lab.peer, SocketAddr::new(address(PEER[0]), 0));
        asker.send_to(b"who?", (group, 5353)).expect("sent");
        responder.set_read_timeout(Some(patience)).expect("set");
        let Ok((_, from)) = responder.recv_from(&mut [0; 64]) else { return (asker, false) };
        let is_answered = responder.send_to(b"me", from).is_ok() && receives(&asker, patience);
        (asker, is_answered)
    };
    let collector = Collector::start(&lab.host, &["-m", "pcap", "--learn"]);
    let (asker, is_answered) = ask(PATIENCE);
    assert!(is_answered, "without rules");
    let port = asker.local_addr().expect("bound").port();
    let served = format!("else/udp/{}-{port}-224.0.0.251-5353", PEER[0]);
    wait_for_evidence(collector.path(), [(served.as_str(), "served")]);
    add_files(collector.path(), &[format!("out/tcp/{}-PORT-{}-22", HOST[0], PEER[0])]);
    let (_scratch, file) = rules(collector.path(), &["--format", F::FORMAT, "--enforce"]);
    F::load(&lab.host, file.to_str().expect("UTF-8"));
    assert!(ask(PATIENCE).1, "enforced");
    assert_eq!(F::not_accepted(&lab.host, Direction::Out), 0);
}

/// An FTP server, an FTP client and both of TFTP, over both families.
fn data_connections_are_let_through<F: Firewall>() {
    let lab = lab();
    let collector = Collector::start(&lab.host, &["-m", "pcap", "--learn"]);
    let listeners = [0, 1].map(|family| {
        let ends = [(&lab.host, HOST[family]), (&lab.peer, PEER[family])];
        ends.map(|(end, at)| socket(end, SocketAddr::new(address(at), 69)))
    });
    let transfer = |patience| {
        let mut failed = Vec::new();
        for (family, listeners) in listeners.iter().enumerate() {
            let host = (&lab.host, address(HOST[family]));
            let peer = (&lab.peer, address(PEER[family]));
            let [of_host, of_peer] = listeners;
            for (client, server, tftpd, name) in
                [(peer, host, of_host, "server"), (host, peer, of_peer, "client")]
            {
                let mut note = |what: String, done: io::Result<()>| {
                    if let Err(error) = done {
                        failed.push(format!("{name} {family} {what}: {error}"));
                    }
                };
                for mode in [Mode::Passive, Mode::Active] {
                    note(format!("{mode:?}"), ftp(client, server, mode, patience));
                }
                note("tftp".to_owned(), tftp(client, (server.0, tftpd), patience));
            }
        }
        failed
    };
    assert_eq!(transfer(PATIENCE), [""; 0], "without rules");
    let controls = [0, 1].map(|family| {
        let [host, peer] = [HOST[family], PEER[family]];
        ["tcp/PEER-PORT-HOST-21", "udp/PEER-PORT-HOST-69"].map(|path| {
            let incoming = path.replace("PEER", peer).replace("HOST", host);
            let outgoing = path.replace("PEER", host).replace("HOST", peer);
            [format!("in/{incoming}"), format!("out/{outgoing}")]
        })
    });
    let controls: Vec<_> = controls.into_iter().flatten().flatten().collect();
    wait_for_evidence(
        collector.path(),
        controls.iter().map(|path| {
            let word = match path.split('/').next() {
                _ if path.contains("/tcp/") => "answered",
                Some("in") => "served",
                _ => "",
            };
            (path.as_str(), word)
        }),
    );
    let (_scratch, file) = rules(collector.path(), &["--format", F::FORMAT, "--enforce"]);
    F::load(&lab.host, file.to_str().expect("UTF-8"));
    assert_eq!(transfer(PATIENCE), [""; 0], "enforced");
    let _backdoor = Services::start(&lab.host, &[Service::Tcp(40_123)]);
    let backdoor = SocketAddr::new(address(HOST[0]), 40_123);
    let asked = ask_tcp(&lab.peer, address(PEER[0]), backdoor, REFUSED_AFTER);
    assert!(asked.is_err(), "an ephemeral port that nobody agreed on");
}

/// Joined, with a socket: nobody sent to it while it was recorded. What belongs to no program stays refused, and
/// a tree of another machine opens nothing.
fn groups_that_programs_listen_to_are_heard<F: Firewall>() {
    const OF_A_PROGRAM: Ipv4Addr = Ipv4Addr::new(239, 77, 1, 2);
    const OF_NONE: Ipv4Addr = Ipv4Addr::new(239, 77, 1, 3);
    let lab = lab();
    let own: Ipv4Addr = HOST[0].parse().expect("an address");
    let listen = |bound: Ipv4Addr, port: u16, group: Ipv4Addr| {
        lab.host.enter(|| {
            let socket = UdpSocket::bind((bound, port)).expect("bound");
            socket.join_multicast_v4(&group, &own).expect("joined");
            socket.set_read_timeout(Some(REFUSED_AFTER)).expect("set");
            socket
        })
    };
    let mdns = Ipv4Addr::new(224, 0, 0, 251);
    let any = Ipv4Addr::UNSPECIFIED;
    let sockets = [
        (listen(any, 5353, mdns), mdns, true),
        (listen(OF_A_PROGRAM, 7777, OF_A_PROGRAM), OF_A_PROGRAM, true),
        // Whose group that is, nobody tells.
        (listen(any, 7778, OF_NONE), OF_NONE, false),
    ];
    let hears = |(socket, group, _): &(UdpSocket, Ipv4Addr, bool)| {
        let to = (*group, socket.local_addr().expect("bound").port());
        lab.peer.enter(|| {
            let peer = UdpSocket::bind((PEER[0], 0)).expect("bound");
            peer.send_to(b"to all", to).expect("sent");
        });
        socket.recv(&mut [0; 16]).is_ok()
    };
    assert!(sockets.iter().all(hears), "without rules");
    let tree = tempfile::tempdir().expect("a scratch directory");
    add_files(tree.path(), &[format!("in/tcp/{}-PORT-{}-22", PEER[0], HOST[0])]);
    for (device, is_here) in [(DEVICE, true), ("elsewhere0", false)] {
        let told = format!("{{\"version\":1,\"device\":\"{device}\"}}");
        let name = "user.conntrack.recording";
        rustix::fs::setxattr(tree.path(), name, told.as_bytes(), rustix::fs::XattrFlags::empty())
            .expect("a file system with extended attributes");
        let file = tree.path().join("rules");
        let path = file.to_str().expect("UTF-8");
        let tree = tree.path().to_str().expect("UTF-8");
        let program = env!("CARGO_BIN_EXE_conntrack");
        let arguments = ["rules", "-p", tree, "--format", F::FORMAT, "--enforce", "-q", "-o", path];
        lab.host.run(program, &arguments);
        F::load(&lab.host, path);
        for socket in &sockets {
            assert_eq!(hears(socket), socket.2 && is_here, "{device}: {}", socket.1);
        }
    }
}
