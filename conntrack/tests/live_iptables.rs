//! iptables on hosts that have rules already: nothing that they refuse is accepted, loading twice changes
//! nothing, and what is taken away leaves what was there before. Docker's and ufw's way, both families.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use crate::support::{
    PATIENCE, add_files,
    firewall::{Firewall as _, Iptables, rules},
    lab::{Lab, Namespace, PEER_DEVICE},
    services::{Service, Services, ask_tcp, ask_udp},
};

const HOST: [&str; 2] = ["192.168.200.230", "fd00:200::230"];
const PEER: [&str; 2] = ["192.168.200.1", "fd00:200::1"];
const BEHIND: [&str; 2] = ["10.8.0.2", "fd00:8::2"];
/// Long enough to know that there is no answer.
const REFUSED_AFTER: Duration = Duration::from_millis(300);

/// The host's rules let in ssh and DNS, and out all but mail; nothing passes through.
const DOCKER: &str = "\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -i docker0 -j RETURN
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p ipv6-icmp -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p udp -m udp --dport 53 -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A OUTPUT -p tcp -m tcp --dport 25 -j REJECT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
";

/// The same, as ufw nests it.
const UFW: &str = "\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-input - [0:0]
:ufw-before-output - [0:0]
:ufw-user-input - [0:0]
:ufw-user-output - [0:0]
:ufw-reject-forward - [0:0]
-A INPUT -j ufw-before-input
-A FORWARD -j ufw-reject-forward
-A OUTPUT -j ufw-before-output
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p ipv6-icmp -j ACCEPT
-A ufw-before-input -j ufw-user-input
-A ufw-before-output -j ufw-user-output
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
-A ufw-user-input -p udp -m udp --dport 53 -j ACCEPT
-A ufw-user-output -p tcp -m tcp --dport 25 -j REJECT
COMMIT
";

/// Packets from one end to a port of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In(Service),
    Out(Service),
    Through(Service),
}

/// All of it is in the tree, and the first three are what the host's rules let through.
const WAYS: [Way; 9] = [
    Way::In(Service::Tcp(22)),
    Way::In(Service::Udp(53)),
    Way::Out(Service::Tcp(443)),
    Way::In(Service::Tcp(443)),
    Way::In(Service::Udp(123)),
    Way::In(Service::Tcp(5432)),
    Way::Out(Service::Tcp(25)),
    Way::Through(Service::Tcp(80)),
    Way::Through(Service::Udp(53)),
];
const LET_THROUGH: usize = 3;

/// Nobody ever used these: the host's rules let the second one through.
const UNUSED: [Way; 2] = [Way::In(Service::Tcp(23)), Way::Out(Service::Tcp(80))];

struct Site {
    lab: Lab,
    _behind: Lab,
    _services: [Services; 3],
}

impl Site {
    /// A host with these rules, between two networks with services everywhere.
    fn with(ruleset: &str) -> Self {
        let lab = Lab::new(&HOST);
        for address in PEER {
            lab.peer.add_address(PEER_DEVICE, address);
        }
        let behind = lab.network_behind(HOST);
        let services: Vec<_> = WAYS.into_iter().chain(UNUSED).collect();
        let of = |is_here: fn(&Way) -> Option<Service>| {
            services.iter().filter_map(is_here).collect::<Vec<_>>()
        };
        let here = of(|way| if let Way::In(it) = way { Some(*it) } else { None });
        let peers = of(|way| if let Way::Out(it) = way { Some(*it) } else { None });
        let fars = of(|way| if let Way::Through(it) = way { Some(*it) } else { None });
        let services = [
            Services::start(&lab.host, &here),
            Services::start(&lab.peer, &peers),
            Services::start(&behind.peer, &fars),
        ];
        restore(&lab.host, ruleset);
        Self { lab, _behind: behind, _services: services }
    }

    /// Whether a question gets its answer, over each family.
    fn works(&self, way: Way, patience: Duration) -> [bool; 2] {
        [0, 1].map(|family| {
            let (client, from, to, service) = match way {
                Way::In(service) => (&self.lab.peer, PEER, HOST, service),
                Way::Out(service) => (&self.lab.host, HOST, PEER, service),
                Way::Through(service) => (&self.lab.peer, PEER, BEHIND, service),
            };
            let from: IpAddr = from[family].parse().expect("an address");
            let to: IpAddr = to[family].parse().expect("an address");
            let to = SocketAddr::new(to, service.port());
            let answer = match service {
                Service::Tcp(_) => ask_tcp(client, from, to, patience),
                Service::Udp(_) | Service::Silent(_) => {
                    ask_udp(client, SocketAddr::new(from, 0), to, patience)
                }
            };
            answer.is_ok()
        })
    }

    /// Nothing comes through that the host's rules refuse, and the rest as it is told.
    #[track_caller]
    fn assert_judges(&self, when: &str, unused: [bool; 2]) {
        for (number, way) in WAYS.into_iter().enumerate() {
            let expected = number < LET_THROUGH;
            let patience = if expected { PATIENCE } else { REFUSED_AFTER };
            assert_eq!(self.works(way, patience), [expected; 2], "{when}: {way:?}");
        }
        for (way, expected) in UNUSED.into_iter().zip(unused) {
            let patience = if expected { PATIENCE } else { REFUSED_AFTER };
            assert_eq!(self.works(way, patience), [expected; 2], "{when}: {way:?}");
        }
    }
}

fn restore(host: &Namespace, ruleset: &str) {
    let scratch = tempfile::NamedTempFile::new().expect("a scratch file");
    std::fs::write(scratch.path(), ruleset).expect("written");
    let file = scratch.path().to_str().expect("UTF-8");
    for restore in ["iptables-restore", "ip6tables-restore"] {
        host.run(restore, &[file]);
    }
}

/// A tree in which all of it was seen.
fn record(tree: &Path) {
    for way in WAYS {
        let files = [0, 1].map(|family| {
            let (direction, from, port, to, service) = match way {
                Way::In(service) => ("in", PEER, "PORT", HOST, service),
                Way::Out(service) => ("out", HOST, "PORT", PEER, service),
                Way::Through(service) => ("else", PEER, "40000", BEHIND, service),
            };
            let protocol = if matches!(service, Service::Tcp(_)) { "tcp" } else { "udp" };
            let [from, to] = [from, to].map(|end| end[family]);
            format!("{direction}/{protocol}/{from}-{port}-{to}-{}", service.port())
        });
        add_files(tree, &files);
    }
}

/// The host's own rules hold, whatever was recorded; and nothing of ours is left in the end.
fn keeps_what_was_refused(ruleset: &str) {
    let site = Site::with(ruleset);
    let host = &site.lab.host;
    site.assert_judges("without rules of ours", [false, true]);
    let before = Iptables::saved(host);
    let tree = tempfile::tempdir().expect("a scratch directory");
    record(tree.path());
    for (arguments, unused) in [(&[][..], [false, true]), (&["--enforce"], [false, false])] {
        let arguments = [&["--format", "iptables", "--forward"], arguments].concat();
        let (_scratch, file) = rules(tree.path(), &arguments);
        let file = file.to_str().expect("UTF-8");
        // Which loads it twice and looks whether that changes anything.
        Iptables::load(host, file);
        site.assert_judges(&format!("{arguments:?}"), unused);
        assert!(Iptables::saved(host).contains("-A INPUT -j conntrack-input"));
        Iptables::take_away(host, file);
        assert_eq!(Iptables::saved(host), before, "{arguments:?} taken away");
    }
    site.assert_judges("taken away", [false, true]);
}

#[test]
fn what_docker_refuses_stays_refused() {
    keeps_what_was_refused(DOCKER);
}

#[test]
fn what_ufw_refuses_stays_refused() {
    keeps_what_was_refused(UFW);
}

/// Scattered, so that no network holds two of them.
fn many_peers(count: u32) -> Vec<String> {
    let v4 = (0..count).map(|it| IpAddr::V4((0x0a20_0001 + 2 * it).into()));
    let v6 = (0..count).map(|it| {
        let network = u128::from("fd00:300::".parse::<std::net::Ipv6Addr>().expect("an address"));
        IpAddr::V6((network + 1 + 2 * u128::from(it)).into())
    });
    v4.chain(v6).map(|it| it.to_string()).collect()
}

/// A rule of ten thousand peers is one line, and takes exactly these peers.
#[test]
fn many_peers_are_a_set() {
    const PEERS: u32 = 5_000;
    let site = Site::with(
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n",
    );
    let (host, peer) = (&site.lab.host, &site.lab.peer);
    let tree = tempfile::tempdir().expect("a scratch directory");
    let file = |from: &String| {
        let family = usize::from(from.contains(':'));
        format!("in/tcp/{from}-PORT-{}-443", HOST[family])
    };
    let peers = many_peers(PEERS);
    add_files(tree.path(), &peers.iter().map(file).collect::<Vec<_>>());
    let arguments = ["--format", "iptables", "--enforce", "--ipset"];
    let (_scratch, file) = rules(tree.path(), &arguments);
    let text = std::fs::read_to_string(&file).expect("the file");
    let lines = text.lines().filter(|line| line.starts_with("-A "));
    assert!(lines.count() < 40, "{}", text.lines().take(200).collect::<String>());
    let before = Iptables::saved(host);
    let file = file.to_str().expect("UTF-8");
    Iptables::load_once(host, file);
    let sets = || host.run("ipset", &["save", "-sorted"]);
    let (rules, once) = (Iptables::saved(host), sets());
    Iptables::load_once(host, file);
    assert_eq!((Iptables::saved(host), sets()), (rules, once), "loaded again");

    let last = [PEERS - 1, 2 * PEERS - 1].map(|it| peers[it as usize].clone());
    let beside = ["10.32.0.2", "fd00:300::2"].map(str::to_owned);
    for (from, works, patience) in [(last, true, PATIENCE), (beside, false, REFUSED_AFTER)] {
        for (from, to) in from.iter().zip(HOST) {
            peer.run("ip", &["address", "add", from, "dev", PEER_DEVICE]);
            let network = if from.contains(':') { "fd00:300::/64" } else { "10.32.0.0/16" };
            host.run("ip", &["route", "replace", network, "dev", crate::support::lab::DEVICE]);
            let [from, to] =
                [from.as_str(), to].map(|it| it.parse::<IpAddr>().expect("an address"));
            let answer = ask_tcp(peer, from, SocketAddr::new(to, 443), patience);
            assert_eq!(answer.is_ok(), works, "{from}");
        }
    }
    let mut audit = host.command(env!("CARGO_BIN_EXE_conntrack"));
    let output = audit.args(["audit", "--iptables", file, "-p"]).arg(tree.path()).output();
    let told = String::from_utf8_lossy(&output.expect("the program runs").stdout).into_owned();
    assert!(told.contains("10000 of 10000 recorded connections accepted"), "{told}");
    Iptables::take_away(host, file);
    assert_eq!((Iptables::saved(host), sets()), (before, String::new()), "taken away");
}

/// A chain that the new rules no longer have is not left in force.
#[test]
fn rules_that_are_gone_are_gone() {
    let site = Site::with(DOCKER);
    let tree = tempfile::tempdir().expect("a scratch directory");
    record(tree.path());
    let all = ["--format", "iptables", "--enforce", "--forward"];
    for (arguments, has_forward) in [(&all[..], true), (&all[..3], false)] {
        let (_scratch, file) = rules(tree.path(), arguments);
        Iptables::load(&site.lab.host, file.to_str().expect("UTF-8"));
        let saved = Iptables::saved(&site.lab.host);
        assert_eq!(saved.contains("-A conntrack-forward "), has_forward, "{saved}");
    }
}
