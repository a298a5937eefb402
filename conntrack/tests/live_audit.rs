//! `conntrack audit` against the truth: for rules that were edited by hand, the audit of a tree has to say
//! what real sockets find between two namespaces on which these rules are in force. Each ruleset is judged
//! as a file, and as what the machine has in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
    process::Output,
    thread,
    time::{Duration, Instant},
};

use conntrack::connection::{Direction, Host, Protocol};
use rustix::fs::{XattrFlags, setxattr};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    conntrack,
    lab::{DEVICE, Lab, Namespace, PEER_DEVICE},
    large_tree, path_of,
    services::{Service, Services, ask_tcp, ask_udp},
    wait_until,
};

const HOST: [&str; 2] = ["192.168.200.230", "fd00:200::230"];
const INTERNAL: [&str; 2] = ["192.168.200.1", "fd00:200::1"];
const INTERNET: [&str; 2] = ["203.0.113.9", "2001:db8:9::9"];

/// Long enough for what works, mostly.
const SOON: Duration = Duration::from_millis(400);
/// Long enough for it on a busy machine.
const PATIENCE: Duration = Duration::from_secs(6);

/// A conversation, and the file that it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Conversation {
    direction: Direction,
    protocol: Protocol,
    remote: &'static str,
    port: u16,
}

impl Conversation {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        let mut add = |direction, protocol, ports: &[u16]| {
            for remote in INTERNAL.into_iter().chain(INTERNET) {
                all.extend(ports.iter().map(|&port| Self { direction, protocol, remote, port }));
            }
        };
        add(Direction::In, Protocol::Tcp, &[22, 80, 443]);
        add(Direction::In, Protocol::Udp, &[53, 123]);
        add(Direction::Out, Protocol::Tcp, &[25, 443]);
        add(Direction::Out, Protocol::Udp, &[53]);
        all
    }

    fn host(self) -> IpAddr {
        address(HOST[usize::from(self.remote.contains(':'))])
    }

    fn path(self) -> String {
        let is_internet = INTERNET.contains(&self.remote);
        let remote = if is_internet { Host::Internet } else { Host::Address(address(self.remote)) };
        path_of((self.direction, self.protocol), self.host(), remote, self.port)
    }

    /// Whether a question gets its answer.
    fn works(self, lab: &Lab, patience: Duration) -> bool {
        let remote = address(self.remote);
        let (client, from, to) = match self.direction {
            Direction::Out => (&lab.host, self.host(), remote),
            _ => (&lab.peer, remote, self.host()),
        };
        let to = SocketAddr::new(to, self.port);
        let asked = match self.protocol {
            Protocol::Tcp => ask_tcp(client, from, to, patience),
            Protocol::Udp => ask_udp(client, SocketAddr::new(from, 0), to, patience),
        };
        asked.is_ok()
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// An IPv6 address takes a moment.
fn can_bind(namespace: &Namespace, to: &str) -> bool {
    namespace.enter(|| UdpSocket::bind((address(to), 0)).is_ok())
}

/// A host with services, a peer with services at each of its addresses, and a tree of what they say.
struct Truth {
    lab: Lab,
    tree: TempDir,
    _services: Vec<Services>,
}

impl Truth {
    fn new() -> Self {
        let lab = Lab::new(&HOST);
        let listening = [
            Service::Tcp(22),
            Service::Tcp(80),
            Service::Tcp(443),
            Service::Tcp(8080),
            Service::Udp(53),
            Service::Udp(123),
        ];
        for network in ["203.0.113.0/24", "2001:db8:9::/64"] {
            lab.host.run("ip", &["route", "add", network, "dev", DEVICE]);
        }
        let mut services = vec![Services::start(&lab.host, &listening)];
        for remote in INTERNAL.into_iter().chain(INTERNET) {
            lab.peer.add_address(PEER_DEVICE, remote);
            assert!(wait_until(PATIENCE, || can_bind(&lab.peer, remote)), "{remote}");
            let listening = [Service::Tcp(25), Service::Tcp(443), Service::Udp(53)];
            services.push(Services::start_at(&lab.peer, address(remote), &listening));
        }
        let tree = tree(Conversation::all().into_iter().map(Conversation::path));
        Self { lab, tree, _services: services }
    }

    /// What works, asked all at once. What takes too long is asked again before it is believed.
    fn works(&self, expected: &BTreeSet<String>) -> BTreeSet<String> {
        let works = |conversation: Conversation| {
            let is_expected = expected.contains(&conversation.path());
            conversation.works(&self.lab, SOON)
                || is_expected && conversation.works(&self.lab, PATIENCE)
        };
        thread::scope(|scope| {
            let all: Vec<_> = Conversation::all()
                .into_iter()
                .map(|it| (it.path(), scope.spawn(move || works(it))))
                .collect();
            let working = all
                .into_iter()
                .filter_map(|(path, asked)| asked.join().expect("no panic").then_some(path));
            working.collect()
        })
    }

    /// Holds the audit of rules against what works under them.
    fn check(&self, name: &str, program: Program, rules: &str) -> BTreeSet<String> {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let file = scratch.path().join("rules");
        fs::write(&file, rules).expect("written");
        let as_file = accepted(&self.audit(&[program.flag(), path(&file)]));
        program.load(&self.lab.host, &file);
        let in_force = accepted(&self.audit(&["--host"]));
        let works = self.works(&as_file);
        self.lab.host.run("nft", &["flush", "ruleset"]);
        assert_same(name, "as a file", &works, &as_file);
        assert_same(name, "in force", &works, &in_force);
        works
    }

    fn audit(&self, arguments: &[&str]) -> Output {
        audit(&self.lab.host, self.tree.path(), arguments)
    }
}

/// An audit in a namespace.
fn audit(host: &Namespace, tree: &Path, arguments: &[&str]) -> Output {
    let mut command = host.command(env!("CARGO_BIN_EXE_conntrack"));
    command.args(["audit", "--format", "json", "--device", DEVICE, "--path"]).arg(tree);
    command.args(arguments).output().expect("the program runs")
}

fn report(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What the audit says is accepted: all but what is refused or not judged.
#[track_caller]
fn accepted(output: &Output) -> BTreeSet<String> {
    let report = report(output);
    assert_eq!(report["not_judged"], Value::Array(Vec::new()), "{report}");
    let refused: BTreeSet<_> = refused(&report).into_keys().collect();
    let all = Conversation::all().into_iter().map(Conversation::path);
    let accepted: BTreeSet<_> = all.filter(|path| !refused.contains(path)).collect();
    assert_eq!(report["accepted"], accepted.len(), "{report}");
    assert_eq!(output.status.code(), Some(if refused.is_empty() { 0 } else { 3 }));
    accepted
}

/// The files that are refused, and which packet of each.
fn refused(report: &Value) -> BTreeMap<String, String> {
    let refused = report["refused"].as_array().expect("an array").iter();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    refused.map(|it| (text(&it["file"]), text(&it["part"]))).collect()
}

#[track_caller]
fn assert_same(name: &str, how: &str, works: &BTreeSet<String>, accepted: &BTreeSet<String>) {
    let too_good: Vec<_> = accepted.difference(works).collect();
    let too_bad: Vec<_> = works.difference(accepted).collect();
    assert!(
        too_good.is_empty() && too_bad.is_empty(),
        "{name}, {how}: said to be accepted and does not work: {too_good:#?}; works and is said to be \
         refused: {too_bad:#?}"
    );
}

fn tree(files: impl IntoIterator<Item = String>) -> TempDir {
    let root = tempfile::tempdir().expect("a scratch directory");
    for path in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, "").expect("written");
    }
    root
}

fn path(file: &Path) -> &str {
    file.to_str().expect("UTF-8")
}

#[derive(Clone, Copy, Debug)]
enum Program {
    Nft,
    Iptables,
    Ip6tables,
}

impl Program {
    const fn flag(self) -> &'static str {
        match self {
            Self::Nft => "--rules",
            Self::Iptables => "--iptables",
            Self::Ip6tables => "--ip6tables",
        }
    }

    fn load(self, host: &Namespace, file: &Path) {
        let file = path(file);
        match self {
            Self::Nft => host.run("nft", &["-f", file]),
            Self::Iptables => {
                host.run("iptables-restore", &[file]);
                host.run("ip6tables-restore", &[file])
            }
            Self::Ip6tables => host.run("ip6tables-restore", &[file]),
        };
    }
}

/// Rules as people write and edit them, each in its file.
fn edited_rules() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rulesets");
    let files = fs::read_dir(directory).expect("a directory").map(|entry| {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("rules"))
    });
    files.collect::<BTreeMap<_, _>>().into_iter().collect()
}

#[test]
fn the_audit_says_what_real_traffic_finds() {
    let truth = Truth::new();
    let everything = Conversation::all().len();
    let rules = edited_rules();
    assert!(rules.len() >= 20);
    let mut how_many = BTreeSet::new();
    for (name, rules) in rules {
        let works = truth.check(&name, Program::Nft, &rules);
        how_many.insert(works.len());
    }
    // Else nothing was compared but "all" or "none".
    assert!(how_many.len() > 6 && how_many.contains(&everything), "{how_many:?}");
}

#[test]
fn iptables_too() {
    let truth = Truth::new();
    let chains = "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:web - [0:0]\n\
        -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n\
        -A INPUT -p ipv6-icmp -j ACCEPT\n\
        -A INPUT -p tcp -m tcp --dport 22\n\
        -A INPUT -p tcp -m multiport --dports 80,443 -j web\n\
        -A INPUT -p udp -m udp --dport 53 -m limit --limit 30/sec --limit-burst 40 -j ACCEPT\n\
        -A web -i ct-host -m addrtype --dst-type LOCAL -p tcp --dport 443 -j ACCEPT\n\
        -A web -j RETURN\nCOMMIT\n";
    let works = truth.check("both families", Program::Iptables, chains);
    assert!(works.contains("in/tcp/192.168.200.1-PORT-192.168.200.230-443"), "{works:?}");
    assert!(works.contains("in/udp/fd00:200::1-PORT-fd00:200::230-53"), "{works:?}");
    let not_tracked = "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        -A OUTPUT -p udp --dport 53 -j CT --notrack\nCOMMIT\n\
        *filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        -A INPUT -m state --state ESTABLISHED -j ACCEPT\n\
        -A INPUT -p ipv6-icmp -j ACCEPT\nCOMMIT\n";
    let works = truth.check("not tracked", Program::Iptables, not_tracked);
    assert!(!works.contains("out/udp/192.168.200.230-PORT-192.168.200.1-53"), "{works:?}");
    let v6 = "*filter\n:INPUT DROP [0:0]\n-A INPUT -p ipv6-icmp -j ACCEPT\n\
        -A INPUT -s fd00:200::1/128 -p tcp -j ACCEPT\nCOMMIT\n";
    truth.check("IPv6 alone", Program::Ip6tables, v6);
}

#[test]
fn the_answer_is_told_from_the_connection() {
    let truth = Truth::new();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("rules");
    let rules = "table inet x { chain c {\ntype filter hook output priority 0; policy drop;\n\
        ip protocol tcp accept\n}\nchain d {\ntype filter hook input priority 0; policy accept;\n\
        tcp dport 22 drop\n}\n}";
    fs::write(&file, rules).expect("written");
    let output = truth.audit(&["--rules", path(&file)]);
    let refused = refused(&report(&output));
    for (path, part) in [
        ("in/tcp/192.168.200.1-PORT-192.168.200.230-22", Some("connection")),
        ("in/udp/192.168.200.1-PORT-192.168.200.230-53", Some("answer")),
        ("in/tcp/192.168.200.1-PORT-192.168.200.230-443", None),
        ("out/udp/192.168.200.230-PORT-192.168.200.1-53", Some("connection")),
        ("out/tcp/192.168.200.230-PORT-192.168.200.1-25", None),
    ] {
        assert_eq!(refused.get(path).map(String::as_str), part, "{path}: {refused:#?}");
    }
}

/// What would be if a file were loaded on a machine that has rules.
#[test]
fn a_file_on_top_of_what_is_in_force() {
    let truth = Truth::new();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let [one, other] = ["one", "other"].map(|name| scratch.path().join(name));
    fs::write(
        &one,
        "table inet one { chain c { type filter hook input priority 0; tcp dport 22 drop; }\n}\n",
    )
    .expect("written");
    fs::write(
        &other,
        "table inet other { chain c { type filter hook input priority 0; tcp dport 80 drop; }\n}\n",
    )
    .expect("written");
    truth.lab.host.run("nft", &["-f", path(&one)]);
    let before = truth.lab.host.run("nft", &["list", "ruleset"]);
    let both = accepted(&truth.audit(&["--host", "--rules", path(&other)]));
    assert_eq!(truth.lab.host.run("nft", &["list", "ruleset"]), before, "nothing changes here");
    let alone = accepted(&truth.audit(&["--rules", path(&other)]));
    let ssh = "in/tcp/192.168.200.1-PORT-192.168.200.230-22";
    let web = "in/tcp/192.168.200.1-PORT-192.168.200.230-80";
    assert!(!both.contains(ssh) && !both.contains(web), "{both:?}");
    assert!(alone.contains(ssh) && !alone.contains(web), "{alone:?}");
    truth.lab.host.run("nft", &["-f", path(&other)]);
    assert_same("both", "in force", &truth.works(&both), &both);
}

/// An address of this machine that is not the device's: to the tree it is of others, to netfilter it is
/// ours.
#[test]
fn a_service_address_on_loopback_is_of_this_host() {
    let lab = Lab::new(&HOST);
    lab.peer.add_address(PEER_DEVICE, INTERNAL[0]);
    lab.host.run("ip", &["address", "add", "192.0.2.77/32", "dev", "lo"]);
    lab.peer.run("ip", &["route", "add", "192.0.2.77", "dev", PEER_DEVICE]);
    let service = address("192.0.2.77");
    let _services = Services::start(&lab.host, &[Service::Tcp(443)]);
    let tree = tree([
        "else/tcp/192.168.200.1-40000-192.0.2.77-443".to_owned(),
        "in/tcp/192.168.200.1-PORT-192.168.200.230-443".to_owned(),
    ]);
    let works = || ask_tcp(&lab.peer, address(INTERNAL[0]), (service, 443).into(), SOON).is_ok();
    assert!(works(), "without rules");
    for (verdict, expected) in [("accept", true), ("drop", false)] {
        let rule = "tcp dport 443 accept".replace("accept", verdict);
        let rules = format!(
            "table inet x {{ chain c {{ type filter hook input priority 0; policy accept;\n\
             ip daddr 192.0.2.77 {rule}\n}}\nchain f {{ type filter hook forward priority 0; policy drop;\n}}\n}}"
        );
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let file = scratch.path().join("rules");
        fs::write(&file, rules).expect("written");
        let report = report(&audit(&lab.host, tree.path(), &["--rules", path(&file)]));
        assert_eq!(refused(&report).is_empty(), expected, "{report}");
        lab.host.run("nft", &["-f", path(&file)]);
        assert_eq!(works(), expected, "{verdict}");
        lab.host.run("nft", &["flush", "ruleset"]);
    }
}

/// Each connection passes the device that its address is on.
#[test]
fn what_several_devices_saw_is_judged_with_each() {
    let lab = Lab::new(&HOST);
    let second = "ct-second";
    lab.host.run("ip", &["link", "add", second, "type", "veth", "peer", "name", "ct-dnoces"]);
    lab.host.add_address(second, "192.168.201.230");
    lab.host.up(second);
    let tree = tree([
        "in/tcp/192.168.200.1-PORT-192.168.200.230-22".to_owned(),
        "in/tcp/192.168.201.1-PORT-192.168.201.230-22".to_owned(),
        "in/tcp/INTERNET-PORT-192.168.201.230-443".to_owned(),
        "out/tcp/192.168.201.230-PORT-192.168.201.1-25".to_owned(),
        "out/tcp/192.168.200.230-PORT-192.168.200.1-25".to_owned(),
    ]);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("rules");
    let refused = |rules: &str| {
        fs::write(&file, rules).expect("written");
        let by = if rules.contains("*filter") { "--iptables" } else { "--rules" };
        let arguments = ["--device", second, by, path(&file)];
        refused(&report(&audit(&lab.host, tree.path(), &arguments))).len()
    };
    let with = |one: &str, other: &str| {
        format!(
            "table inet x {{\n chain i {{ type filter hook input priority 0; policy drop;\n\
             ct state established accept\niifname lo accept\n\
             iifname {one} ip daddr 192.168.200.230 tcp dport 22 accept\n\
             iifname {other} ip daddr 192.168.201.230 tcp dport {{ 22, 443 }} accept\n }}\n\
             chain o {{ type filter hook output priority 0; policy drop;\n\
             ct state established accept\noifname lo accept\n\
             oifname {one} ip daddr 192.168.200.1 tcp dport 25 accept\n\
             oifname {other} ip daddr 192.168.201.1 tcp dport 25 accept\n }}\n}}"
        )
    };
    assert_eq!(refused(&with(DEVICE, second)), 0);
    assert_eq!(refused(&with(second, DEVICE)), 5);
    // What is printed for both.
    for format in ["nftables", "iptables"] {
        let devices = ["-d", DEVICE, "-d", second];
        let (_scratch, file) =
            printed(&tree, &[&["--enforce", "-f", format], &devices[..]].concat());
        let rules = fs::read_to_string(&file).expect("rules");
        assert_eq!(refused(&rules), 0, "{rules}");
        let without = rules.replace("192.168.201.230", "192.168.201.231");
        assert_eq!(refused(&without), 3, "{without}");
    }
}

/// What passes through the host, from one of its devices to the other, by name.
#[test]
fn forwarded_traffic_is_judged_with_its_devices() {
    let lab = Lab::new(&HOST);
    let behind = Lab::new(&[]);
    let ends = ["link", "add", "ct-behind", "type", "veth", "peer", "name", "ct-far", "netns"];
    lab.host.run("ip", &[&ends[..], &[behind.peer.name.as_str()]].concat());
    lab.host.up("ct-behind");
    behind.peer.up("ct-far");
    lab.host.add_address("ct-behind", "10.8.0.1");
    behind.peer.add_address("ct-far", "10.8.0.2");
    lab.peer.add_address(PEER_DEVICE, INTERNAL[0]);
    lab.peer.run("ip", &["route", "add", "10.8.0.0/24", "via", HOST[0]]);
    behind.peer.run("ip", &["route", "add", "192.168.200.0/24", "via", "10.8.0.1"]);
    lab.host.run("sh", &["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    let [near, far] = [INTERNAL[0], "10.8.0.2"].map(address);
    let services = [Service::Tcp(80), Service::Udp(53)];
    let _services = Services::start_at(&lab.peer, near, &services);
    let _far_services = Services::start_at(&behind.peer, far, &services);
    let files = |port| {
        [
            format!("else/tcp/{far}-40000-{near}-80"),
            format!("else/udp/{far}-{port}-{near}-53"),
            format!("else/tcp/{near}-40002-{far}-80"),
        ]
    };
    let works = |port| {
        let out = ask_tcp(&behind.peer, far, (near, 80).into(), SOON).is_ok();
        let dns = ask_udp(&behind.peer, (far, port).into(), (near, 53).into(), SOON).is_ok();
        let into = ask_tcp(&lab.peer, near, (far, 80).into(), SOON).is_ok();
        [out, dns, into]
    };
    assert_eq!(works(40_000), [true; 3], "without rules");
    let cases = [
        ("iifname \"ct-behind\" oifname \"ct-host\" accept", [true, true, false]),
        ("iif \"ct-host\" accept", [false, false, true]),
        ("ip protocol udp accept", [false, true, false]),
        ("accept", [true; 3]),
    ];
    // The host remembers a conversation over UDP: each time it is another.
    for ((rules, expected), port) in cases.into_iter().zip(40_010..) {
        let own = format!("out/tcp/{}-PORT-{near}-80", HOST[0]);
        let tree = tree(files(port).into_iter().chain([own]));
        let rules = format!(
            "table ip x {{ chain c {{ type filter hook forward priority 0; policy drop;\n\
             ct state established accept\n{rules}\n}}\n}}"
        );
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let file = scratch.path().join("rules");
        fs::write(&file, &rules).expect("written");
        lab.host.run("nft", &["-f", path(&file)]);
        let found = works(port);
        let in_force = report(&audit(&lab.host, tree.path(), &["--host"]));
        lab.host.run("nft", &["flush", "ruleset"]);
        let as_file = report(&audit(&lab.host, tree.path(), &["--rules", path(&file)]));
        assert_eq!(found, expected, "{rules}");
        for report in [in_force, as_file] {
            let refused = refused(&report);
            let says = files(port).map(|file| !refused.contains_key(&file));
            assert_eq!(says, expected, "{rules}: {report}");
        }
        let report = report(&audit(&lab.host, tree.path(), &["-e", "--rules", path(&file)]));
        assert_eq!(report["judged"], 1, "{report}");
    }
}

/// What a tree may hold: the one that the printed rules are compared with.
fn snapshot_tree() -> TempDir {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/tree");
    let list = fs::read_to_string(list).expect("the list");
    tree(list.lines().filter_map(|line| line.split(' ').nth(1)).map(str::to_owned))
}

fn run(arguments: &[&str]) -> Output {
    conntrack().args(arguments).output().expect("the program runs")
}

/// The rules that the program prints of a tree, in a file.
fn printed(tree: &TempDir, arguments: &[&str]) -> (TempDir, String) {
    let output = run(&[&["rules", "-p", path(tree.path())], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("rules");
    fs::write(&file, output.stdout).expect("written");
    let file = path(&file).to_owned();
    (scratch, file)
}

#[test]
fn what_the_program_prints_is_accepted_and_nothing_else() {
    let tree = snapshot_tree();
    for (flag, arguments) in [
        ("--rules", &["--enforce", "--forward"][..]),
        ("--rules", &["--enforce", "--forward", "--device", "lan0"]),
        ("--rules", &["--enforce", "--forward", "--aggregate", "24,64"]),
        ("--iptables", &["--enforce", "--forward", "--format", "iptables"]),
    ] {
        let (_scratch, file) = printed(&tree, arguments);
        let audit = ["audit", "-p", path(tree.path()), "-d", "lan0", "--attacks", flag, &file];
        let output = run(&audit);
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {told}{output:?}");
        assert!(told.ends_with("recorded connections accepted (100.0 %)\n"), "{told}");
        assert!(told.contains("\n0 of ") || told.starts_with("0 of "), "{told}");
        assert!(!told.contains("let in\n!") && !told.starts_with('!'), "{told}");
    }
}

#[test]
fn what_edited_rules_refuse_is_listed() {
    let tree = tree(
        ["in/tcp/10.0.0.1-PORT-10.0.0.2-22", "in/tcp/INTERNET-PORT-10.0.0.2-443"]
            .map(str::to_owned),
    );
    let (scratch, file) = printed(&tree, &["--enforce"]);
    let edited = fs::read_to_string(&file).expect("read").replace(
        "tcp dport 443 ip saddr @internet_v4 ip daddr 10.0.0.2 counter accept",
        "tcp dport 443 counter",
    );
    fs::write(&file, edited).expect("written");
    let output = run(&["audit", "-p", path(tree.path()), "--rules", &file]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{told}");
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[0].starts_with("- in/tcp/INTERNET-PORT-10.0.0.2-443  "), "{told}");
    assert!(lines[0].contains("  connection refused (INTERNET as "), "{told}");
    assert_eq!(lines[1], "1 of 2 recorded connections accepted (50.0 %)");
    // As a file, and as one of several.
    let records = run(&["show", path(tree.path()), "-f", "jsonl"]).stdout;
    let lines = scratch.path().join("tree.jsonl");
    fs::write(&lines, records).expect("written");
    for places in [&["-p", path(&lines)][..], &[path(&lines), path(tree.path())]] {
        let output = run(&[&["audit", "--rules", &file], places].concat());
        assert_eq!(
            (output.status.code(), &*String::from_utf8_lossy(&output.stdout)),
            (Some(3), &*told)
        );
    }
}

/// The other side: a port that a scan tried, and one that nobody did.
#[test]
fn attacks_that_are_let_in_are_named() {
    let tree = tree(
        ["in/tcp/10.0.0.1-PORT-10.0.0.2-22", "in/tcp/INTERNET-PORT-10.0.0.2-3306"]
            .map(str::to_owned),
    );
    let set = |at: &Path, name: &str, value: &str| {
        setxattr(at, name, value.as_bytes(), XattrFlags::empty()).expect("extended attributes");
    };
    let recording = r#"{"version":1,"since":"1970-01-01T00:00:00Z"}"#;
    set(tree.path(), "user.conntrack.recording", recording);
    let ssh = tree.path().join("in/tcp/10.0.0.1-PORT-10.0.0.2-22");
    set(&ssh, "user.conntrack.evidence", "answered");
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("rules");
    let rules = "table inet x { chain c {\ntype filter hook input priority 0; policy drop;\n\
        tcp dport { 22, 3306, 3389 } accept\n}\n}\n";
    fs::write(&file, rules).expect("written");
    let output = run(&["audit", "-p", path(tree.path()), "--attacks", "--rules", path(&file)]);
    let told = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "! in/tcp/INTERNET-PORT-10.0.0.2-3306  let in",
            "! in/tcp/INTERNET-PORT-10.0.0.2-3389  let in",
            "1 of 1 connection that nobody answered let in",
        ],
        "{told}"
    );
    assert_eq!(lines.last(), Some(&"1 of 1 recorded connections accepted (100.0 %)"), "{told}");
    assert!(output.status.success());
}

/// Learning rules refuse nothing, and an audit of them says nothing.
#[test]
fn rules_that_refuse_nothing_are_said_to() {
    let tree = snapshot_tree();
    for (arguments, is_said) in [(&[][..], true), (&["--enforce"], false)] {
        let (_scratch, file) = printed(&tree, arguments);
        let output = run(&["audit", "-p", path(tree.path()), "-e", "--rules", &file]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("let in every port that was never seen"), is_said, "{said}");
    }
}

#[test]
fn what_cannot_be_tried_is_one_line() {
    let tree = snapshot_tree();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("rules");
    let wrong = [
        ("--rules", "table inet x {\nchain c { frobnicate }\n}\n", "rules:2:"),
        ("--rules", "add rule inet nowhere c accept\n", "No such file"),
        (
            "--rules",
            "table inet x { chain c { iif \"nosuchdev0\" accept\n}\n}\n",
            "Interface does not exist",
        ),
        ("--iptables", "-A INPUT -j ACCEPT\n", "iptables-restore"),
        ("--ip6tables", "*filter\n-A INPUT -s 10.0.0.1 -j DROP\nCOMMIT\n", "10.0.0.1"),
    ];
    for (flag, rules, says) in wrong {
        fs::write(&file, rules).expect("written");
        let output = run(&["audit", "-p", path(tree.path()), flag, path(&file)]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(output.stdout.is_empty());
        assert!(said.lines().count() == 1 && said.contains(says), "{says}: {said}");
        assert!(said.starts_with("conntrack: cannot load "), "{said}");
    }
    fs::write(&file, "").expect("written");
    let mut without = conntrack();
    without.env("PATH", "/nowhere");
    let audit = ["audit", "-p", path(tree.path()), "-r", path(&file)];
    // They are looked for where they usually are, too.
    assert!(without.args(audit).output().expect("the program runs").status.code() != Some(2));
}

/// A tree that is too large to be asked about one by one.
#[test]
fn a_hundred_thousand_connections_take_seconds() {
    const PATIENCE: Duration = Duration::from_mins(2);
    let root = large_tree();
    let (_scratch, file) = printed(&root, &["--enforce"]);
    let start = Instant::now();
    let output = run(&["audit", "-p", path(root.path()), "-r", &file]);
    let took = start.elapsed();
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told, "100000 of 100000 recorded connections accepted (100.0 %)\n");
    assert!(took < PATIENCE, "{took:?}");
}

/// A list of bad ones is smaller than what the others stand for, and is not overlooked.
#[test]
fn addresses_that_rules_name_are_tried_too() {
    let truth = Truth::new();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("rules");
    let rules = "table inet bad {\nset bad { type ipv4_addr; flags interval; elements = { 198.51.100.0/24, \
        203.0.113.9, 10.1.2.3 }; }\nchain input {\ntype filter hook input priority 0; policy accept;\n\
        ip saddr @bad tcp dport 443 drop\n}\n}\n";
    fs::write(&file, rules).expect("written");
    let output = truth.audit(&["--rules", path(&file)]);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(3), "{report}");
    assert_eq!(report["refused"], Value::Array(Vec::new()), "{report}");
    let partly = report["partly"].as_array().expect("an array");
    let [partly] = &partly[..] else { panic!("{partly:#?}") };
    assert_eq!(partly["file"], format!("in/tcp/INTERNET-PORT-{}-443", HOST[0]));
    assert_eq!(partly["internet"], "198.51.100.77");
    assert_eq!(partly["part"], "connection");
}
