//! What rules drop is remembered, named by its file, and accepted if somebody says so.

use std::{net::SocketAddr, path::Path, time::Duration};

use crate::support::{
    PATIENCE, add_files,
    firewall::{Firewall as _, Iptables, Nftables, rules},
    lab::{Lab, PEER_DEVICE},
    services::{Service, Services, ask_tcp, ask_udp},
};

const HOST: [&str; 2] = ["192.168.200.230", "fd00:200::230"];
const PEER: [&str; 2] = ["192.168.200.1", "fd00:200::1"];
const REFUSED_AFTER: Duration = Duration::from_millis(300);

fn lab() -> Lab {
    let lab = Lab::new(&HOST);
    for address in PEER {
        lab.peer.add_address(PEER_DEVICE, address);
    }
    lab
}

/// Both ways, over both protocols and families, to a port that no rule accepts; what works.
fn use_all(lab: &Lab, patience: Duration) -> Vec<bool> {
    let services = [Service::Tcp(443), Service::Udp(123)];
    let mut works = Vec::new();
    for family in [0, 1] {
        let ends = [(&lab.host, HOST[family]), (&lab.peer, PEER[family])];
        for ((server, to), (client, from)) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            let [from, to] = [from, to].map(|end| end.parse().expect("an address"));
            let _services = Services::start_at(server, to, &services);
            let to = |service: Service| SocketAddr::new(to, service.port());
            works.push(ask_tcp(client, from, to(services[0]), patience).is_ok());
            let from = SocketAddr::new(from, 0);
            works.push(ask_udp(client, from, to(services[1]), patience).is_ok());
        }
    }
    works
}

fn with_nftables(lab: &Lab, tree: &Path) {
    let (_scratch, file) = rules(tree, &["--enforce"]);
    Nftables::load(&lab.host, file.to_str().expect("UTF-8"));
}

/// Twice: sets and chains that are there are no obstacle.
fn with_ipset(lab: &Lab, tree: &Path) {
    let (_scratch, file) = rules(tree, &["--enforce", "--format", "iptables", "--ipset"]);
    for _ in 0..2 {
        Iptables::load_once(&lab.host, file.to_str().expect("UTF-8"));
    }
}

#[test]
fn what_was_dropped_is_listed_and_can_be_accepted() {
    is_listed_and_can_be_accepted(with_nftables);
}

#[test]
fn what_iptables_dropped_is_listed_and_can_be_accepted_too() {
    is_listed_and_can_be_accepted(with_ipset);
}

fn is_listed_and_can_be_accepted(load: fn(&Lab, &Path)) {
    let lab = lab();
    let tree = tempfile::tempdir().expect("a scratch directory");
    let ssh = [
        format!("in/tcp/{}-PORT-{}-22", PEER[0], HOST[0]),
        format!("out/tcp/{}-PORT-{}-22", HOST[0], PEER[0]),
    ];
    add_files(tree.path(), &ssh);
    let scanned = format!("in/tcp/{}-PORT-{}-443", PEER[0], HOST[0]);
    load(&lab, tree.path());
    assert_eq!(use_all(&lab, REFUSED_AFTER), [false; 8]);

    add_files(tree.path(), &[&scanned]);
    let path = tree.path().to_str().expect("UTF-8");
    let program = env!("CARGO_BIN_EXE_conntrack");
    let listed = lab.host.run(program, &["dropped", "-p", path]);
    assert_eq!(listed.lines().count(), 8, "{listed}");
    for (direction, from, to) in [("in", PEER, HOST), ("out", HOST, PEER)] {
        for (protocol, port) in [("tcp", 443), ("udp", 123)] {
            for family in [0, 1] {
                let [from, to] = [from[family], to[family]];
                let file = format!("{direction}/{protocol}/{from}-PORT-{to}-{port}");
                let is_there = if file == scanned { "; " } else { "; no file " };
                let line = listed.lines().find(|line| line.ends_with(&format!("{is_there}{file}")));
                let start = format!("{direction} {protocol} {from} to {to} {port}: ");
                assert!(line.is_some_and(|line| line.starts_with(&start)), "{file}: {listed}");
            }
        }
    }

    lab.host.run(program, &["dropped", "-p", path, "--accept", &scanned]);
    load(&lab, tree.path());
    let mut works = use_all(&lab, REFUSED_AFTER);
    assert!(works.remove(0), "accepted");
    assert_eq!(works, [false; 7], "the others");
    lab.host.run(program, &["dropped", "-p", path, "--accept", "all"]);
    load(&lab, tree.path());
    assert_eq!(use_all(&lab, PATIENCE), [true; 8]);
    assert_eq!(lab.host.run(program, &["dropped", "-p", path]), "");

    let mut wrong = lab.host.command(program);
    let output = wrong.args(["dropped", "-p", path, "--accept", "in/tcp/x"]).output();
    let output = output.expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("in/tcp/x was not dropped"));
}
