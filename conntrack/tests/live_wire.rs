//! Rules that stand at the wire (`--at wire`), on a host that translates addresses: what was recorded works, and
//! what was not does not. A redirect, a port of a container that is published, masquerading.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use crate::support::{
    Files, PATIENCE, assert_same_tree,
    collector::Collector,
    conntrack,
    evidence::evidence,
    firewall::{Firewall as _, Iptables, rules},
    lab::{DEVICE, Lab, PEER_DEVICE},
    services::{Service, Services, ask_tcp, ask_udp},
    wait_until,
};

const HOST: &str = "192.168.200.230";
const PEER: &str = "192.168.200.1";
const STRANGER: &str = "192.168.200.2";
const CONTAINER: &str = "10.8.0.2";

/// As Docker does it, and an administrator.
const TRANSLATION: &str = "table ip nat {\nchain pre {\ntype nat hook prerouting priority dstnat;\n\
    iifname \"ct-host\" tcp dport 8443 dnat to 10.8.0.2:80\ntcp dport 80 redirect to :8080\n}\n\
    chain post {\ntype nat hook postrouting priority srcnat;\n\
    ip saddr 10.8.0.0/24 oifname \"ct-host\" masquerade\n}\n}\n";

/// The same for `iptables-restore`, and over IPv6 what there is of it.
const TRANSLATION_BY_IPTABLES: &str = "*nat\n\
    -A PREROUTING -i ct-host -p tcp --dport 8443 -j DNAT --to-destination 10.8.0.2:80\n\
    -A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080\n\
    -A POSTROUTING -s 10.8.0.0/24 -o ct-host -j MASQUERADE\nCOMMIT\n";
const REDIRECT_OVER_IPV6: &str =
    "*nat\n-A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080\nCOMMIT\n";

/// Long enough to know that it does not work.
const REFUSED_AFTER: Duration = Duration::from_millis(300);

struct Translating {
    lab: Lab,
    behind: Lab,
    _services: Vec<Services>,
}

/// So many files, and each is known to have been answered: rules go by it.
fn wait_for_answers(recorder: &Collector, count: usize) {
    let evidence = || evidence(recorder.path());
    let all_there = || {
        let evidence = evidence();
        evidence.len() == count && evidence.values().all(|word| word == "answered")
    };
    assert!(wait_until(PATIENCE, all_there), "{:#?}", evidence());
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

impl Translating {
    /// With nftables.
    fn new() -> Self {
        let host = Self::without_translation();
        host.load("nft", &["-f"], TRANSLATION);
        host
    }

    fn with_iptables() -> Self {
        let host = Self::without_translation();
        host.load("iptables-restore", &[], TRANSLATION_BY_IPTABLES);
        host.load("ip6tables-restore", &[], REDIRECT_OVER_IPV6);
        host
    }

    fn load(&self, program: &str, arguments: &[&str], rules: &str) {
        let scratch = tempfile::NamedTempFile::new().expect("a scratch file");
        fs::write(scratch.path(), rules).expect("written");
        let file = scratch.path().to_str().expect("UTF-8");
        self.lab.host.run(program, &[arguments, &[file]].concat());
    }

    fn without_translation() -> Self {
        let lab = Lab::new(&[HOST]);
        let behind = Lab::new(&[]);
        let far = behind.peer.name.as_str();
        let ends = ["link", "add", "ct-behind", "type", "veth", "peer", "name", "ct-far", "netns"];
        lab.host.run("ip", &[&ends[..], &[far]].concat());
        lab.host.up("ct-behind");
        behind.peer.up("ct-far");
        lab.host.add_address("ct-behind", "10.8.0.1");
        behind.peer.add_address("ct-far", CONTAINER);
        behind.peer.run("ip", &["route", "add", "default", "via", "10.8.0.1"]);
        for remote in [PEER, STRANGER] {
            lab.peer.add_address(PEER_DEVICE, remote);
        }
        lab.host.run("sh", &["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
        let of_peer = [Service::Tcp(443), Service::Tcp(25), Service::Udp(53)];
        let services = vec![
            Services::start(&lab.host, &[Service::Tcp(8080), Service::Tcp(22)]),
            Services::start_at(&lab.peer, address(PEER), &of_peer),
            Services::start_at(&behind.peer, address(CONTAINER), &[Service::Tcp(80)]),
        ];
        Self { lab, behind, _services: services }
    }

    /// From the peer's side to the host.
    fn comes_in(&self, from: &str, port: u16, patience: Duration) -> bool {
        ask_tcp(&self.lab.peer, address(from), (address(HOST), port).into(), patience).is_ok()
    }

    /// From the host itself, over UDP.
    fn asks(&self, patience: Duration) -> bool {
        let from = SocketAddr::new(address(HOST), 0);
        ask_udp(&self.lab.host, from, (address(PEER), 53).into(), patience).is_ok()
    }

    /// From behind the host to the peer.
    fn passes(&self, port: u16, patience: Duration) -> bool {
        let to = (address(PEER), port).into();
        ask_tcp(&self.behind.peer, address(CONTAINER), to, patience).is_ok()
    }

    fn recorded(&self, patience: Duration) -> [bool; 4] {
        [
            self.comes_in(PEER, 8443, patience),
            self.comes_in(PEER, 80, patience),
            self.asks(patience),
            self.passes(443, patience),
        ]
    }

    /// All of it, by the host's device.
    fn record(&self) -> Collector {
        let recorder = Collector::start(&self.lab.host, &["-m", "pcap", "-O"]);
        assert_eq!(self.recorded(PATIENCE), [true; 4], "without rules");
        let expected: Files = [
            format!("in/tcp/{PEER}-PORT-{HOST}-8443"),
            format!("in/tcp/{PEER}-PORT-{HOST}-80"),
            format!("out/udp/{HOST}-PORT-{PEER}-53"),
            format!("out/tcp/{HOST}-PORT-{PEER}-443"),
        ]
        .into();
        wait_for_answers(&recorder, expected.len());
        assert_same_tree("recorded", &expected, &recorder.files());
        recorder
    }

    /// That what was recorded works, and what was not does not.
    #[track_caller]
    fn assert_only_what_was_recorded(&self) {
        assert_eq!(self.recorded(PATIENCE), [true; 4], "recorded, and refused");
        for (from, port) in [(STRANGER, 8443), (STRANGER, 80), (PEER, 22), (PEER, 8080)] {
            assert!(!self.comes_in(from, port, REFUSED_AFTER), "never recorded: {from} {port}");
        }
        assert!(!self.passes(25, REFUSED_AFTER), "never recorded");
    }

    /// That nothing is refused any more.
    #[track_caller]
    fn assert_open(&self) {
        assert!(self.comes_in(STRANGER, 80, PATIENCE) && self.comes_in(PEER, 22, PATIENCE));
        assert!(self.passes(25, PATIENCE));
    }

    fn audit(&self, tree: &Path, file: &Path) -> (Option<i32>, String) {
        self.audit_as("--rules", tree, file)
    }

    fn audit_as(&self, kind: &str, tree: &Path, file: &Path) -> (Option<i32>, String) {
        let mut command = self.lab.host.command(env!("CARGO_BIN_EXE_conntrack"));
        command.args(["audit", "--host", kind]).arg(file).arg("-p").arg(tree);
        let output = command.output().expect("the program runs");
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }
}

#[test]
fn rules_at_the_wire_see_what_the_recording_saw() {
    let host = Translating::new();
    let recorder = host.record();

    let common = ["--enforce", "--forward", "--device", DEVICE];
    let at = |place| rules(recorder.path(), &[&common[..], &["--at", place]].concat());
    // At the host, the redirect has been done, and the audit says so.
    let (_kept, file) = at("host");
    let (status, told) = host.audit(recorder.path(), &file);
    assert_eq!(status, Some(3), "{told}");
    assert!(told.contains(&format!("in/tcp/{PEER}-PORT-{HOST}-80 ")), "{told}");

    let (_kept, file) = at("wire");
    let (status, told) = host.audit(recorder.path(), &file);
    assert_eq!(status, Some(0), "{told}");
    let file = file.to_str().expect("UTF-8");
    host.lab.host.run("nft", &["-f", file]);
    host.lab.host.run("nft", &["-f", file]);
    host.assert_only_what_was_recorded();
    host.lab.host.run("nft", &["delete", "table", "inet", "conntrack_learned"]);
    host.assert_open();
}

/// iptables has nothing behind the translation of sources, and gets there all the same. What stood at the host
/// before is gone, and the other way round.
#[test]
fn iptables_at_the_wire_too() {
    let host = Translating::with_iptables();
    let recorder = host.record();
    let common = ["--format", "iptables", "--enforce", "--forward", "--device", DEVICE];
    let at = |place| rules(recorder.path(), &[&common[..], &["--at", place]].concat());
    let (_kept, at_host) = at("host");
    let (status, told) = host.audit_as("--iptables", recorder.path(), &at_host);
    assert_eq!(status, Some(3), "{told}");
    assert!(told.contains(&format!("in/tcp/{PEER}-PORT-{HOST}-80 ")), "{told}");
    let at_host = at_host.to_str().expect("UTF-8");
    Iptables::load(&host.lab.host, at_host);
    assert!(!host.comes_in(PEER, 80, REFUSED_AFTER), "redirected before it is judged");

    let (_kept, at_wire) = at("wire");
    let (status, told) = host.audit_as("--iptables", recorder.path(), &at_wire);
    assert_eq!(status, Some(0), "{told}");
    let at_wire = at_wire.to_str().expect("UTF-8");
    Iptables::load(&host.lab.host, at_wire);
    host.assert_only_what_was_recorded();
    Iptables::load(&host.lab.host, at_host);
    assert!(!host.comes_in(PEER, 80, REFUSED_AFTER), "at the host again");
    assert!(host.comes_in(STRANGER, 8443, PATIENCE), "passes through, which is not judged there");
    Iptables::load(&host.lab.host, at_wire);
    Iptables::take_away(&host.lab.host, at_wire);
    host.assert_open();
    assert!(!Iptables::saved(&host.lab.host).contains("conntrack-"));
}

/// To ip6tables an address of this host is unicast, too; what passes through is not for the chain of what
/// arrives.
#[test]
fn iptables_at_the_wire_over_ipv6() {
    const HOST: &str = "fd00:200::230";
    const PEER: &str = "fd00:200::1";
    let host = Translating::with_iptables();
    host.lab.host.add_address(DEVICE, HOST);
    host.lab.host.add_address("ct-behind", "fd00:8::1");
    host.lab.peer.add_address(PEER_DEVICE, PEER);
    host.behind.peer.add_address("ct-far", "fd00:8::2");
    host.behind.peer.run("ip", &["-6", "route", "add", "default", "via", "fd00:8::1"]);
    host.lab.peer.run("ip", &["-6", "route", "add", "fd00:8::/64", "via", HOST]);
    host.lab.host.run("sh", &["-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"]);
    let _far = Services::start_at(
        &host.behind.peer,
        address("fd00:8::2"),
        &[Service::Tcp(80), Service::Tcp(81)],
    );
    let asks = |to: &str, port, patience| {
        ask_tcp(&host.lab.peer, address(PEER), (address(to), port).into(), patience).is_ok()
    };
    let recorder = Collector::start(&host.lab.host, &["-m", "pcap"]);
    assert!(asks(HOST, 80, PATIENCE) && asks("fd00:8::2", 80, PATIENCE));
    wait_for_answers(&recorder, 2);
    let arguments = ["--format", "iptables", "--enforce", "--at", "wire", "--device", DEVICE];
    // What passes is recorded on: it comes last.
    for (further, passes) in [(&["--forward"][..], false), (&[], true)] {
        let (_kept, file) = rules(recorder.path(), &[&arguments[..], further].concat());
        let (status, told) = host.audit_as("--iptables", recorder.path(), &file);
        assert_eq!(status, Some(0), "{told}");
        Iptables::load(&host.lab.host, file.to_str().expect("UTF-8"));
        assert!(asks(HOST, 80, PATIENCE) && asks("fd00:8::2", 80, PATIENCE), "{further:?}");
        assert!(!asks(HOST, 22, REFUSED_AFTER) && !asks(HOST, 8080, REFUSED_AFTER));
        let patience = if passes { PATIENCE } else { REFUSED_AFTER };
        assert_eq!(asks("fd00:8::2", 81, patience), passes, "{further:?}");
    }
}

/// What passes through without being translated is judged with both its ends.
#[test]
fn what_passes_through_is_judged_at_the_wire_too() {
    let host = Translating::new();
    host.lab.host.run("nft", &["flush", "ruleset"]);
    host.lab.peer.run("ip", &["route", "add", "10.8.0.0/24", "via", HOST]);
    let recorder = Collector::start(&host.lab.host, &["-m", "pcap"]);
    let into = |from, patience| {
        let to = (address(CONTAINER), 80).into();
        ask_tcp(&host.lab.peer, address(from), to, patience).is_ok()
    };
    assert!(into(PEER, PATIENCE) && host.passes(443, PATIENCE) && host.asks(PATIENCE));
    wait_for_answers(&recorder, 3);
    let arguments = ["--enforce", "--forward", "--at", "wire", "--device", DEVICE];
    let (_kept, file) = rules(recorder.path(), &arguments);
    let (status, told) = host.audit(recorder.path(), &file);
    assert_eq!(status, Some(0), "{told}");
    host.lab.host.run("nft", &["-f", file.to_str().expect("UTF-8")]);
    assert!(into(PEER, PATIENCE) && host.passes(443, PATIENCE) && host.asks(PATIENCE));
    assert!(!into(STRANGER, REFUSED_AFTER), "never recorded");
    assert!(!host.passes(25, REFUSED_AFTER), "never recorded");
}

#[test]
fn a_host_that_translates_is_told_of_the_wire() {
    let host = Translating::new();
    let recorder = Collector::start(&host.lab.host, &["-m", "pcap"]);
    assert!(host.asks(PATIENCE));
    recorder.wait_for_files(&[format!("out/udp/{HOST}-PORT-{PEER}-53")].into());
    let said = |arguments: &[&str]| {
        let mut command = host.lab.host.command(env!("CARGO_BIN_EXE_conntrack"));
        command.args(["rules", "-p"]).arg(recorder.path()).args(arguments);
        let output = command.output().expect("the program runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(said(&[]).contains("--at wire puts them where it stood"));
    assert!(said(&["--format", "iptables"]).contains("--at wire puts them where it stood"));
    assert!(!said(&["--at", "wire"]).contains("this host translates"));
    assert!(!said(&["--format", "json"]).contains("this host translates"));
    host.lab.host.run("nft", &["flush", "ruleset"]);
    assert!(!said(&[]).contains("this host translates"));
    let at_wire = said(&["--at", "wire", "--format", "iptables"]);
    assert!(!at_wire.contains("this host translates"), "{at_wire}");
}

/// Seen on both sides, as `-d any` does: from others and from this host.
#[test]
fn a_tree_that_looks_like_it_says_so_in_the_file() {
    let root = tempfile::tempdir().expect("a scratch directory");
    for path in [
        "else/tcp/10.8.0.2-40000-192.0.2.1-443",
        "out/tcp/192.168.0.2-PORT-INTERNET-443",
        "out/tcp/192.168.0.2-PORT-192.0.2.1-443",
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, "").expect("written");
    }
    let printed = |arguments: &[&str]| {
        let output = conntrack().args(["rules", "-p"]).arg(root.path()).args(arguments).output();
        String::from_utf8_lossy(&output.expect("the program runs").stdout).into_owned()
    };
    assert!(
        printed(&[]).contains("it seems to translate addresses; --at wire"),
        "{}",
        printed(&[])
    );
    assert!(!printed(&["--at", "wire"]).contains("seems to translate"));
}
