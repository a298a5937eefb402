//! Limits on files: `else` stops at them while `in` and `out` go on, a full file system is survived,
//! and every connection is either a file or counted as lost. Needs root.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use crate::support::{
    Files, PATIENCE,
    collector::{Collector, Ended, TOO_MANY_OPEN_FILES},
    frames::{Tcp, Wire, tcp, udp},
    lab::Lab,
    mount::Mount,
    usual::{EBPF, HOST, PCAP},
    wait_until,
};
use rustix::{
    fs::lgetxattr,
    io::Errno,
    process::{Pid, Resource, Rlimit, Signal, prlimit},
};

const FEW: &str = "inodes are free, so new files are not made in else";
const FEWEST: &str = "inodes are free, so no new files are made";
const ROOM_IN_ELSE: &str = "there is room again, new files are made in else again";
const FULL: &str = "warning: cannot make";
const ROOM: &str = "there is room again, files are made again";

fn server() -> SocketAddr {
    "10.0.0.1:443".parse().expect("an address with a port")
}

/// The n-th request to the host.
fn arriving(n: u16) -> Vec<u8> {
    let host = format!("{HOST}:{n}").parse().expect("an address with a port");
    tcp("10.0.0.1:40000".parse().expect("an address with a port"), host, Tcp::Syn)
}

/// The n-th request of the host.
fn leaving(n: u16) -> Vec<u8> {
    let host = format!("{HOST}:40000").parse().expect("an address with a port");
    tcp(host, SocketAddr::new(server().ip(), n), Tcp::Syn)
}

/// The n-th flow between others.
fn passing(n: u16) -> Vec<u8> {
    let [high, low] = n.to_be_bytes();
    udp(SocketAddr::from((Ipv4Addr::new(10, 1, high, low), 5353)), server())
}

/// Waits until this many flows are recorded in total; returns the losses by then.
fn lost_of(collector: &mut Collector, flows: u64) -> String {
    let wanted = format!("flows recorded: {flows}");
    assert!(wait_until(PATIENCE, || {
        collector.signal(Signal::USR1);
        collector.wait_for_line("flows recorded: ") == wanted
    }));
    collector.wait_for_line("lost: ")
}

/// Files below the tree's `directory`.
fn in_directory(files: &Files, directory: &str) -> usize {
    files.iter().filter(|path| path.starts_with(directory)).count()
}

/// Removes some of the files in `else/udp`.
fn remove_else(tree: &Path, number: usize) {
    let entries = fs::read_dir(tree.join("else/udp")).expect("a directory");
    for entry in entries.take(number) {
        fs::remove_file(entry.expect("an entry").path()).expect("removed");
    }
}

fn times_said(ended: &Ended, text: &str) -> usize {
    ended.said.lines().filter(|line| line.contains(text)).count()
}

/// Every connection was sent once, so each is a file or counted.
#[track_caller]
fn assert_nothing_unaccounted(ended: &Ended) {
    let made_and_lost = ended.reported("files made") + ended.reported("lost");
    assert_eq!(made_and_lost, ended.reported("flows recorded"), "{}", ended.said);
}

#[test]
fn else_leaves_inodes_to_in_and_out() {
    const INODES: u64 = 400;
    const FLOOR: u64 = 20;
    let mount = Mount::with_inodes(INODES);
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let mut collector = Collector::start_in(mount.path(), &lab.host, &[]);
    // On a tmpfs what the root says of the recording takes of the inodes too.
    let root = collector.path().to_owned();
    let says = || {
        let said = lgetxattr(&root, "user.conntrack.recording", &mut [0_u8; 0]);
        matches!(said, Ok(_) | Err(Errno::OPNOTSUPP))
    };
    assert!(wait_until(PATIENCE, says));
    let fit = mount.free_inodes() - FLOOR;
    (0..500).for_each(|n| wire.arrive(&passing(n)));
    collector.wait_for_line(FEW);
    let lost = lost_of(&mut collector, 500);
    let held_back = 500 - fit;
    let counted = format!("(else file held back by --min-free-inodes: {held_back})");
    assert!(lost.contains(&counted), "{counted} expected: {lost}");
    assert_eq!(mount.free_inodes(), FLOOR, "not one less, not one more");

    // The remaining inodes are for these.
    for n in 1..=8 {
        wire.arrive(&arriving(n));
        wire.leave(&leaving(n));
    }
    wire.arrive(&passing(501));
    lost_of(&mut collector, 517);
    assert_eq!(mount.free_inodes(), FLOOR - 16);

    // The last ones are for nobody.
    for n in 9..=12 {
        wire.arrive(&arriving(n));
        wire.leave(&leaving(n));
    }
    collector.wait_for_line(FEWEST);
    let lost = lost_of(&mut collector, 525);
    assert!(lost.contains("in or out file held back by --min-free-inodes: 8"), "{lost}");
    assert_eq!(mount.free_inodes(), FLOOR / 5, "not one less, not one more");

    remove_else(collector.path(), 100);
    (600..650).for_each(|n| wire.arrive(&passing(n)));
    collector.wait_for_line(ROOM_IN_ELSE);
    let ended = collector.stop();
    assert_eq!(in_directory(&ended.files, "in/tcp/"), 8);
    assert_eq!(in_directory(&ended.files, "out/tcp/"), 8);
    assert_eq!(in_directory(&ended.files, "else/udp/") as u64, fit - 100 + 50);
    assert_eq!(times_said(&ended, FEW), 1, "{}", ended.said);
    assert_nothing_unaccounted(&ended);
}

#[test]
fn a_full_file_system_is_said_once_counted_and_survived() {
    let mount = Mount::with_inodes(100);
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let without_floor = ["--min-free-inodes", "0"];
    let mut collector = Collector::start_in(mount.path(), &lab.host, &without_floor);
    let of_others = (0..mount.free_inodes()).map(|n| mount.path().join(n.to_string()));
    let of_others: Vec<_> = of_others.collect();
    for path in &of_others {
        fs::write(path, "").expect("there is room");
    }
    for n in 1..=5 {
        wire.arrive(&arriving(n));
        wire.leave(&leaving(n));
        wire.arrive(&passing(n));
        // Several batches: the message must not be repeated for each.
        let all = u64::from(n) * 3;
        let counted = format!("lost: {all} (no room for the file: {all})");
        assert_eq!(lost_of(&mut collector, all), counted);
    }
    assert!(collector.said_before(FULL) && collector.said_before("No space left on device"));

    for path in &of_others {
        fs::remove_file(path).expect("removed");
    }
    wire.arrive(&arriving(6));
    collector.wait_for_line(ROOM);
    let ended = collector.stop();
    assert_eq!(ended.files, [format!("in/tcp/10.0.0.1-PORT-{HOST}-6")].into());
    assert_eq!(times_said(&ended, FULL), 1, "{}", ended.said);
    assert_nothing_unaccounted(&ended);
    assert!(ended.status.success());
}

#[test]
fn else_stops_at_max_files() {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let arguments = ["--max-files", "10", "--interval", "10ms"];
    let mut collector = Collector::start(&lab.host, &arguments);
    (1..=4).for_each(|n| wire.leave(&leaving(n)));
    lost_of(&mut collector, 4);
    (0..20).for_each(|n| wire.arrive(&passing(n)));
    let line = collector.wait_for_line("the tree holds 10 files");
    assert!(line.contains("raise --max-files") && line.contains("in and out go on"), "{line}");
    let lost = lost_of(&mut collector, 24);
    assert_eq!(lost, "lost: 14 (else file held back by --max-files: 14)");
    (1..=4).for_each(|n| wire.arrive(&arriving(n)));
    lost_of(&mut collector, 28);
    assert_eq!(collector.files().len(), 14, "in goes on");

    // The tree is counted again only now and then.
    remove_else(collector.path(), 6);
    let comes_back = collector.path().join("else/udp/10.1.0.100-5353-10.0.0.1-443");
    assert!(wait_until(PATIENCE, || {
        wire.arrive(&passing(100));
        comes_back.exists()
    }));
    let ended = collector.stop();
    assert_eq!(times_said(&ended, "the tree holds 10 files"), 1, "{}", ended.said);
}

#[test]
fn in_and_out_stop_at_limits_of_their_own() {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let limits = ["--max-files-in", "5", "--max-files-out", "3"];
    let mut collector =
        Collector::start(&lab.host, &[&limits[..], &["--interval", "10ms"]].concat());
    (1..=8).for_each(|n| wire.arrive(&arriving(n)));
    let said = collector.wait_for_line("in holds 5 files");
    assert!(said.contains("raise --max-files-in; files that are there go on"), "{said}");
    (1..=8).for_each(|n| wire.leave(&leaving(n)));
    let said = collector.wait_for_line("out holds 3 files");
    assert!(said.contains("raise --max-files-out"), "{said}");
    (1..=4).for_each(|n| wire.arrive(&passing(n)));
    let counted = "lost: 8 (in file held back by --max-files-in: 3, out file held back by \
                   --max-files-out: 5)";
    assert_eq!(lost_of(&mut collector, 20), counted);
    assert_eq!(collector.files().len(), 5 + 3 + 4, "else goes on");

    // The files are counted anew only from time to time.
    let [first, other] = [arriving(1), arriving(100)];
    fs::remove_dir_all(collector.path().join("in/tcp")).expect("removed");
    let comes_back = collector.path().join(format!("in/tcp/10.0.0.1-PORT-{HOST}-100"));
    assert!(wait_until(PATIENCE, || {
        wire.arrive(&first);
        wire.arrive(&other);
        comes_back.exists()
    }));
    collector.wait_for_line("there is room again, new files are made in `in` again");
}

/// Datagrams to many ports of a few addresses, and from many addresses: whoever may send some can.
#[test]
fn a_local_user_cannot_use_up_the_inodes() {
    const INODES: u16 = 2_000;
    let (mount, lab) = (Mount::with_inodes(INODES.into()), Lab::new(&[HOST]));
    let mut wire = Wire::of(&lab);
    let mut collector = Collector::start_in(mount.path(), &lab.host, &[]);
    let host: SocketAddr = format!("{HOST}:5000").parse().expect("an address with a port");
    for n in 0..INODES {
        let [high, low] = n.to_be_bytes();
        wire.leave(&udp(host, SocketAddr::from((server().ip(), 10_000 + n))));
        wire.arrive(&udp(SocketAddr::from(([10, 2, high, low], 40_000)), host));
    }
    collector.wait_for_line(FEWEST);
    let lost = lost_of(&mut collector, u64::from(INODES) * 2);
    assert!(lost.contains("in or out file held back by --min-free-inodes: "), "{lost}");
    assert_eq!(mount.free_inodes(), u64::from(INODES) / 100, "1 % is nobody's");
    assert_nothing_unaccounted(&collector.stop());
}

/// Sets the limit of open files of a running process.
fn limit_descriptors(collector: &Collector, limit: u64) {
    let pid = i32::try_from(collector.id()).ok().and_then(Pid::from_raw);
    let limit = Rlimit { current: Some(limit), maximum: Some(4096) };
    prlimit(pid, Resource::Nofile, limit).expect("limited");
}

#[test]
fn descriptors_that_run_out_are_reported_once_and_it_goes_on() {
    for way in [EBPF, PCAP] {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let mut collector = Collector::start(&lab.host, way);
        limit_descriptors(&collector, 3);
        // Several batches.
        for n in 1..=5 {
            wire.leave(&leaving(n));
            lost_of(&mut collector, n.into());
        }
        assert!(collector.said_before(TOO_MANY_OPEN_FILES));
        limit_descriptors(&collector, 1024);
        wire.leave(&leaving(6));
        collector.wait_for_files(&[format!("out/tcp/{HOST}-PORT-10.0.0.1-6")].into());
        let ended = collector.stop();
        assert!(ended.status.success(), "{}", ended.said);
        let warnings = times_said(&ended, TOO_MANY_OPEN_FILES);
        assert!((1..=3).contains(&warnings), "{warnings}: {}", ended.said);
        assert_nothing_unaccounted(&ended);
    }
}
