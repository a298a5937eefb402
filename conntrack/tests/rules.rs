//! `conntrack rules` and `diff` on trees that were made by hand. No root, no device.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::support::{conntrack, large_tree};
use rustix::fs::{XattrFlags, setxattr};
use tempfile::TempDir;

const SEED: &str = "out/tcp/192.168.200.230-PORT-INTERNET-443";
const SSH: &str = "in/tcp/INTERNET-PORT-192.168.200.230-22";

/// Makes empty files below a directory of their own, each with its time.
pub(crate) fn tree<'a>(files: impl IntoIterator<Item = (&'a str, SystemTime)>) -> TempDir {
    let root = tempfile::tempdir().expect("a scratch directory");
    for (path, time) in files {
        add(root.path(), path, time);
    }
    root
}

fn add(root: &Path, path: &str, time: SystemTime) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("below the root")).expect("made");
    File::create(path).and_then(|file| file.set_modified(time)).expect("made");
}

fn snapshots() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots")
}

/// The tree that the snapshots are of: a time and a path on each line.
pub(crate) fn snapshot_tree() -> TempDir {
    let list = fs::read_to_string(snapshots().join("tree")).expect("the list");
    tree(list.lines().map(|line| {
        let (time, path) = line.split_once(' ').expect("a time and a path");
        (path, humantime::parse_rfc3339(time).expect("a time"))
    }))
}

/// The tree with evidence that the snapshots are of: a path, a time and a word on each line.
pub(crate) fn snapshot_tree_with_evidence() -> TempDir {
    let list = fs::read_to_string(snapshots().join("tree-with-evidence")).expect("the list");
    let files = list.lines().map(|line| {
        let [path, time, word] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        (path, humantime::parse_rfc3339(time).expect("a time"), word)
    });
    tree_with_evidence(files)
}

/// What a recording tells of itself.
const RECORDING: &str = r#"{"version":1,"device":"lan0","since":"2026-11-10T00:00:00Z",
    "mode":"ebpf","hook":"tc (tcx)","flags":["--skip-else"],"ip_local_port_range":[32768,60999],
    "udp_in":[45390],"lost":34}"#;

/// The same as [`tree`] with a word of evidence for each file, or none.
pub(crate) fn tree_with_evidence<'a>(
    files: impl IntoIterator<Item = (&'a str, SystemTime, &'a str)>,
) -> TempDir {
    let root = tree([]);
    set_attribute(root.path(), "user.conntrack.recording", RECORDING);
    for (path, time, word) in files {
        add(root.path(), path, time);
        if word != "none" {
            set_attribute(&root.path().join(path), "user.conntrack.evidence", word);
        }
    }
    root
}

pub(crate) fn set_attribute(path: &Path, name: &str, value: &str) {
    setxattr(path, name, value.as_bytes(), XattrFlags::empty())
        .expect("a file system with extended attributes");
}

fn run(arguments: &[&str]) -> Output {
    conntrack().args(arguments).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn path(root: &TempDir) -> &str {
    root.path().to_str().expect("UTF-8")
}

/// What is printed on standard output.
#[track_caller]
fn rules(root: &TempDir, arguments: &[&str]) -> String {
    let output = run(&[&["rules", "-p", path(root)], arguments].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Compares with a file byte by byte, but for the version of the program.
#[track_caller]
fn assert_snapshot(name: &str, found: &str) {
    let found =
        found.replace(concat!("conntrack ", env!("CARGO_PKG_VERSION")), "conntrack VERSION");
    let path = snapshots().join(name);
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if found != expected {
        let new = std::env::temp_dir().join(format!("conntrack-{name}"));
        fs::write(&new, found).expect("written");
        panic!("not as in {}; what was printed is in {}", path.display(), new.display());
    }
}

/// What is printed, without when each file was made, which is always new, and the units behind that.
fn without_made(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(",\"made\":") {
        Some((before, after)) => {
            format!("{before}}}{}", after.split_once('}').map_or("", |it| it.1))
        }
        None if line.contains("  ") => without_last(without_last(line, "  "), "  ").to_owned(),
        None => without_last(without_last(line, ","), ",").to_owned(),
    });
    lines.fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

fn without_last<'a>(line: &'a str, between: &str) -> &'a str {
    line.rsplit_once(between).map_or(line, |it| it.0).trim_end()
}

#[test]
fn every_format_prints_what_its_snapshot_says() {
    let root = snapshot_tree();
    for (name, arguments) in [
        ("learning.nft", &[][..]),
        ("enforcing.nft", &["--enforce", "--forward", "-d", "eth0"]),
        ("aggregated.nft", &["--aggregate", "24,64", "--internal", "203.0.113.0/24"]),
        ("learning.iptables", &["--format", "iptables"]),
        (
            "wire.iptables",
            &["--format", "iptables", "--enforce", "--forward", "-d", "eth0", "--at", "wire"],
        ),
        ("enforcing.iptables", &["--format", "iptables", "--enforce", "--forward", "-d", "eth0"]),
        ("learning.ufw", &["--format", "ufw"]),
        ("learning.firewalld", &["--format", "firewalld"]),
        ("enforcing.firewalld", &["--format", "firewalld", "--enforce", "--forward"]),
        ("enforcing.ufw", &["--format", "ufw", "--enforce", "--forward"]),
    ] {
        assert_snapshot(name, &rules(&root, arguments));
    }
    for (name, arguments) in [
        ("records.json", ["--format", "json"]),
        ("records.csv", ["--format", "csv"]),
        ("records.table", ["--format", "table"]),
    ] {
        assert_snapshot(name, &without_made(&rules(&root, &arguments)));
    }
}

#[test]
fn with_evidence_too() {
    let root = snapshot_tree_with_evidence();
    for (name, arguments) in [
        ("evidence.nft", &["--enforce"][..]),
        ("evidence-forward.nft", &["--forward", "--unanswered", "-u", "51820"]),
        ("evidence.iptables", &["--enforce", "--format", "iptables"]),
        ("evidence.ufw", &["--enforce", "--format", "ufw"]),
    ] {
        assert_snapshot(name, &rules(&root, arguments));
    }
    assert_snapshot("evidence.table", &without_made(&rules(&root, &["--format", "table"])));
}

#[test]
fn the_messages_are_as_in_their_snapshot() {
    let root = snapshot_tree();
    let output = run(&["rules", "-p", path(&root), "--enforce"]);
    assert_snapshot("enforcing.messages", &text(&output.stderr));
}

/// What is said on standard error.
fn said(root: &TempDir, arguments: &[&str]) -> String {
    text(&run(&[&["rules", "-p", path(root)], arguments].concat()).stderr)
}

/// They are asked for by multicast, which the tree folds into INTERNET, and netfilter does not know the
/// answers. Those that were seen have a rule.
#[test]
fn answers_to_ssdp_and_netbios_have_a_rule_or_a_warning() {
    let ssdp = "out/udp/192.168.1.5-PORT-INTERNET-1900";
    let netbios = "out/udp/192.168.1.5-PORT-192.168.1.255-137";
    let answer = "in/udp/192.168.1.9-PORT-192.168.1.5-40123";
    for (request, port) in [(ssdp, "1900"), (netbios, "137")] {
        let warns = format!("port {port} may be multicast or broadcast");
        let alone = tree([(request, UNIX_EPOCH), (SSH, UNIX_EPOCH)]);
        let answered = tree([(request, UNIX_EPOCH), (SSH, UNIX_EPOCH), (answer, UNIX_EPOCH)]);
        assert!(said(&alone, &[]).contains(&warns));
        assert!(!said(&answered, &[]).contains(&warns));
        for root in [&alone, &answered] {
            let printed = rules(root, &["--enforce"]);
            assert!(printed.contains("ip daddr . udp dport . udp sport @asked_v4"), "{printed}");
            assert!(printed.contains(&format!("udp dport {{ {port} }} update @asked_v4")));
        }
        let rule =
            format!("-s 192.168.1.9 -d 192.168.1.5 -m udp --sport {port} --dport 32768:60999");
        let iptables = ["--format", "iptables"];
        assert!(rules(&answered, &iptables).contains(&rule), "{}", rules(&answered, &iptables));
        assert!(!rules(&alone, &iptables).contains("--sport 1"));
    }
    let unicast = "out/udp/192.168.1.5-PORT-INTERNET-123";
    let root = tree([(unicast, UNIX_EPOCH), (answer, UNIX_EPOCH)]);
    assert!(!said(&root, &[]).contains("multicast"));
    assert!(!rules(&root, &[]).contains("asked_v4"));
}

/// A router of a network would have a rule for each of the world's addresses.
/// The connections by name, above the rule in either language; at the top only what is about no rule.
#[test]
fn warnings_stand_above_their_rule() {
    let early = UNIX_EPOCH + Duration::from_hours(24 * 365 * 55);
    let late = UNIX_EPOCH + Duration::from_hours(24 * 365 * 60);
    let scanned = (1..=5).map(|peer| format!("in/tcp/10.0.0.{peer}-PORT-10.1.1.1-22"));
    let files: Vec<_> = scanned.map(|file| (file, early, "none")).collect();
    let dns = "out/udp/10.1.1.1-PORT-10.0.0.53-53".to_owned();
    let high = "in/tcp/10.0.0.9-PORT-10.1.1.1-40000".to_owned();
    let sure = "in/tcp/10.0.0.10-PORT-10.1.1.1-443".to_owned();
    let others = [dns, high, sure].map(|file| (file, late, "answered"));
    let files = files.iter().chain(&others);
    let root = tree_with_evidence(files.map(|(file, time, word)| (file.as_str(), *time, *word)));
    let ssh = "in/tcp/10.0.0.1-PORT-10.1.1.1-22, in/tcp/10.0.0.2-PORT-10.1.1.1-22, \
        in/tcp/10.0.0.3-PORT-10.1.1.1-22 and 2 more";
    for (format, begins) in [("nftables", "tcp dport "), ("iptables", "-A conntrack-")] {
        let printed = rules(&root, &["--format", format]);
        let above = |port: &str| {
            let port = format!("dport {port} ");
            let is_rule =
                |line: &&str| line.trim_start().starts_with(begins) || line.contains("udp dport");
            let lines: Vec<_> = printed.lines().collect();
            let at = lines.iter().position(|it| is_rule(it) && it.contains(&port));
            lines[at.unwrap_or_else(|| panic!("{port}: {printed}")) - 1].trim_start().to_owned()
        };
        assert!(above("22").starts_with("# Warning: nobody knows whether"), "{}", above("22"));
        assert!(above("22").ends_with(ssh), "{}", above("22"));
        let named = "# Warning: to an ephemeral port, which the program may change when it starts \
            again: in/tcp/10.0.0.9-PORT-10.1.1.1-40000";
        assert_eq!(above("40000"), named);
        assert!(above("53").ends_with("need TCP: out/udp/10.1.1.1-PORT-10.0.0.53-53"), "{printed}");
        assert!(!above("443").starts_with("# Warning"), "{}", above("443"));
        let head: Vec<_> = printed.lines().take_while(|line| line.starts_with('#')).collect();
        let head = head.join("\n");
        assert!(!head.contains("port scan") && head.contains("no rule for IPv6"), "{head}");
        assert!(head.contains("# Warning: 3 rules below, each with its own."), "{head}");
    }
}

#[test]
fn what_is_forwarded_from_and_to_the_internet_is_folded() {
    let files = [
        "else/tcp/10.1.0.7-40000-203.0.113.9-443",
        "else/tcp/10.1.0.7-40001-198.51.100.7-443",
        "else/udp/10.1.0.7-40001-198.51.100.7-443",
        "else/tcp/203.0.113.9-40000-10.1.0.80-443",
        "else/tcp/203.0.113.9-40000-198.51.100.80-25",
    ];
    let root = tree(files.map(|file| (file, UNIX_EPOCH)));
    let printed = rules(&root, &["--forward"]);
    for (from, to, port) in [
        ("10.1.0.7", "@internet_v4", "tcp dport 443"),
        ("10.1.0.7", "@internet_v4", "udp dport 443"),
        ("@internet_v4", "10.1.0.80", "tcp dport 443"),
        ("203.0.113.9", "198.51.100.80", "tcp dport 25"),
    ] {
        let ends = format!("ip saddr {from} ip daddr {to} ");
        let has = |line: &str| line.contains(&ends) && line.contains(port);
        assert!(printed.lines().any(has), "{ends}{port}: {printed}");
    }
    assert!(!printed.contains("multicast_broadcast"), "{printed}");
    let printed = rules(&root, &["--forward", "--format", "iptables"]);
    let to = "-A conntrack-forward-to-inet -4 -s 10.1.0.7 -p tcp --dport 443";
    let from = "-A conntrack-forward-from-inet -4 -d 10.1.0.80 -p tcp --dport 443";
    assert!(printed.contains(to) && printed.contains(from), "{printed}");
    let printed = rules(&root, &["--forward", "--no-internet-forward"]);
    assert!(!printed.contains("@internet"), "{printed}");
}

#[test]
fn ssh_comes_first_then_the_web_then_the_rest() {
    let files = ["tcp/INTERNET-PORT-10.0.0.2-8", "udp/10.0.0.9-PORT-10.0.0.2-22"];
    let files = files.into_iter().chain(["udp/INTERNET-PORT-10.0.0.2-443"]);
    let files = files.chain(["tcp/10.0.0.3-PORT-10.0.0.2-22", "tcp/10.0.0.4-PORT-10.0.0.2-80"]);
    let files: Vec<_> = files.map(|file| format!("in/{file}")).collect();
    let root = tree(files.iter().map(|file| (file.as_str(), UNIX_EPOCH)));
    let printed = rules(&root, &[]);
    let places =
        ["tcp dport 22 ", "tcp dport 80 ", "udp dport 443 ", "tcp dport 8 ", "udp dport 22 "]
            .map(|port| printed.find(port).expect("a rule"));
    assert!(places.is_sorted(), "{printed}");
}

/// With an address that changes, rules hold for a day.
#[test]
fn the_own_address_can_be_left_out_and_where_it_changes_that_is_said() {
    let files = [
        "in/tcp/INTERNET-PORT-2001:db8::1-22",
        "in/tcp/INTERNET-PORT-2001:db8::2-22",
        "out/udp/2001:db8::2-PORT-fd00::53-53",
        "in/tcp/10.0.0.7-PORT-10.0.0.2-22",
    ];
    let root = tree(files.map(|file| (file, UNIX_EPOCH)));
    assert!(
        said(&root, &[]).contains("2001:db8::1, 2001:db8::2 of one /64: some may be temporary")
    );
    let any = ["--any-local-address"];
    assert!(!said(&root, &any).contains("temporary"));
    let printed = rules(&root, &any);
    for rule in [
        "        tcp dport 22 ip6 saddr @internet_v6 counter accept",
        "        udp dport 53 ip6 daddr fd00::53 counter accept",
        "        tcp dport 22 ip saddr 10.0.0.7 counter accept",
    ] {
        assert!(printed.contains(rule), "{rule}: {printed}");
    }
    let printed = rules(&root, &["--any-local-address", "--format", "iptables"]);
    assert!(printed.contains("-A conntrack-input-from-inet -6 -p tcp --dport 22"), "{printed}");
    let mut lines = printed.lines().filter(|line| !line.starts_with("# Warning"));
    assert!(!lines.any(|line| line.contains("10.0.0.2")), "{printed}");
    let far = tree([(files[0], UNIX_EPOCH), ("in/tcp/INTERNET-PORT-2001:db8:1::1-22", UNIX_EPOCH)]);
    assert!(!said(&far, &[]).contains("temporary"));
}

/// A service that others use too is none of FTP's data.
#[test]
fn data_connections_of_ftp_and_tftp_need_no_rule_and_are_said() {
    let host = "10.0.0.2";
    let files = [
        format!("in/tcp/10.0.0.7-PORT-{host}-21"),
        format!("in/tcp/10.0.0.7-PORT-{host}-40001"),
        format!("out/tcp/{host}-PORT-10.0.0.7-50001"),
        format!("in/udp/10.0.0.8-PORT-{host}-69"),
        format!("in/udp/10.0.0.8-PORT-{host}-40002"),
        format!("out/udp/{host}-PORT-10.0.0.8-50002"),
        format!("in/tcp/10.0.0.7-PORT-{host}-50051"),
        format!("in/tcp/10.0.0.9-PORT-{host}-50051"),
        format!("in/tcp/10.0.0.7-PORT-{host}-5432"),
    ];
    let root = tree(files.iter().map(|file| (file.as_str(), UNIX_EPOCH)));
    let printed = rules(&root, &["--enforce"]);
    for port in ["40001", "50001", "40002", "50002"] {
        assert!(!printed.contains(&format!("dport {port}")), "{printed}");
        assert!(said(&root, &[]).contains(port));
    }
    for port in ["21", "69", "50051", "5432"] {
        let mut rules = printed.lines().filter(|line| line.contains("counter accept comment"));
        assert!(rules.any(|rule| rule.contains(port)), "{port}: {printed}");
    }
    assert_eq!(printed.matches("may be data of").count(), 4, "{printed}");
    for helper in ["tcp dport 21 ct helper set \"ftp\"", "udp dport 69 ct helper set \"tftp\""] {
        assert!(printed.contains(helper), "{printed}");
    }
    let printed = rules(&root, &["--format", "iptables"]);
    assert!(printed.contains("-A conntrack-helpers -p tcp --dport 21 -j CT --helper ftp"));
    let printed = rules(&root, &["--enforce", "--no-helpers"]);
    assert!(printed.contains("40001 }") && !printed.contains("helper set"), "{printed}");
}

/// vsftpd takes any port from 1024 on unless told otherwise.
#[test]
fn ports_that_ftp_may_have_taken_beyond_the_ephemeral_ones_are_named() {
    const NAMED: &str =
        "incoming TCP to port 6826, 64086 has a rule, and may have been data of FTP";
    let host = "10.0.0.2";
    let files = [
        format!("in/tcp/INTERNET-PORT-{host}-21"),
        format!("in/tcp/INTERNET-PORT-{host}-443"),
        format!("in/tcp/INTERNET-PORT-{host}-6826"),
        format!("in/tcp/INTERNET-PORT-{host}-64086"),
        format!("in/tcp/INTERNET-PORT-{host}-8443"),
        format!("in/tcp/10.0.0.9-PORT-{host}-8443"),
    ];
    let root = tree(files.iter().map(|file| (file.as_str(), UNIX_EPOCH)));
    for format in ["nftables", "iptables"] {
        let printed = rules(&root, &["--format", format]);
        assert!(printed.contains(NAMED), "{printed}");
    }
    assert!(said(&root, &[]).contains(NAMED));
    assert!(!said(&root, &["--no-helpers"]).contains("may have been data"));
    let without_ftp = tree(files[1..].iter().map(|file| (file.as_str(), UNIX_EPOCH)));
    assert!(!said(&without_ftp, &[]).contains("may have been data"));
}

#[test]
fn somebody_may_listen_to_broadcasts_of_the_network() {
    let query = "else/udp/192.168.1.9-137-192.168.1.255-137";
    let said = said(&tree([(query, UNIX_EPOCH), (SSH, UNIX_EPOCH)]), &[]);
    assert!(
        said.contains("1 connection to multicast or broadcast (else) would be refused"),
        "{said}"
    );
}

#[test]
fn rules_for_several_devices_name_each_once() {
    let root = tree([(SSH, UNIX_EPOCH), (SEED, UNIX_EPOCH)]);
    let devices = ["-d", "eth0", "-d", "wg0", "-d", "eth0"];
    let printed = rules(&root, &devices);
    assert!(printed.contains("# Device: eth0, wg0. Others are not filtered."), "{printed}");
    for name in ["iifname", "oifname"] {
        let line = format!("{name} != {{ \"eth0\", \"wg0\" }} accept\n");
        assert!(printed.contains(&line), "{printed}");
    }
    let printed = rules(&root, &[&devices[..], &["-f", "iptables"]].concat());
    for line in [
        "-A conntrack-input-devices -i eth0 -g conntrack-input\n",
        "-A conntrack-input-devices -i wg0 -g conntrack-input\n",
        "-A conntrack-output-devices -o wg0 -g conntrack-output\n",
        "$i -t filter -I INPUT -j conntrack-input-devices;",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    assert!(!printed.contains("-I INPUT -j conntrack-input;"), "{printed}");
    let printed = rules(&root, &[&devices[..], &["-f", "ufw"]].concat());
    assert!(printed.contains("ufw allow in on wg0 proto tcp"), "{printed}");
    let at_the_wire =
        [&["rules", "-p", path(&root), "-f", "iptables", "--at", "wire"], &devices[..]];
    let refused = run(&at_the_wire.concat());
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("with several devices is for nftables"));
}

/// A scan of a host that serves nothing must not leave it without a chain.
#[test]
fn where_nobody_answered_all_is_refused() {
    let time = UNIX_EPOCH + Duration::from_hours(24 * 365 * 60);
    let root = tree_with_evidence([(SSH, time, "none"), (SEED, time, "answered")]);
    let printed = rules(&root, &["--enforce"]);
    assert!(printed.contains("hook input priority filter; policy drop;"), "{printed}");
    assert!(!printed.contains("dport 22"), "{printed}");
    let printed = rules(&root, &["--enforce", "--format", "iptables"]);
    assert!(printed.contains("-A conntrack-input-rest -m comment --comment \"dropped\" -j DROP"));
    assert!(!printed.contains("--dport 22"), "{printed}");
}

/// 20,337 of them were seen after an hour of requests to one port.
#[test]
fn ephemeral_udp_ports_are_named_on_a_few_short_lines() {
    const LONGEST: usize = 220;
    let time = UNIX_EPOCH + Duration::from_hours(24 * 365 * 60);
    let files: Vec<_> = (32_768..60_000)
        .step_by(7)
        .flat_map(|port| {
            let peer = port % 100;
            [
                format!("in/udp/INTERNET-PORT-10.1.1.1-{port}"),
                format!("in/udp/10.0.0.{peer}-PORT-10.1.1.2-{port}"),
                format!("in/tcp/10.7.{}.{peer}-PORT-10.1.1.1-{port}", port % 250),
            ]
        })
        .collect();
    let root = tree_with_evidence(files.iter().map(|file| (file.as_str(), time, "none")));
    let printed = rules(&root, &["--enforce"]);
    assert!(!printed.contains("ip saddr 10") && !printed.contains("ip saddr @"), "{printed}");
    let lines: Vec<_> = printed.lines().filter(|line| line.starts_with("# Left out: ")).collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines.iter().all(|line| line.len() <= LONGEST), "{lines:#?}");
    assert!(
        lines[1].contains("3891 ephemeral UDP ports of 10.1.1.1 from INTERNET (none): 32768, "),
        "{lines:#?}"
    );
    assert!(lines[1].contains("\u{2026}; late answers look the same, for a server give -u PORT"));
    assert!(lines[2].contains("3891 TCP ports of 10.1.1.1 that nobody answered from 500 peers"));
}

/// Hosts that somebody scanned through a router may be many.
#[test]
fn there_are_not_more_lines_than_people_read() {
    let time = UNIX_EPOCH + Duration::from_hours(24 * 365 * 60);
    let files: Vec<_> = (0..200)
        .map(|number| format!("else/tcp/10.0.0.1-5000-10.9.0.{number}-{}", 1_000 + number * 3))
        .collect();
    let root = tree_with_evidence(files.iter().map(|file| (file.as_str(), time, "none")));
    let printed = rules(&root, &["--forward"]);
    let lines: Vec<_> = printed.lines().filter(|line| line.starts_with("# Left out: ")).collect();
    assert_eq!(lines.len(), 41);
    assert!(lines[40].contains("160 more connections"), "{printed}");
}

#[test]
fn a_udp_server_with_an_ephemeral_port_is_named() {
    let time = UNIX_EPOCH + Duration::from_hours(24 * 365 * 60);
    let wireguard = "in/udp/INTERNET-PORT-10.1.1.1-51820";
    let root = tree_with_evidence([(wireguard, time, "answered")]);
    assert!(!rules(&root, &[]).contains("dport 51820"));
    assert!(said(&root, &[]).contains("from INTERNET (answered): 51820; late answers"));
    assert!(rules(&root, &["-u", "51820"]).contains("dport 51820"));
    // As it was recorded.
    let recorded = "in/udp/INTERNET-PORT-10.1.1.1-45390";
    let root = tree_with_evidence([(recorded, time, "answered")]);
    assert!(rules(&root, &[]).contains("dport 45390"));
}

#[test]
fn evidence_that_cannot_be_read_is_said() {
    let time = UNIX_EPOCH + Duration::from_hours(24 * 365 * 60);
    let root = tree_with_evidence([(SSH, time, "Answered\u{1b}[2J")]);
    let said = said(&root, &[]);
    let line = format!("{SSH}: evidence unknown: no word of evidence\n");
    assert!(said.contains(&line) && !said.contains('\u{1b}'), "{said}");
    assert!(said.contains("1 connection with a rule may have been a port scan"), "{said}");
    assert!(rules(&root, &[]).contains("dport 22"));
}

#[test]
fn a_tree_without_its_attributes_is_said_to_be_one() {
    let root = tree([(SSH, UNIX_EPOCH)]);
    let said = said(&root, &[]);
    assert!(said.contains("copied without extended attributes (cp -a, rsync -X"), "{said}");
    let printed = rules(&root, &[]);
    let warning = format!(
        "# Warning: nobody knows whether this was answered, it may have been a port scan: {SSH}"
    );
    assert!(printed.contains(&warning), "{printed}");
}

#[test]
fn json_is_json() {
    let root = snapshot_tree();
    let records: serde_json::Value =
        serde_json::from_str(&rules(&root, &["--format", "json"])).expect("JSON");
    let records = records.as_array().expect("an array");
    assert_eq!(records.len(), 26);
    assert_eq!(records[0]["source_port"], serde_json::Value::Null);
    let none = tree([("out/tcp/x", UNIX_EPOCH)]);
    let records: serde_json::Value =
        serde_json::from_str(&rules(&none, &["--format", "json"])).expect("JSON");
    assert_eq!(records, serde_json::json!([]));
}

/// The order in which a file system lists its files is that of their making, or any.
#[test]
fn the_same_tree_gives_the_same_bytes() {
    let names: Vec<_> =
        (0..500).map(|port| format!("in/tcp/10.0.0.{}-PORT-10.1.0.1-{port}", port % 7)).collect();
    let forwards = tree(names.iter().map(|name| (name.as_str(), UNIX_EPOCH)));
    let backwards = tree(names.iter().rev().map(|name| (name.as_str(), UNIX_EPOCH)));
    for format in ["nftables", "iptables", "json", "csv", "table"] {
        let printed = |root| match format {
            "nftables" | "iptables" => rules(root, &["--format", format]),
            _ => without_made(&rules(root, &["--format", format])),
        };
        assert!(printed(&forwards) == printed(&backwards), "{format}");
    }
}

#[test]
fn no_name_gets_into_the_output() {
    let hostile = [
        "out/tcp/x; flush ruleset",
        "out/tcp/\n-A INPUT -j ACCEPT",
        "in/udp/10.0.0.1-PORT-10.0.0.2-53\"; drop",
        "out/tcp/\u{1b}[2J",
    ];
    let root = tree(hostile.iter().chain(&[SEED]).map(|path| (*path, UNIX_EPOCH)));
    let clean = tree([(SEED, UNIX_EPOCH)]);
    for format in ["nftables", "iptables", "json", "csv", "table"] {
        let arguments = ["rules", "-p", path(&root), "--format", format];
        let output = run(&arguments);
        let expected = rules(&clean, &["--format", format]);
        assert_eq!(without_made(&text(&output.stdout)), without_made(&expected), "{format}");
        let said = text(&output.stderr);
        assert_eq!(said.matches("left out: no name of a connection\n").count(), 4, "{said}");
        assert!(said.lines().all(|line| line.starts_with("conntrack: ")), "{said}");
        assert!(!said.contains('\u{1b}'), "{said}");
    }
}

/// Anybody who may write to the tree may have written what it says of itself.
#[test]
fn nothing_that_the_tree_says_gets_out_of_its_line() {
    let recording = |device: &str, range: &str| {
        let root = tree([(SSH, UNIX_EPOCH)]);
        let text = format!(
            r#"{{"version":1,"since":"1970-01-01T00:00:00Z","device":"{device}","hook":"{device}",
            "mode":"{device}","flags":["{device}"],"ip_local_port_range":{range}}}"#
        );
        set_attribute(root.path(), "user.conntrack.recording", &text);
        root
    };
    let clean = recording("", "[32768,60999]");
    for format in ["nftables", "iptables"] {
        let expected = rules(&clean, &["--format", format]);
        let lines = expected.lines().count();
        for device in [r"lan0\n-A INPUT -j ACCEPT", r"lan0\u001b[2J", r"lan0\r", "\u{2028}lan0"] {
            let root = recording(device, "[32768,60999]");
            let printed = rules(&root, &["--format", format]);
            assert_eq!(printed.lines().count(), lines, "{printed}");
            assert!(!printed.contains("lan0"), "{printed}");
        }
    }
    // A range the wrong way round is none, not an empty one.
    let root = recording("lan0", "[60999,32768]");
    add(root.path(), "in/udp/INTERNET-PORT-10.1.1.1-40000", UNIX_EPOCH);
    let path = root.path().join("in/udp/INTERNET-PORT-10.1.1.1-40000");
    set_attribute(&path, "user.conntrack.evidence", "answered");
    assert!(!rules(&root, &[]).contains("dport 40000"));
}

#[test]
fn many_strangers_are_counted() {
    let names: Vec<_> = (0..50).map(|number| format!("out/tcp/note-{number:02}")).collect();
    let root = tree(names.iter().map(|name| (name.as_str(), UNIX_EPOCH)));
    let said = text(&run(&["rules", "-p", path(&root)]).stderr);
    assert!(said.contains("40 more left out"), "{said}");
    assert!(said.contains("no connection to make a rule of"), "{said}");
}

#[test]
fn what_was_not_seen_lately_is_left_out() {
    let now = SystemTime::now();
    let old = "out/tcp/192.168.200.230-PORT-INTERNET-80";
    let root = tree([(SEED, now), (old, now - Duration::from_hours(48))]);
    let printed = rules(&root, &["--since", "1d", "--format", "csv"]);
    assert!(printed.contains(",443,") && !printed.contains(",80,"), "{printed}");
    let printed = rules(&root, &["--since", "1d"]);
    assert!(printed.contains("What had not been seen for 1day was left out."), "{printed}");
}

#[test]
fn what_nobody_reads_is_no_error() {
    let names: Vec<_> =
        (0..5_000).map(|port| format!("in/tcp/10.0.0.1-PORT-10.1.0.1-{port}")).collect();
    let root = tree(names.iter().map(|name| (name.as_str(), UNIX_EPOCH)));
    let mut child = conntrack()
        .args(["rules", "-p", path(&root), "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ended");
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn differences_are_listed_and_told_by_the_status() {
    let later = UNIX_EPOCH + Duration::from_secs(1);
    let one = tree([(SEED, UNIX_EPOCH), ("in/tcp/10.0.0.1-PORT-10.0.0.2-22", UNIX_EPOCH)]);
    let other = tree([(SEED, later), ("out/udp/10.0.0.2-PORT-10.0.0.1-53", later)]);
    let output = run(&["diff", path(&one), path(&other)]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        text(&output.stdout),
        "- in/tcp/10.0.0.1-PORT-10.0.0.2-22  1970-01-01T00:00:00Z\n\
         + out/udp/10.0.0.2-PORT-10.0.0.1-53  1970-01-01T00:00:01Z\n\
         3 connections: 1 new, 1 gone, 1 unchanged\n"
    );
    let output = run(&["diff", "--all", path(&one), path(&one)]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains(&format!("  {SEED}  1970")), "{output:?}");
}

#[test]
fn trees_and_files_that_cannot_be_read_are_one_line() {
    let empty = tempfile::tempdir().expect("a scratch directory");
    let root = tree([(SEED, UNIX_EPOCH)]);
    for (arguments, says) in [
        (&["rules", "-p", "/nosuch"][..], "cannot read /nosuch"),
        (&["rules", "-p", path(&empty)], "holds no tree"),
        (&["diff", path(&root), "/nosuch"], "cannot read /nosuch"),
        (&["audit", "-p", path(&root), "-r", "/nosuch"], "cannot read /nosuch"),
    ] {
        let output = run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(output.stdout.is_empty());
        let lines: Vec<_> = said.lines().filter(|line| !line.contains("warning")).collect();
        assert!(lines.len() == 1 && lines[0].contains(says), "{says}: {said}");
    }
}

#[test]
fn a_wrong_command_line_is_said_with_status_2() {
    for (arguments, says) in [
        (&["rules"][..], "--path"),
        (&["rules", "-p", "x", "--format", "ipfw"], "--format"),
        (&["rules", "-p", "x", "--aggregate", "24"], "--aggregate"),
        (&["rules", "-p", "x", "--since", "soon"], "--since"),
        (&["rules", "-p", "x", "-u", "0"], "--udp-in"),
        (&["rules", "-p", "x", "--device", "a\"b"], "--device"),
        (&["rules", "-p", "x", "--internal", "10.0.0.0/33"], "--internal"),
        (&["-p", "x", "rules", "-p", "x"], "rules"),
        (&["diff", "x"], "OTHER"),
        (&["audit", "-p", "x"], "--rules"),
        (&["flush"], "flush"),
    ] {
        let output = run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

/// Mixed as on a busy host: clients on the internet fold, hosts of the network do not.
#[test]
fn a_hundred_thousand_files_take_seconds() {
    const PATIENCE: Duration = Duration::from_secs(20);
    let root = large_tree();
    let start = Instant::now();
    rules(&root, &[]);
    let took = start.elapsed();
    assert!(took < PATIENCE, "{took:?}");
}
