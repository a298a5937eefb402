//! Whose connections are: processes in control groups that are called like units, and what the tree says
//! of them.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    time::UNIX_EPOCH,
};

use rustix::fs::{XattrFlags, setxattr};

use crate::{
    rules::tree,
    support::{
        PATIENCE,
        collector::Collector,
        firewall::rules,
        lab::{DEVICE, Lab, Namespace, PEER_DEVICE},
        services::{Service, Services, ask_udp, open_tcp},
        units::{Groups, Worker, units, work},
        usual::{CLSACT, EBPF, HOST, TCX, XDP, each_way},
        wait_until,
    },
};

const HOST_V6: &str = "fd00::230";
const PEER: &str = "192.168.200.1";
const PEER_V6: &str = "fd00::1";
/// Outside the internal networks.
const FAR: &str = "198.51.100.7";

const WORKER: &str = "live_units::a_process_in_a_group";

/// Not a test of its own: other tests start this program with it alone, in a control group.
#[test]
fn a_process_in_a_group() {
    work();
}

fn lab() -> Lab {
    let lab = Lab::new(&[HOST, HOST_V6]);
    for address in [PEER, PEER_V6, FAR] {
        lab.peer.add_address(PEER_DEVICE, address);
    }
    lab.host.run("ip", &["route", "add", "198.51.100.0/24", "dev", DEVICE]);
    for (end, address) in [(&lab.host, HOST_V6), (&lab.peer, PEER_V6)] {
        let can_be_used = || end.enter(|| UdpSocket::bind((address, 0)).is_ok());
        assert!(wait_until(PATIENCE, can_be_used), "{address}");
    }
    lab
}

fn to(protocol: &str, address: &str, port: u16) -> String {
    format!("{protocol} {}", SocketAddr::new(address.parse().expect("an address"), port))
}

/// Waits until each of these files names its units.
#[track_caller]
fn wait_for_units(collector: &Collector, expected: &[(&str, &str)]) {
    let found = |path: &str| units(&collector.path().join(path));
    let are_named = || expected.iter().all(|(path, unit)| found(path) == *unit);
    if !wait_until(PATIENCE, are_named) {
        let found: Vec<_> = expected.iter().map(|(path, unit)| (path, unit, found(path))).collect();
        panic!("file, expected, found: {found:#?}");
    }
}

each_way!(who_asks_and_who_serves_is_named);

fn who_asks_and_who_serves_is_named(way: &[&str]) {
    let groups = Groups::new();
    let [web, time] = ["nginx.service", "chrony.service"].map(|name| groups.make(name));
    let lab = lab();
    let _there = Services::start(&lab.peer, &[Service::Tcp(443), Service::Udp(7000)]);
    let server = Worker::serve(&web, &lab.host, WORKER, 8080);
    let collector = Collector::start(&lab.host, &[way, &["--udp-direction", "pairs"]].concat());
    let whom = [PEER, PEER_V6, FAR].map(|it| [to("tcp", it, 443), to("udp", it, 7000)]);
    let client = Worker::ask(&time, &lab.host, WORKER, &whom.concat());
    for host in [HOST, HOST_V6] {
        let from = if host == HOST { PEER } else { PEER_V6 }.parse().expect("an address");
        let to = SocketAddr::new(host.parse().expect("an address"), 8080);
        open_tcp(&lab.peer, from, to, PATIENCE).expect("answered");
        ask_udp(&lab.peer, SocketAddr::new(from, 0), to, PATIENCE).expect("answered");
    }
    wait_for_units(
        &collector,
        &[
            ("out/tcp/192.168.200.230-PORT-192.168.200.1-443", "chrony.service"),
            ("out/tcp/fd00::230-PORT-fd00::1-443", "chrony.service"),
            ("out/tcp/192.168.200.230-PORT-INTERNET-443", "chrony.service"),
            ("out/udp/192.168.200.230-PORT-192.168.200.1-7000", "chrony.service"),
            ("out/udp/fd00::230-PORT-fd00::1-7000", "chrony.service"),
            ("out/udp/192.168.200.230-PORT-INTERNET-7000", "chrony.service"),
            ("in/tcp/192.168.200.1-PORT-192.168.200.230-8080", "nginx.service"),
            ("in/tcp/fd00::1-PORT-fd00::230-8080", "nginx.service"),
            ("in/udp/192.168.200.1-PORT-192.168.200.230-8080", "nginx.service"),
            ("in/udp/fd00::1-PORT-fd00::230-8080", "nginx.service"),
        ],
    );
    client.end();
    server.end();
    assert_eq!(collector.stop().warnings(), [""; 0]);
}

/// Each connects and is gone before anybody could ask.
#[test]
fn a_hundred_short_clients_are_all_named() {
    const FIRST: u16 = 20_000;
    let groups = Groups::new();
    let group = groups.make("backup.service");
    for way in [TCX, CLSACT, XDP] {
        let lab = lab();
        let collector = Collector::start(&lab.host, way);
        for port in FIRST..FIRST + 100 {
            Worker::ask(&group, &lab.host, WORKER, &[to("tcp", PEER, port)]).end();
        }
        let file = |port| format!("out/tcp/192.168.200.230-PORT-192.168.200.1-{port}");
        let all: Vec<_> = (FIRST..FIRST + 100).map(file).collect();
        let all: Vec<_> = all.iter().map(|path| (path.as_str(), "backup.service")).collect();
        wait_for_units(&collector, &all);
    }
}

/// The flow map has one entry for both.
#[test]
fn two_units_that_ask_the_same_in_one_interval_are_both_named() {
    let groups = Groups::new();
    let [one, other] = ["apt-daily.service", "chrony.service"].map(|name| groups.make(name));
    let lab = lab();
    let collector = Collector::start(&lab.host, &[EBPF, &["--interval", "5s"]].concat());
    for group in [&one, &other, &one] {
        Worker::ask(group, &lab.host, WORKER, &[to("tcp", FAR, 443)]).end();
    }
    let path = "out/tcp/192.168.200.230-PORT-INTERNET-443";
    wait_for_units(&collector, &[(path, "apt-daily.service chrony.service")]);
}

/// As many names as there can be, as long as they can be, and what is no list of names.
#[test]
fn no_name_leaves_its_comment() {
    let long = |number: usize| format!("{number}{}\\x2d.service", "a".repeat(240));
    let many: Vec<_> = (0..8).map(long).collect();
    let host = Namespace::new("units");
    for units in [
        many.join(" ").into_bytes(),
        b"a\\x22b.service c\\.service".to_vec(),
        b"x\" counter accept; flush ruleset; #".to_vec(),
        b"a.service\n-A INPUT -j ACCEPT".to_vec(),
        b"\xff\xfe".to_vec(),
        vec![b'a'; 4000],
    ] {
        let root = tree([("in/tcp/10.0.0.9-PORT-10.0.0.2-443", UNIX_EPOCH)]);
        let path = root.path().join("in/tcp/10.0.0.9-PORT-10.0.0.2-443");
        setxattr(&path, "user.conntrack.units", &units, XattrFlags::empty()).expect("set");
        for arguments in [&["-f", "nftables"][..], &["--by-unit"], &["-f", "iptables"]] {
            let (_scratch, file) = rules(root.path(), arguments);
            let text = fs::read_to_string(&file).expect("read");
            assert!(text.contains("443") && !text.contains("flush ruleset"), "{text}");
            assert!(!text.contains("-A INPUT"), "{text}");
            let file = file.to_str().expect("UTF-8");
            if arguments[1..] == ["iptables"] {
                host.run("iptables-restore", &["--test", "--noflush", file]);
            } else {
                host.run("nft", &["-c", "-f", file]);
            }
        }
    }
}

/// As that of a timer's service, which runs for a moment.
#[test]
fn a_group_that_is_gone_when_the_batch_is_written_has_its_name() {
    let groups = Groups::new();
    let lab = lab();
    let collector = Collector::start(&lab.host, &[EBPF, &["--interval", "3s"]].concat());
    let group = groups.make("fetch.service");
    Worker::ask(&group, &lab.host, WORKER, &[to("tcp", PEER, 80)]).end();
    assert!(wait_until(PATIENCE, || fs::remove_dir(&group).is_ok()));
    let path = "out/tcp/192.168.200.230-PORT-192.168.200.1-80";
    assert!(!collector.path().join(path).exists(), "it was written while the group was there");
    wait_for_units(&collector, &[(path, "fetch.service")]);
}
