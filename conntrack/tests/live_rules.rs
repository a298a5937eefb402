//! The closed loop: what a tree recorded of real traffic becomes rules, and these let exactly that
//! traffic through. In namespaces, over IPv4 and IPv6, TCP and UDP, in and out.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read as _, Seek as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use crate::support::{
    Files,
    collector::Collector,
    firewall::{Firewall, Iptables, Nftables, rules},
    lab::{DEVICE, Lab, Namespace, PEER_DEVICE},
    path_of,
};
use conntrack::connection::{Direction, Host, Protocol};
use rustix::net::{
    AddressFamily, SocketType, bind, connect, socket,
    sockopt::{Timeout, set_socket_timeout},
};

const HOST_V4: &str = "192.168.200.230";
const HOST_V6: &str = "fd00:200::230";
const INTERNAL: [&str; 2] = ["192.168.200.1", "fd00:200::1"];
/// Internal too, but nothing of them is recorded.
const STRANGERS: [&str; 2] = ["192.168.200.2", "fd00:200::2"];
const INTERNET: [&str; 2] = ["203.0.113.9", "2001:db8:9::9"];

/// Long enough for whatever works.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough to know that it does not; that it was refused is told by the counters.
const REFUSED_AFTER: Duration = Duration::from_millis(200);

/// A conversation between the host and one of the peer's addresses.
#[derive(Clone, Copy, Debug)]
struct Conversation {
    direction: Direction,
    protocol: Protocol,
    remote: IpAddr,
    port: u16,
}

impl Conversation {
    /// What is recorded: with an internal and an internet address of each family.
    fn recorded() -> Vec<Self> {
        let mut all = Vec::new();
        for direction in [Direction::In, Direction::Out] {
            for (protocol, ports) in [(Protocol::Tcp, [22, 443]), (Protocol::Udp, [53, 123])] {
                for (remotes, port) in [INTERNAL, INTERNET].into_iter().zip(ports) {
                    let remotes = remotes.map(address).into_iter();
                    all.extend(remotes.map(|remote| Self { direction, protocol, remote, port }));
                }
            }
        }
        all
    }

    /// The same with somebody else, over another protocol, and to another port.
    fn others(self) -> [Self; 3] {
        let family = usize::from(self.remote.is_ipv6());
        let is_internal = self.remote == address(INTERNAL[family]);
        let somebody = if is_internal { STRANGERS } else { INTERNAL }[family];
        let protocol = match self.protocol {
            Protocol::Tcp => Protocol::Udp,
            Protocol::Udp => Protocol::Tcp,
        };
        [
            Self { remote: address(somebody), ..self },
            Self { protocol, ..self },
            Self { port: self.port + 1, ..self },
        ]
    }

    /// The host's address of the same family.
    fn host(self) -> IpAddr {
        address(if self.remote.is_ipv4() { HOST_V4 } else { HOST_V6 })
    }

    /// The file that it should leave.
    fn path(self) -> String {
        let is_internet = INTERNET.map(address).contains(&self.remote);
        let remote = if is_internet { Host::Internet } else { Host::Address(self.remote) };
        path_of((self.direction, self.protocol), self.host(), remote, self.port)
    }

    /// Whether a question gets its answer.
    fn works(self, lab: &Lab, patience: Duration) -> bool {
        let (client, from, server, to) = match self.direction {
            Direction::Out => (&lab.host, self.host(), &lab.peer, self.remote),
            _ => (&lab.peer, self.remote, &lab.host, self.host()),
        };
        let to = SocketAddr::new(to, self.port);
        let talk: Talk = match self.protocol {
            Protocol::Tcp => over_tcp,
            Protocol::Udp => over_udp,
        };
        talk(client, from, server, to, patience).is_ok()
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A question and its answer, if both get through.
type Talk = fn(&Namespace, IpAddr, &Namespace, SocketAddr, Duration) -> io::Result<()>;

fn over_tcp(
    client: &Namespace,
    from: IpAddr,
    server: &Namespace,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<()> {
    let listener = server.enter(|| TcpListener::bind(to)).expect("bound");
    let mut stream = client.enter(|| -> io::Result<TcpStream> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket(family, SocketType::STREAM, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
        bind(&socket, &SocketAddr::new(from, 0))?;
        connect(&socket, &to)?;
        Ok(socket.into())
    })?;
    stream.set_read_timeout(Some(patience))?;
    let (mut accepted, _) = listener.accept()?;
    accepted.set_read_timeout(Some(patience))?;
    stream.write_all(b"?")?;
    accepted.read_exact(&mut [0])?;
    accepted.write_all(b"!")?;
    stream.read_exact(&mut [0])
}

fn over_udp(
    client: &Namespace,
    from: IpAddr,
    server: &Namespace,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<()> {
    let server = server.enter(|| UdpSocket::bind(to)).expect("bound");
    let client = client.enter(|| UdpSocket::bind((from, 0))).expect("bound");
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(patience))?;
    }
    client.connect(to)?;
    client.send(b"?")?;
    let (_, asker) = server.recv_from(&mut [0])?;
    server.send_to(b"!", asker)?;
    client.recv(&mut [0]).map(|_| ())
}

/// A host and a peer that has addresses of its own in the host's networks and in the internet.
fn lab() -> Lab {
    let lab = Lab::new(&[HOST_V4, HOST_V6]);
    for remote in [INTERNAL, STRANGERS, INTERNET].as_flattened() {
        lab.peer.add_address(PEER_DEVICE, remote);
    }
    for internet in ["203.0.113.0/24", "2001:db8:9::/64"] {
        lab.host.run("ip", &["route", "add", internet, "dev", DEVICE]);
    }
    lab
}

/// A tree of the recorded conversations; the collector keeps it.
fn record(lab: &Lab) -> Collector {
    // The host answers UDP on these ports.
    let collector = Collector::start(&lab.host, &["-m", "pcap", "-u", "53", "-u", "123"]);
    let mut expected = Files::new();
    for conversation in Conversation::recorded() {
        assert!(conversation.works(lab, PATIENCE), "without rules: {conversation:?}");
        expected.insert(conversation.path());
    }
    collector.wait_for_files(&expected);
    crate::support::assert_same_tree("recorded", &expected, &collector.files());
    collector
}

/// Every odd thing that a tree may hold and that ends up in a rule.
fn odd_tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a scratch directory");
    let add = |path: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, "").expect("written");
    };
    // More ports than one rule holds, in ranges and alone; the lowest and the highest.
    for port in (0..200).filter(|port| port % 7 != 3).chain([65_534, 65_535]) {
        add(&format!("in/tcp/10.0.0.1-PORT-10.0.0.2-{port}"));
        add(&format!("in/udp/INTERNET-PORT-fd00::2-{port}"));
    }
    // More peers and more local addresses than one rule holds, next to each other and not.
    for number in 0..40 {
        add(&format!("out/tcp/10.0.0.{number}-PORT-10.1.{}.{}-25", number * 3, number / 2));
        add(&format!("in/tcp/fd00::{number:x}-PORT-fd00:1::{}-25", number % 5 + 1));
    }
    for odd in ["::", "::1", "::ffff:192.0.2.1", "ff02::1:2", "fe80::1", "2001:db8::"] {
        add(&format!("out/udp/fe80::2-PORT-{odd}-546"));
        add(&format!("else/udp/{odd}-1-fe80::2-1"));
    }
    for odd in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "240.0.0.1"] {
        add(&format!("out/udp/10.0.0.2-PORT-{odd}-67"));
        add(&format!("in/udp/{odd}-PORT-10.0.0.2-68"));
        add(&format!("else/udp/10.0.0.9-68-{odd}-67"));
    }
    add("out/udp/10.0.0.2-PORT-INTERNET-443");
    root
}

/// The firewall takes every form of rules, also where nothing is left of a set.
fn takes_all_forms<F: Firewall>() {
    let lab = Lab::new(&[]);
    let root = odd_tree();
    for arguments in [
        &[][..],
        &["--forward", "--enforce", "--device", "eth0.7"],
        &["--forward", "--aggregate", "0,0"],
        &["--forward", "--aggregate", "24,64"],
        &["--internal", "203.0.113.0/24", "--internal", "2001:db8::/32"],
        &["--internal", "0.0.0.0/0", "--internal", "::/0"],
    ] {
        let (_scratch, file) = rules(root.path(), &[&["--format", F::FORMAT], arguments].concat());
        F::load(&lab.host, file.to_str().expect("UTF-8"));
    }
}

/// Other tables are left alone, whatever is in them.
#[test]
fn nftables_touches_its_own_table_only() {
    let lab = Lab::new(&[]);
    lab.host.run("nft", &["add table inet theirs; add chain inet theirs c"]);
    let (_scratch, file) = rules(odd_tree().path(), &["--enforce"]);
    Nftables::load(&lab.host, file.to_str().expect("UTF-8"));
    let tables = lab.host.run("nft", &["list", "tables"]);
    assert_eq!(tables, "table inet theirs\ntable inet conntrack_learned\n");
    assert!(lab.host.run("nft", &["list", "table", "inet", "theirs"]).contains("chain c"));
}

#[test]
fn nftables_takes_all_forms() {
    takes_all_forms::<Nftables>();
}

#[test]
fn iptables_takes_all_forms() {
    takes_all_forms::<Iptables>();
}

/// Refuses what was not recorded, and only that.
fn enforces<F: Firewall>() {
    let lab = lab();
    let recorder = record(&lab);
    let (_scratch, file) = rules(recorder.path(), &["--format", F::FORMAT, "--enforce"]);
    F::load(&lab.host, file.to_str().expect("UTF-8"));
    // Neighbours have to be found through the rules.
    for namespace in [&lab.host, &lab.peer] {
        namespace.run("ip", &["neighbour", "flush", "all"]);
        namespace.run("ip", &["-6", "neighbour", "flush", "all"]);
    }
    for conversation in Conversation::recorded() {
        assert!(conversation.works(&lab, PATIENCE), "recorded, but refused: {conversation:?}");
    }
    assert_eq!([Direction::In, Direction::Out].map(|it| F::not_accepted(&lab.host, it)), [0, 0]);
    for other in Conversation::recorded().into_iter().flat_map(Conversation::others) {
        let before = F::not_accepted(&lab.host, other.direction);
        assert!(!other.works(&lab, REFUSED_AFTER), "never recorded, but accepted: {other:?}");
        let after = F::not_accepted(&lab.host, other.direction);
        assert!(after > before, "refused, but not counted: {other:?}");
    }
}

/// Without `--enforce` nothing is refused and the counters tell.
fn learns<F: Firewall>() {
    let lab = lab();
    let recorder = record(&lab);
    let (_scratch, file) = rules(recorder.path(), &["--format", F::FORMAT]);
    F::load(&lab.host, file.to_str().expect("UTF-8"));
    for conversation in Conversation::recorded() {
        assert!(conversation.works(&lab, PATIENCE), "{conversation:?}");
    }
    assert_eq!([Direction::In, Direction::Out].map(|it| F::not_accepted(&lab.host, it)), [0, 0]);
    for other in Conversation::recorded().into_iter().flat_map(Conversation::others) {
        let before = F::not_accepted(&lab.host, other.direction);
        assert!(other.works(&lab, PATIENCE), "learning refuses nothing: {other:?}");
        let after = F::not_accepted(&lab.host, other.direction);
        assert!(after > before, "not counted: {other:?}");
    }
}

#[test]
fn nftables_refuses_what_was_not_recorded_and_only_that() {
    enforces::<Nftables>();
}

#[test]
fn nftables_refuses_nothing_while_learning() {
    learns::<Nftables>();
}

#[test]
fn iptables_refuses_what_was_not_recorded_and_only_that() {
    enforces::<Iptables>();
}

#[test]
fn iptables_refuses_nothing_while_learning() {
    learns::<Iptables>();
}

/// Sends a datagram to each multicast and broadcast address that a host may use.
fn call_everybody(lab: &Lab) {
    lab.host.enter(|| {
        let v4 = UdpSocket::bind((HOST_V4, 0)).expect("bound");
        v4.set_broadcast(true).expect("set");
        for (group, port) in [("224.0.0.251", 5353), ("255.255.255.255", 17_500)] {
            v4.send_to(b"?", (group, port)).expect("sent");
        }
        v4.send_to(b"?", ("192.168.200.255", 137)).expect("sent");
        let v6 = UdpSocket::bind((HOST_V6, 0)).expect("bound");
        v6.send_to(b"?", ("ff05::fb", 5353)).expect("sent");
    });
}

/// The tree folds some of them into `INTERNET`, where the rules do not have them.
#[test]
fn multicast_and_broadcast_are_sent_as_before() {
    let lab = lab();
    for (family, route) in [("-4", "224.0.0.0/4"), ("-4", "255.255.255.255"), ("-6", "ff05::/16")] {
        lab.host.run("ip", &[family, "route", "add", route, "dev", DEVICE, "table", "local"]);
    }
    let recorder = Collector::start(&lab.host, &["-m", "pcap"]);
    call_everybody(&lab);
    let sent = [
        format!("out/udp/{HOST_V4}-PORT-INTERNET-5353"),
        format!("out/udp/{HOST_V4}-PORT-INTERNET-17500"),
        format!("out/udp/{HOST_V4}-PORT-192.168.200.255-137"),
        format!("out/udp/{HOST_V6}-PORT-ff05::fb-5353"),
    ];
    recorder.wait_for_files(&sent.into());
    let (_scratch, file) = rules(recorder.path(), &["--enforce"]);
    Nftables::load(&lab.host, file.to_str().expect("UTF-8"));
    call_everybody(&lab);
    assert_eq!(Nftables::not_accepted(&lab.host, Direction::Out), 0);
}

/// Rules that were learned on one device must not cut off the others.
#[test]
fn rules_for_a_device_leave_others_alone() {
    let lab = lab();
    let recorder = record(&lab);
    // Both before there is other traffic: the recorder goes on.
    let [(_kept, elsewhere), (_kept_too, here)] = ["elsewhere", DEVICE]
        .map(|device| rules(recorder.path(), &["--enforce", "--device", device]));
    Nftables::load(&lab.host, elsewhere.to_str().expect("UTF-8"));
    for other in Conversation::recorded().into_iter().flat_map(Conversation::others) {
        assert!(other.works(&lab, PATIENCE), "over another device: {other:?}");
    }
    Nftables::load(&lab.host, here.to_str().expect("UTF-8"));
    for conversation in Conversation::recorded() {
        assert!(conversation.works(&lab, PATIENCE), "recorded, but refused: {conversation:?}");
        let [_, _, other] = conversation.others();
        assert!(!other.works(&lab, REFUSED_AFTER), "over this device: {other:?}");
    }
}

/// What others say to each other through the host.
#[test]
fn forwarded_traffic_goes_on_and_no_other() {
    let lab = lab();
    let behind = lab.network_behind([HOST_V4, HOST_V6]);
    let recorder = Collector::start(&lab.host, &["-m", "pcap"]);
    let ends = [("10.8.0.2", INTERNAL[0]), ("fd00:8::2", INTERNAL[1])];
    let ends = ends.map(|(far, near)| (address(far), address(near)));
    let talks = [over_tcp as Talk, over_udp];
    let asks = |talk: Talk, (far, near), port, patience| {
        talk(&behind.peer, far, &lab.peer, SocketAddr::new(near, port), patience).is_ok()
    };
    let answers = |talk: Talk, (far, near), patience| {
        talk(&lab.peer, near, &behind.peer, SocketAddr::new(far, 53), patience).is_ok()
    };
    for (talk, ends) in talks.iter().flat_map(|talk| ends.map(|ends| (*talk, ends))) {
        assert!(asks(talk, ends, 53, PATIENCE), "without rules: {ends:?}");
    }
    // Of UDP there is the answer, too.
    let all_there = || recorder.files().len() == 6;
    assert!(crate::support::wait_until(PATIENCE, all_there), "{:#?}", recorder.files());
    let (_scratch, file) = rules(recorder.path(), &["--enforce", "--forward"]);
    Nftables::load(&lab.host, file.to_str().expect("UTF-8"));
    for (talk, ends) in talks.iter().flat_map(|talk| ends.map(|ends| (*talk, ends))) {
        let before = Nftables::not_accepted(&lab.host, Direction::Else);
        assert!(asks(talk, ends, 53, PATIENCE), "recorded, but refused: {ends:?}");
        assert_eq!(Nftables::not_accepted(&lab.host, Direction::Else), before);
        assert!(!asks(talk, ends, 54, REFUSED_AFTER), "another port: {ends:?}");
        assert!(!answers(talk, ends, REFUSED_AFTER), "the other way: {ends:?}");
        assert!(Nftables::not_accepted(&lab.host, Direction::Else) >= before + 2, "{ends:?}");
    }
}

/// The first commands of a section of the README.
fn commands(section: &str) -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).expect("the README");
    let (_, section) = readme.split_once(section).expect("the section");
    let (_, block) = section.split_once("```sh\n").expect("commands");
    block.split_once("```").expect("their end").0.to_owned()
}

/// Stands in for programs that a test must not run.
fn stand_in(directory: &Path, program: &str, script: &str) {
    let path = directory.join(program);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
}

/// What somebody types, on standard input.
fn answer(text: &str) -> fs::File {
    let mut file = tempfile::tempfile().expect("a scratch file");
    file.write_all(text.as_bytes()).and_then(|()| file.rewind()).expect("written");
    file
}

/// An edited file stays as it is, and in the end the rules are in force.
#[test]
fn what_the_readme_says_can_be_typed() {
    let lab = Lab::new(&[]);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    stand_in(scratch.path(), "sudo", "exec \"$@\"");
    let _alone = crate::live_apply::alone();
    let conntrack = Path::new(env!("CARGO_BIN_EXE_conntrack"));
    let programs = conntrack.parent().expect("its directory").display();
    let path = std::env::var("PATH").expect("a path");
    let path = format!("{}:{programs}:{path}", scratch.path().display());
    let edited = scratch.path().join("learned.nft");
    let root = odd_tree();
    let tree = root.path().to_str().expect("UTF-8");
    let commands = commands("## From the tree to rules");
    let (watching, others) = commands.split_once('\n').expect("several commands");
    // The tree is there already.
    let arguments = watching.split_whitespace().skip(1).take_while(|word| *word != "#");
    conntrack::cli::config(arguments.map(OsStr::new)).expect("a command line");
    for line in others.lines() {
        let line = line.replace("/tmp/conntrack_data", tree);
        // The tree has what no host takes, from hosts that are none.
        let line = line.replace("conntrack apply", "conntrack apply --force");
        let mut shell = lab.host.command("sh");
        shell.args(["-c", &line]).env("PATH", &path).current_dir(scratch.path());
        shell.stdin(answer("yes\n"));
        let output = shell.output().expect("a shell");
        let said = String::from_utf8_lossy(&output.stderr);
        // It tells that there is a difference.
        let has_another_status = line.starts_with("diff ")
            || line.contains("conntrack audit")
            || line.contains("--accept FILE");
        let is_told = has_another_status && matches!(output.status.code(), Some(1 | 3));
        assert!(output.status.success() || is_told, "{line}: {said}");
        if line.contains("-o learned.nft") {
            let learned = fs::read_to_string(&edited).expect("a file");
            fs::write(&edited, format!("{learned}# edited\n")).expect("written");
        }
    }
    assert!(fs::read_to_string(&edited).expect("a file").ends_with("# edited\n"));
    let chain = lab.host.run("nft", &["list", "chain", "inet", "conntrack_learned", "input"]);
    assert!(chain.contains("policy drop"), "{chain}");
}
