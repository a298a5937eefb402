//! Making files: the tree against the shortest loop that makes the same files, in turns.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::Instant,
};

use conntrack::{
    connection::{Connection, Direction, Host, Protocol, Sighting, SourcePort},
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
    for _ in 0..ROUNDS {
        bare.push(by_bare_loop(&names));
        tree.push(by_tree(connections.clone()));
    }
    let ratio = median(tree.iter().zip(&bare).map(|(tree, bare)| tree / bare));
    let [tree, bare] = [tree, bare].map(median);
    vec![Row {
        what: format!("making {} files", grouped(FILES.into())),
        measured: format!("{:.0} ms", tree * 1e3),
        baseline: format!("{:.0} ms (openat and close)", bare * 1e3),
        compared: format!("{ratio:.2} ×"),
        target: "≤ 1.2".into(),
        met: Some(ratio <= 1.2),
    }]
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
fn by_tree(connections: Vec<Connection>) -> f64 {
    let directory = tempdir().expect("a scratch directory");
    let mut tree = Tree::open_or_make(directory.path()).expect("a tree");
    let sightings = connections.into_iter().map(Sighting::opened).collect();
    let start = Instant::now();
    let shown = tree.show(sightings, LastSeen::Now);
    let took = start.elapsed().as_secs_f64();
    assert_eq!(shown.made.total(), u64::from(FILES));
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
