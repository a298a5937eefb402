//! Shared by the tests: the program, trees as sets of paths, cases from `testdata/`.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    unused_macros,
    reason = "the benchmarks compile it too, and use a part of it"
)]

#[cfg(feature = "ebpf")]
pub mod bpf;
pub mod coarsening;
pub mod collector;
pub mod evidence;
pub mod exposition;
pub mod firewall;
pub mod frames;
pub mod ftp;
pub mod full;
pub mod generator;
pub mod lab;
pub mod manager;
pub mod mount;
pub mod pipe;
pub mod random;
pub mod refusal;
pub mod scan;
pub mod services;
pub mod slow;
pub mod terminal;
pub mod traced;
pub mod tun;
pub mod units;
pub mod usual;

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use conntrack::{
    connection::{Connection, Direction, Host, Protocol, SourcePort},
    tree,
};
use tempfile::TempDir;

/// The program under test.
pub fn conntrack() -> Command {
    Command::new(env!("CARGO_BIN_EXE_conntrack"))
}

/// A tree's files, as paths relative to its root.
pub type Files = BTreeSet<String>;

/// All files below `root`.
pub fn files(root: &Path) -> Files {
    let mut files = Files::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let relative = path.strip_prefix(root).expect("below the root");
                files.insert(relative.to_str().expect("UTF-8").to_owned());
            }
        }
    }
    files
}

/// Makes empty files below `root`, with their directories.
pub fn add_files(root: &Path, paths: &[impl AsRef<str>]) {
    for path in paths {
        let path = root.join(path.as_ref());
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, "").expect("written");
    }
}

/// A tree of 100,000 files. In memory: making them is not what is measured.
pub fn large_tree() -> TempDir {
    let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let root = root.expect("a scratch directory");
    let directory = root.path().join("in/tcp");
    fs::create_dir_all(&directory).expect("made");
    for number in 0..100_000_u32 {
        let a = number / 250 % 250;
        let b = number % 250;
        let name = format!("10.7.{a}.{b}-PORT-10.1.0.1-{}", 1_000 + number % 977);
        fs::write(directory.join(name), "").expect("made");
    }
    root
}

/// The file of a conversation between this host and somebody else.
pub fn path_of(
    (direction, protocol): (Direction, Protocol),
    host: IpAddr,
    remote: Host,
    port: u16,
) -> String {
    let host = Host::Address(host);
    let (source, destination) = match direction {
        Direction::Out => (host, remote),
        _ => (remote, host),
    };
    tree::path(&Connection {
        direction,
        protocol,
        source,
        source_port: SourcePort::Any,
        destination,
        destination_port: port,
    })
}

/// Panics with a line for each difference if the trees differ.
#[track_caller]
pub fn assert_same_tree(what: &str, expected: &Files, found: &Files) {
    let missing = expected.difference(found).map(|path| format!("- {path}\n"));
    let surplus = found.difference(expected).map(|path| format!("+ {path}\n"));
    let differences: String = missing.chain(surplus).collect();
    assert!(differences.is_empty(), "{what}: - is missing, + should not be there\n{differences}");
}

/// The deadline for anything that a test waits for, even on a busy or slow machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `condition` holds; returns whether it did before the deadline.
#[must_use]
pub fn wait_until(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < deadline {
        if condition() {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    condition()
}

/// A capture with its arguments and its tree.
pub struct Case {
    pub name: String,
    pub capture: PathBuf,
    pub arguments: Vec<String>,
    pub tree: Files,
}

impl Case {
    /// The case of this name; `<capture>+<variant>` is a capture with other arguments.
    pub fn named(name: &str) -> Self {
        let directory = testdata();
        let stem = name.split('+').next().expect("split yields one");
        let capture = ["pcap", "pcapng"]
            .map(|ending| directory.join(format!("{stem}.{ending}")))
            .into_iter()
            .find(|path| path.exists());
        let lines = |ending: &str| {
            let path = directory.join(format!("{name}.{ending}"));
            let text = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}", path.display()));
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let is_argument = |line: &String| !line.is_empty() && !line.starts_with('#');
        Self {
            name: name.to_owned(),
            capture: capture.unwrap_or_else(|| panic!("{name} has no capture")),
            arguments: lines("args").into_iter().filter(is_argument).collect(),
            tree: lines("tree").into_iter().collect(),
        }
    }

    /// Every case.
    pub fn all() -> Vec<Self> {
        let names = fs::read_dir(testdata()).expect("testdata").filter_map(|entry| {
            let name = entry.expect("an entry").file_name();
            name.to_str().expect("UTF-8").strip_suffix(".tree").map(str::to_owned)
        });
        names.collect::<BTreeSet<_>>().iter().map(|name| Self::named(name)).collect()
    }

    /// The `--local` addresses, and the other arguments.
    pub fn split_arguments(&self) -> (Vec<String>, Vec<String>) {
        let mut local = Vec::new();
        let mut others = Vec::new();
        let mut arguments = self.arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == "--local" {
                local.push(arguments.next().expect("an address").clone());
            } else {
                others.push(argument.clone());
            }
        }
        (local, others)
    }
}

/// The repository's captures.
pub fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata")
}
