//! Making files: the tree against the shortest loop that makes the same files, and with evidence against
//! without, in turns.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::Instant,
};

use conntrack::{
    connection::{Connection, Direction, Evidence, Host, Protocol, Sighting, SourcePort},
    tree::{LastSeen, Tree, file_name},
};
use rustix::fs::{Mode, OFlags, openat};
use tempfile::tempdir;

use super::{
    numbers::{grouped, median},
    table::Row,
};

const FILES: u32 = 100_000;
const ROUNDS: usize = 5;

pub(crate) fn measure() -> Vec<Row> {
    let connections: Vec<_> = (0..FILES).map(connection).collect();
    let mut names: Vec<_> = connections.iter().map(file_name).collect();
    // The tree sorts them too, and that time counts.
    names.sort_unstable();
    let mut tree = Vec::new();
    let mut bare = Vec::new();
    let mut evidence = Vec::new();
    for _ in 0..ROUNDS {
        bare.push(by_bare_loop(&names));
        tree.push(by_tree(&connections, None));
        evidence.push(by_tree(&connections, Some(Evidence::Answered)));
    }
    let files = grouped(FILES.into());
    vec![
        row(format!("making {files} files"), &tree, (&bare, "openat and close"), 1.2),
        row(format!("making {files} files with evidence"), &evidence, (&tree, "without"), 1.5),
    ]
}

/// Seconds of what is measured and of what it is compared with, which came in turns.
fn row(what: String, measured: &[f64], (baseline, name): (&[f64], &str), target: f64) -> Row {
    let ratio = median(measured.iter().zip(baseline).map(|(one, other)| one / other));
    let [measured, baseline] = [measured, baseline].map(|it| median(it.iter().copied()) * 1e3);
    Row {
        what,
        measured: format!("{measured:.0} ms"),
        baseline: format!("{baseline:.0} ms ({name})"),
        compared: format!("{ratio:.2} ×"),
        target: format!("≤ {target}"),
        met: Some(ratio <= target),
    }
}

fn connection(number: u32) -> Connection {
    let [_, a, b, c] = number.wrapping_mul(0x9e_37b1).to_be_bytes();
    Connection {
        direction: Direction::Else,
        protocol: Protocol::Udp,
        source: Host::Address(IpAddr::from([10, a, b, c])),
        source_port: SourcePort::Number(40_000),
        destination: Host::Address(IpAddr::V4(Ipv4Addr::new(172, 16, 0, 1))),
        destination_port: 5000,
    }
}

/// Seconds.
fn by_tree(connections: &[Connection], evidence: Option<Evidence>) -> f64 {
    let directory = tempdir().expect("a scratch directory");
    let mut tree = Tree::open_or_make(directory.path()).expect("a tree");
    let sighting = |it: &Connection| Sighting { evidence, ..Sighting::opened(*it) };
    let sightings = connections.iter().map(sighting).collect();
    let start = Instant::now();
    let shown = tree.show(sightings, LastSeen::Now);
    let took = start.elapsed().as_secs_f64();
    assert_eq!(shown.made.total(), u64::from(FILES));
    let unkept = shown.evidence.first_error;
    assert!(unkept.is_none(), "{unkept:?}");
    assert_eq!(entries(&directory.path().join("else/udp")), FILES as usize);
    took
}

/// Seconds.
fn by_bare_loop(names: &[String]) -> f64 {
    let directory = tempdir().expect("a scratch directory");
    let handle = File::open(directory.path()).expect("a directory");
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let start = Instant::now();
    for name in names {
        drop(openat(&handle, name.as_str(), flags, Mode::from_raw_mode(0o644)).expect("made"));
    }
    start.elapsed().as_secs_f64()
}

fn entries(directory: &Path) -> usize {
    directory.read_dir().expect("a directory").count()
}
