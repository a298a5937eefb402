//! The closed loop of evidence: services that answer, scanned and flooded while they are recorded,
//! become rules that let exactly their clients through. In namespaces, with real sockets.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Stdio,
    time::Duration,
};

use conntrack::connection::Direction;

use crate::support::{
    PATIENCE, assert_same_tree,
    collector::Collector,
    evidence::{in_force, wait_for_evidence, without_times, word},
    firewall::{Firewall as _, Nftables, rules},
    frames::{Wire, udp},
    lab::{DEVICE, Lab, PEER_DEVICE},
    scan::{flood, scan_tcp, scan_udp, take_frames_by_hand},
    services::{Service, Services, ask_tcp, ask_udp, tell_udp},
    usual::{HOST, each_way, end},
    wait_until,
};

const HOST_V6: &str = "2001:db8:200::230";
/// Internal, and the gateway to the internet.
const GATEWAY: [&str; 2] = ["192.168.200.1", "2001:db8:200::1"];
const INTERNET: [&str; 2] = ["203.0.113.9", "2001:db8:9::9"];
const SCANNER: &str = "198.51.100.66:61000";

/// On eleven ports.
const SERVICES: [Service; 11] = [
    Service::Tcp(22),
    Service::Tcp(25),
    Service::Tcp(80),
    Service::Tcp(443),
    Service::Tcp(993),
    Service::Tcp(5432),
    Service::Tcp(8443),
    Service::Udp(53),
    Service::Udp(300),
    Service::Udp(443),
    Service::Udp(1194),
];

/// Enough to know that there is no answer; that packets were dropped is told by the counters.
const REFUSED_AFTER: Duration = Duration::from_millis(200);

each_way!(
    a_scan_leaves_no_rule,
    answers_to_many_requests_leave_no_rule,
    a_host_that_asks_and_serves_on_one_port_shows_both,
    what_is_never_answered_has_a_rule_where_it_is_received,
);

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A host whose gateway answers for the whole internet, so that its answers to spoofed addresses
/// leave.
fn lab() -> Lab {
    let lab = Lab::new(&[HOST, HOST_V6]);
    take_frames_by_hand(&lab);
    for remote in [GATEWAY, INTERNET].as_flattened() {
        lab.peer.add_address(PEER_DEVICE, remote);
    }
    for (family, gateway) in [("-4", GATEWAY[0]), ("-6", GATEWAY[1])] {
        lab.host.run("ip", &[family, "route", "add", "default", "via", gateway, "dev", DEVICE]);
    }
    lab
}

/// The tree's rules.
fn rules_of(tree: &Path, arguments: &[&str]) -> String {
    let (_scratch, file) = rules(tree, arguments);
    std::fs::read_to_string(file).expect("rules")
}

/// Every client asks every service, from inside and from the internet, over both families.
fn use_services(lab: &Lab, patience: Duration) -> Vec<String> {
    let mut unanswered = Vec::new();
    for service in SERVICES {
        for (family, host) in [HOST, HOST_V6].into_iter().enumerate() {
            for client in [GATEWAY, INTERNET].map(|pair| address(pair[family])) {
                let to = SocketAddr::new(address(host), service.port());
                let answer = match service {
                    Service::Tcp(_) => ask_tcp(&lab.peer, client, to, patience),
                    Service::Udp(_) | Service::Silent(_) => {
                        ask_udp(&lab.peer, SocketAddr::new(client, 0), to, patience)
                    }
                };
                if answer.is_err() {
                    unanswered.push(format!("{service:?} from {client}"));
                }
            }
        }
    }
    unanswered
}

/// The files of those who use a service, of both families.
fn of_clients(service: Service) -> [String; 3] {
    let protocol = if matches!(service, Service::Tcp(_)) { "tcp" } else { "udp" };
    let ends = [(GATEWAY[0], HOST), ("INTERNET", HOST), ("INTERNET", HOST_V6)];
    ends.map(|(client, host)| format!("in/{protocol}/{client}-PORT-{host}-{}", service.port()))
}

fn is_served(service: impl Fn(u16) -> Service, port: u16) -> bool {
    SERVICES.contains(&service(port))
}

/// A thousand ports over TCP and five hundred over UDP.
fn scan(wire: &mut Wire) {
    scan_tcp(wire, end(SCANNER), address(HOST), 1..=1000);
    scan_udp(wire, end(SCANNER), address(HOST), 1..=500);
    scan_tcp(wire, SocketAddr::new(address(INTERNET[1]), 61_000), address(HOST_V6), 1..=200);
}

/// The files of the scan, with what came of each.
fn of_scan() -> Vec<(String, &'static str)> {
    let tcp = |port| {
        let word = if is_served(Service::Tcp, port) { "answered" } else { "refused" };
        (port, word)
    };
    let v4 = (1..=1000).map(tcp);
    let v4 = v4.map(|(port, word)| (format!("in/tcp/INTERNET-PORT-{HOST}-{port}"), word));
    let v6 = (1..=200).map(tcp);
    let v6 = v6.map(|(port, word)| (format!("in/tcp/INTERNET-PORT-{HOST_V6}-{port}"), word));
    let udp = (1..=500).map(|port| {
        let word = if is_served(Service::Udp, port) { "answered" } else { "" };
        (format!("in/udp/INTERNET-PORT-{HOST}-{port}"), word)
    });
    v4.chain(v6).chain(udp).collect()
}

fn wait_for_scan(collector: &Collector, expected: &[(String, &'static str)]) {
    wait_for_evidence(collector.path(), expected.iter().map(|(path, word)| (path.as_str(), *word)));
}

/// The rules of what was recorded during a scan are those of what was recorded before it; in force,
/// they refuse every port that was scanned and is not served, and a scan that meets them changes
/// nothing.
fn a_scan_leaves_no_rule(way: &[&str]) {
    let lab = lab();
    let _services = Services::start(&lab.host, &SERVICES);
    let mut wire = Wire::of(&lab);
    let collector = Collector::start(&lab.host, &[way, &["--udp-direction", "pairs"]].concat());
    assert_eq!(use_services(&lab, PATIENCE), [""; 0]);
    let served: Vec<_> = SERVICES.into_iter().flat_map(of_clients).collect();
    wait_for_evidence(collector.path(), served.iter().map(|path| (path.as_str(), "answered")));
    let before = rules_of(collector.path(), &["--enforce"]);

    scan(&mut wire);
    flood(&mut wire, end(&format!("{HOST}:443")), 2_000);
    flood(&mut wire, end(&format!("{HOST}:2323")), 2_000);
    let mut expected = of_scan();
    expected.push((format!("in/tcp/INTERNET-PORT-{HOST}-2323"), "refused"));
    wait_for_scan(&collector, &expected);
    let (_scratch, file) = rules(collector.path(), &["--enforce"]);
    let after = std::fs::read_to_string(&file).expect("rules");
    assert_eq!(in_force(&after), in_force(&before));
    let all = rules_of(collector.path(), &["--enforce", "--unanswered"]);
    assert_ne!(in_force(&all), in_force(&before), "the scan is in the tree");

    Nftables::load(&lab.host, file.to_str().expect("UTF-8"));
    assert_eq!(use_services(&lab, PATIENCE), [""; 0], "served, but refused");
    refuses_what_is_not_served(&lab, &mut wire);
    scan(&mut wire);
    let sentinel = 40_001;
    scan_tcp(&mut wire, end(SCANNER), address(HOST), [sentinel].into_iter());
    let sentinel = format!("in/tcp/INTERNET-PORT-{HOST}-{sentinel}");
    wait_for_evidence(collector.path(), [(sentinel.as_str(), "")]);
    std::fs::remove_file(collector.path().join(&sentinel)).expect("removed");
    let again = rules_of(collector.path(), &["--enforce"]);
    assert_eq!(without_times(&again), without_times(&after));
    keeps_out_who_listens_later(&lab);
}

/// A packet to each port that was scanned and is not served is dropped.
fn refuses_what_is_not_served(lab: &Lab, wire: &mut Wire) {
    let tcp: Vec<_> = (1..=1000).filter(|port| !is_served(Service::Tcp, *port)).collect();
    let udp: Vec<_> = (1..=500).filter(|port| !is_served(Service::Udp, *port)).collect();
    let dropped = || Nftables::not_accepted(&lab.host, Direction::In);
    let before = dropped();
    scan_tcp(wire, end(SCANNER), address(HOST), tcp.iter().copied());
    scan_udp(wire, end(SCANNER), address(HOST), udp.iter().copied());
    let wanted = before + tcp.len() as u64 + udp.len() as u64;
    assert!(wait_until(PATIENCE, || dropped() >= wanted), "{} of {wanted}", dropped());
}

/// Ports that were scanned before anything listened there.
fn keeps_out_who_listens_later(lab: &Lab) {
    let backdoors = [Service::Tcp(23), Service::Tcp(999), Service::Udp(161)];
    let _backdoors = Services::start(&lab.host, &backdoors);
    for backdoor in backdoors {
        let to = SocketAddr::new(address(HOST), backdoor.port());
        let from = address(INTERNET[0]);
        let answer = match backdoor {
            Service::Tcp(_) => ask_tcp(&lab.peer, from, to, REFUSED_AFTER),
            _ => ask_udp(&lab.peer, SocketAddr::new(from, 0), to, REFUSED_AFTER),
        };
        assert!(answer.is_err(), "{backdoor:?} is reached");
    }
}

/// The same with nmap itself.
#[test]
fn nmap_leaves_no_rule() {
    let lab = lab();
    let _services = Services::start(&lab.host, &SERVICES);
    // nmap waits for the errors of closed UDP ports, which the kernel sends a few of a second.
    lab.host
        .run("sysctl", &["-q", "net.ipv4.icmp_ratelimit=0", "net.ipv4.icmp_msgs_per_sec=100000"]);
    let collector = Collector::start(&lab.host, &["--udp-direction", "pairs"]);
    assert_eq!(use_services(&lab, PATIENCE), [""; 0]);
    let served = format!("in/udp/INTERNET-PORT-{HOST}-1194");
    wait_for_evidence(collector.path(), [(served.as_str(), "answered")]);
    let before = rules_of(collector.path(), &["--enforce"]);
    for (kind, ports) in [("-sS", "1-1000"), ("-sU", "1-500")] {
        let mut nmap = lab.peer.command("nmap");
        nmap.args([kind, "-p", ports, "-Pn", "-n", "-T5", "-S", INTERNET[0], "-e", PEER_DEVICE]);
        nmap.args(["--max-retries", "0", HOST]).stdout(Stdio::null());
        let status = nmap.status().expect("nmap, which `cargo xtask setup` installs");
        assert!(status.success(), "{kind}");
    }
    // Its order is random.
    let scanned: Vec<_> =
        of_scan().into_iter().filter(|(path, _)| !path.contains(HOST_V6)).collect();
    wait_for_scan(&collector, &scanned);
    assert_eq!(in_force(&rules_of(collector.path(), &["--enforce"])), in_force(&before));
}

/// 36,000 requests to one port above the system ports, each with an answer, from all ports that a
/// kernel gives out.
fn answers_to_many_requests_leave_no_rule(way: &[&str]) {
    const REQUESTS: u32 = 36_000;
    let lab = lab();
    let mut wire = Wire::of(&lab);
    let server = end("203.0.113.9:3478");
    let ephemeral = 32_768..=60_999_u16;
    let port = |number: u32| *ephemeral.start() + (number * 7 % 28_232) as u16;
    for direction in ["ports", "pairs"] {
        let arguments = [way, &["--udp-direction", direction, "--interval", "1s"]].concat();
        let collector = Collector::start(&lab.host, &arguments);
        for number in 0..REQUESTS {
            let client = SocketAddr::new(address(HOST), port(number));
            wire.leave(&udp(client, server));
            wire.arrive(&udp(server, client));
        }
        let request = format!("out/udp/{HOST}-PORT-INTERNET-3478");
        wait_for_evidence(collector.path(), [(request.as_str(), "answered")]);
        if direction == "ports" {
            let ports: BTreeSet<_> = (0..REQUESTS).map(port).collect();
            let answers: Vec<_> =
                ports.iter().map(|port| format!("in/udp/INTERNET-PORT-{HOST}-{port}")).collect();
            wait_for_evidence(collector.path(), answers.iter().map(|it| (it.as_str(), "reply")));
        }
        let rules = rules_of(collector.path(), &["--enforce"]);
        let ended = collector.stop();
        assert_eq!(ended.reported("lost"), 0, "{}", ended.said);
        let answers = ended.files.iter().filter(|it| it.starts_with("in/udp/")).count();
        assert_eq!(answers == 0, direction == "pairs", "{answers} files");
        let opened = in_force(&rules);
        let input = opened.split("chain input").nth(1).unwrap_or_default();
        let input = input.split("chain ").next().unwrap_or_default();
        let ports = input.split(|c: char| !c.is_ascii_digit()).filter_map(|it| it.parse().ok());
        let opened: Vec<u16> = ports.filter(|port| ephemeral.contains(port)).collect();
        assert!(opened.is_empty(), "{direction}: {opened:?}");
    }
}

/// NTP and IKE have one port on both sides.
fn a_host_that_asks_and_serves_on_one_port_shows_both(way: &[&str]) {
    const PORTS: [u16; 2] = [123, 500];
    let lab = lab();
    let collector = Collector::start(&lab.host, &[way, &["--udp-direction", "pairs"]].concat());
    // In the first batch, which begins in the middle of conversations, ports tell the direction.
    tell_udp(&lab.peer, address(GATEWAY[0]), end(&format!("{HOST}:9")));
    let first = format!("in/udp/{}-PORT-{HOST}-9", GATEWAY[0]);
    collector.wait_for_files(&[first.clone()].into());
    for port in PORTS {
        ask_and_serve(&lab, port);
    }
    let paths = PORTS.map(|port| {
        let client = GATEWAY[0];
        [
            format!("out/udp/{HOST}-PORT-INTERNET-{port}"),
            format!("in/udp/{client}-PORT-{HOST}-{port}"),
        ]
    });
    let paths = paths.as_flattened();
    wait_for_evidence(collector.path(), paths.iter().map(|path| (path.as_str(), "answered")));
    let (_scratch, file) = rules(collector.path(), &["--enforce"]);
    let ended = collector.stop();
    assert_same_tree("both", &paths.iter().cloned().chain([first]).collect(), &ended.files);

    Nftables::load(&lab.host, file.to_str().expect("UTF-8"));
    for port in PORTS {
        ask_and_serve(&lab, port);
    }
    let dropped = [Direction::In, Direction::Out].map(|it| Nftables::not_accepted(&lab.host, it));
    assert_eq!(dropped, [0, 0]);
}

/// The host asks its own server in the internet, then its client asks it, all from and to one port.
fn ask_and_serve(lab: &Lab, port: u16) {
    let host = SocketAddr::new(address(HOST), port);
    {
        let server = SocketAddr::new(address(INTERNET[0]), port);
        let _server = Services::start_at(&lab.peer, server.ip(), &[Service::Udp(port)]);
        ask_udp(&lab.host, host, server, PATIENCE).expect("its server answers");
    }
    let _server = Services::start(&lab.host, &[Service::Udp(port)]);
    let client = SocketAddr::new(address(GATEWAY[0]), port);
    ask_udp(&lab.peer, client, host, PATIENCE).expect("it answers its client");
}

/// Syslog, SNMP traps and statsd are received and never answered.
fn what_is_never_answered_has_a_rule_where_it_is_received(way: &[&str]) {
    const RECEIVED: [u16; 3] = [514, 162, 8125];
    const UNBOUND: [u16; 3] = [515, 161, 8126];
    let lab = lab();
    let _receivers = Services::start(&lab.host, &RECEIVED.map(Service::Silent));
    let collector = Collector::start(&lab.host, way);
    for port in RECEIVED.into_iter().chain(UNBOUND) {
        for client in [GATEWAY[0], INTERNET[0]] {
            tell_udp(&lab.peer, address(client), SocketAddr::new(address(HOST), port));
        }
    }
    let file = |client: &str, port| format!("in/udp/{client}-PORT-{HOST}-{port}");
    let files = |ports: [u16; 3], word: &'static str| {
        let both = move |port| [GATEWAY[0], "INTERNET"].map(|client| (file(client, port), word));
        ports.into_iter().flat_map(both)
    };
    let expected: Vec<_> = files(RECEIVED, "served").chain(files(UNBOUND, "")).collect();
    wait_for_scan(&collector, &expected);
    let (_scratch, rules_file) = rules(collector.path(), &["--enforce"]);
    for (path, expected) in &expected {
        assert_eq!(word(&collector.path().join(path)), *expected, "{path}");
    }
    Nftables::load(&lab.host, rules_file.to_str().expect("UTF-8"));
    let dropped = || Nftables::not_accepted(&lab.host, Direction::In);
    for (ports, is_dropped) in [(RECEIVED, false), (UNBOUND, true)] {
        for port in ports {
            let before = dropped();
            tell_udp(&lab.peer, address(INTERNET[0]), SocketAddr::new(address(HOST), port));
            let counted = || dropped() > before;
            let patience = if is_dropped { PATIENCE } else { REFUSED_AFTER };
            assert_eq!(wait_until(patience, counted), is_dropped, "{port}");
        }
    }
}
