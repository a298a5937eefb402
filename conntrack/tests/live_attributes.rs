//! What came of connections, on file systems that take extended attributes, take none, or have no room
//! for them. Needs root, to mount them.

use std::{
    fs::{self, File},
    path::Path,
    process::Output,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use conntrack::{
    connection::{Connection, Direction, Evidence, Host, Protocol, Sighting, SourcePort},
    privilege::{LandlockStatus, Peers, limit_reach},
    record::Outcome,
    recording::Recording,
    tree::{LastSeen, Provenance, Shown, Tree},
};
use rustix::{
    fs::{fgetxattr, lgetxattr},
    io::Errno,
    process::Signal,
};

use crate::support::{
    Case, assert_same_tree,
    collector::Collector,
    conntrack, files,
    lab::{DEVICE, Lab},
    mount::Mount,
    usual::{EBPF, HOST, PCAP},
};

/// What was asked of this port.
fn incoming(port: u16) -> Connection {
    Connection {
        direction: Direction::In,
        protocol: Protocol::Tcp,
        source: Host::Internet,
        source_port: SourcePort::Any,
        destination: Host::Address([192, 168, 200, 230].into()),
        destination_port: port,
    }
}

fn with(evidence: Evidence, port: u16) -> Sighting {
    Sighting { evidence: Some(evidence), ..Sighting::opened(incoming(port)) }
}

/// What answered it, and nothing of its own.
fn only(evidence: Evidence, port: u16) -> Sighting {
    Sighting { has_packet: false, opens: false, ..with(evidence, port) }
}

fn show(tree: &mut Tree, sightings: impl IntoIterator<Item = Sighting>) -> Shown {
    tree.show(sightings.into_iter().collect(), LastSeen::Now)
}

/// The word of a connection's file.
fn word(root: &Path, port: u16) -> Option<String> {
    let mut word = [0; 64];
    let path = root.join(conntrack::tree::path(&incoming(port)));
    let length = lgetxattr(path, "user.conntrack.evidence", &mut word).ok()?;
    Some(String::from_utf8_lossy(&word[..length]).into_owned())
}

/// More files than one block of anything holds.
const PORTS: std::ops::Range<u16> = 1..2_000;

#[track_caller]
fn check(mount: &Mount) {
    let root = mount.tree();
    let mut tree = Tree::open_or_make(&root).expect("a tree");
    tree.set_provenance(&Provenance::default()).expect("stated");
    let words = Evidence::ALL.into_iter().cycle();
    let all = PORTS.zip(words).map(|(port, evidence)| with(evidence, port));
    let shown = show(&mut tree, all.clone());
    assert!(shown.evidence.first_error.is_none(), "{:?}", shown.evidence);
    assert_eq!(shown.made.total(), PORTS.len() as u64);
    for sighting in all {
        let port = sighting.connection.destination_port;
        assert_eq!(word(&root, port).as_deref(), sighting.evidence.map(Evidence::as_str));
    }
    // In another run, stronger words replace weaker ones, and none the strongest.
    let mut tree = Tree::open_or_make(&root).expect("a tree");
    let shown = show(&mut tree, PORTS.map(|port| only(Evidence::Served, port)));
    assert!(shown.evidence.first_error.is_none(), "{:?}", shown.evidence);
    for port in PORTS {
        let expected = if port % 4 == 0 { "answered" } else { "served" };
        assert_eq!(word(&root, port).as_deref(), Some(expected), "{port}");
    }
    assert_eq!(Provenance::of(&root).expect("read"), Some(Provenance::default()));
    check_reading(mount, &mut tree);
}

/// What was written is read again where nothing can be written any more.
#[track_caller]
fn check_reading(mount: &Mount, tree: &mut Tree) {
    let provenance = Provenance { since: Some(UNIX_EPOCH), ..Provenance::default() };
    tree.set_provenance(&provenance).expect("stated");
    mount.make_read_only();
    let recording = Recording::read(&mount.tree()).expect("a tree");
    assert_eq!(recording.provenance, Some(provenance));
    assert_eq!(recording.records.len(), PORTS.len());
    for record in &recording.records {
        // Over TCP there is no `served`, so that is unknown, and said.
        let is_answered = record.connection.destination_port % 4 == 0;
        let expected =
            if is_answered { Outcome::Seen(Evidence::Answered) } else { Outcome::Unknown };
        assert_eq!(record.outcome, expected, "{record:?}");
    }
    let unknown = recording.records.iter().filter(|it| it.outcome == Outcome::Unknown).count();
    assert_eq!(recording.unreadable.len(), unknown);
}

#[test]
fn ext4() {
    if let Some(mount) = Mount::on_image("ext4", 64, &["-N", "4000"]) {
        check(&mount);
    }
}

#[test]
fn ext4_with_small_inodes() {
    if let Some(mount) = Mount::on_image("ext4", 64, &["-N", "4000", "-I", "128"]) {
        check(&mount);
    }
}

#[test]
fn xfs() {
    if let Some(mount) = Mount::on_image("xfs", 320, &[]) {
        check(&mount);
    }
}

#[test]
fn btrfs() {
    if let Some(mount) = Mount::on_image("btrfs", 128, &[]) {
        check(&mount);
    }
}

/// Whether there are any of users here; before Linux 6.6 tmpfs has none.
fn takes_attributes(directory: &Path) -> bool {
    let probe = File::open(directory).expect("a directory");
    let found = fgetxattr(&probe, "user.conntrack.evidence", &mut [0_u8; 0]);
    if found == Err(Errno::NOTSUP) {
        eprintln!("left out: {} takes no extended attributes", directory.display());
    }
    found != Err(Errno::NOTSUP)
}

#[test]
fn tmpfs() {
    let mount = Mount::in_memory("tmpfs", "size=64m");
    if takes_attributes(mount.path()) {
        check(&mount);
    }
}

#[test]
fn landlock_is_no_matter() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    if !takes_attributes(scratch.path()) {
        return;
    }
    let root = scratch.path().join("tree");
    let mut tree = Tree::open_or_make(&root).expect("a tree");
    let reach = tree.reach().expect("a directory");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let status = limit_reach(&reach, &[], Peers::Nobody).expect("no refusal");
            if !matches!(status, LandlockStatus::Available { .. }) {
                eprintln!("this kernel has no Landlock");
            }
            tree.set_provenance(&Provenance::default()).expect("stated");
            let shown = show(&mut tree, [with(Evidence::Refused, 1), with(Evidence::Served, 2)]);
            assert!(shown.evidence.first_error.is_none(), "{:?}", shown.evidence);
            show(&mut tree, [only(Evidence::Answered, 1)]);
        });
    });
    assert_eq!(
        [1, 2].map(|port| word(&root, port)),
        ["answered", "served"].map(|it| Some(it.into()))
    );
    assert!(Provenance::of(&root).expect("read").is_some());
}

#[test]
fn without_room_for_attributes_files_are_made_and_it_is_over_when_there_is_some() {
    // Attributes take blocks of their own there, and so does what fills it up.
    let options = ["-N", "4000", "-I", "128", "-m", "0"];
    let Some(mount) = Mount::on_image("ext4", 8, &options) else { return };
    let root = mount.tree();
    let mut tree = Tree::open_or_make(&root).expect("a tree");
    show(&mut tree, [with(Evidence::Refused, 1)]);
    let filler = mount.path().join("filler");
    fill(&filler);
    let shown = show(&mut tree, [with(Evidence::Answered, 2), with(Evidence::Served, 3)]);
    assert_eq!((shown.made.total(), shown.not_shown()), (2, 0));
    assert_eq!(shown.evidence.connections, 2);
    assert!(!shown.evidence.is_over);
    let error = shown.evidence.first_error.expect("an error").to_string();
    assert!(error.contains("make room"), "{error}");
    assert_eq!([1, 2, 3].map(|port| word(&root, port)), [Some("refused".into()), None, None]);

    fs::remove_file(&filler).expect("removed");
    // Blocks are free again once the journal has them.
    let root_directory = File::open(mount.path()).expect("a directory");
    rustix::fs::syncfs(&root_directory).expect("synced");
    let shown = show(&mut tree, [only(Evidence::Answered, 1), with(Evidence::Served, 2)]);
    assert!(shown.evidence.first_error.is_none() && shown.evidence.is_over);
    assert_eq!(
        [1, 2].map(|port| word(&root, port)),
        ["answered", "served"].map(|it| Some(it.into()))
    );
}

/// Takes all the room that there is.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = File::create(path).expect("made");
    for size in [1 << 16, 1 << 10] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    // Some of it may only have been promised.
    let _full = file.sync_all();
}

#[test]
fn a_file_system_that_takes_nothing_any_more_is_an_error_and_no_end() {
    let mount = Mount::in_memory("tmpfs", "size=16m");
    let mut tree = Tree::open_or_make(&mount.tree()).expect("a tree");
    show(&mut tree, [Sighting::opened(incoming(1))]);
    mount.make_read_only();
    let shown = show(&mut tree, [only(Evidence::Answered, 1), with(Evidence::Answered, 2)]);
    assert_eq!(shown.not_shown(), 1);
    assert!(shown.evidence.connections >= 1 && shown.evidence.first_error.is_some());
}

#[test]
fn where_there_are_none_that_is_said_once_and_the_tree_is_the_same() {
    let mount = Mount::in_memory("ramfs", "mode=0700");
    let case = Case::named("udp-replies");
    let read = || -> Output {
        let mut conntrack = conntrack();
        conntrack.arg("-r").arg(&case.capture).args(&case.arguments).args(["--interval", "10ms"]);
        conntrack.arg("-p").arg(mount.tree()).output().expect("it runs")
    };
    let output = read();
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "{said}");
    let about = said.lines().filter(|line| line.contains("evidence")).collect::<Vec<_>>();
    let [line] = about[..] else { panic!("{said}") };
    assert!(line.contains("ext4, xfs, btrfs") && line.contains("all the same"), "{line}");
    assert!(said.contains("lost: 0"), "{said}");
    assert_same_tree(&case.name, &case.tree, &files(&mount.tree()));
}

/// Reads captures into one tree, one after the other; what it states then.
fn read_in(root: &Path, captures: &[&str]) -> Provenance {
    for name in captures {
        let case = Case::named(name);
        let mut conntrack = conntrack();
        conntrack.arg("-q").arg("-r").arg(&case.capture).args(&case.arguments);
        assert!(conntrack.arg("-p").arg(root).status().expect("it runs").success());
    }
    Provenance::of(root).expect("read").expect("stated")
}

#[test]
fn captures_state_evidence_only_where_somebody_answers() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    if !takes_attributes(scratch.path()) {
        return;
    }
    let after = |tree: &str, captures: &[&str]| read_in(&scratch.path().join(tree), captures);
    let answered = after("answered", &["tcp-opening"]);
    assert_eq!((answered.devices, answered.mode.as_str()), (vec![], "file"));
    assert_eq!((answered.since, answered.lost), (Some(UNIX_EPOCH), Some(0)));
    assert_eq!(after("filtered", &["fragments"]).since, None);
    assert_eq!(after("udp", &["udp-replies"]).since, None, "UDP may be all that was left");
    assert_eq!(after("both", &["tcp-opening", "seed"]).since, Some(UNIX_EPOCH));
    assert_eq!(after("unknown", &["tcp-opening", "fragments"]).since, None);
    assert_eq!(
        after("old", &["fragments", "tcp-opening"]).since,
        None,
        "what was there is unknown"
    );
}

#[test]
fn a_device_s_run_states_how_it_records_and_since_when_also_after_others() {
    let lab = Lab::new(&[HOST]);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    if !takes_attributes(scratch.path()) {
        return;
    }
    let path = scratch.path().to_owned();
    let stated = || Provenance::of(&path).expect("read").expect("stated");
    let start = SystemTime::now();
    let arguments = ["--learn", "--skip-else", "-u", "514", "--internal", "100.64.0.0/10"];
    let collector =
        Collector::start_with(&lab.host, DEVICE, scratch, &[EBPF, &arguments[..]].concat());
    let ports = lab.host.run("cat", &["/proc/sys/net/ipv4/ip_local_port_range"]);
    let ports: Vec<u16> = ports.split_whitespace().map(|it| it.parse().expect("a port")).collect();
    let first = stated();
    let since = first.since.expect("since when");
    assert!(since <= SystemTime::now() && since + Duration::from_secs(1) >= start);
    assert_eq!(first.devices, [DEVICE]);
    let host = lab.host.run("uname", &["-n"]);
    assert_eq!(first.host.as_deref(), Some(host.trim()));
    assert_eq!(first.mode, "ebpf");
    assert!(first.hook.contains("TC"), "{}", first.hook);
    let flags = ["--existing", "--udp-direction=pairs", "--skip-else", "--internal=100.64.0.0/10"];
    assert_eq!(first.flags, flags);
    assert_eq!(first.ip_local_port_range, Some((ports[0], ports[1])));
    assert_eq!((first.udp_in, first.lost), (vec![514], Some(0)));

    // Killed, and started again another way.
    collector.signal(Signal::KILL);
    let again = collector.start_beside(&lab.host, PCAP);
    let second = stated();
    assert_eq!((second.since, second.mode.as_str()), (Some(since), "pcap"));
    assert!(second.flags.is_empty() && second.udp_in.is_empty());
    again.stop();
    assert_eq!(stated(), second);
}
