//! Any bytes as a capture file, on the whole way that `-r` goes: libpcap, parser, flow cache,
//! tracker, tree.
//!
//! It does not know which files should come out; the tests do. It holds the program to not
//! panicking, not losing anything, and leaving a tree in which every file can be read back.

#![no_main]

use std::{
    collections::BTreeSet,
    env, fs, future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    time::Duration,
};

use conntrack::{
    connection::{Direction, Protocol},
    host::addresses::LocalAddrs,
    source::pcap::file::FileSource,
    tracker::{Settings, Tracker},
    tree::{self, Tree},
    watch::{agent::Agent, stats::Stats},
};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tokio::{
    runtime::{self, Runtime},
    sync::mpsc,
};

/// So few that a small capture is handed over in several batches.
const MAX_FLOWS: u32 = 4;
const INTERVAL: Duration = Duration::from_secs(1);

thread_local! {
    /// In memory where that is possible, and removed when this thread ends. A run that is killed
    /// leaves it behind.
    static SCRATCH: TempDir = scratch();
    static RUNTIME: Runtime =
        runtime::Builder::new_current_thread().enable_time().build().expect("a runtime takes little");
}

fuzz_target!(|bytes: &[u8]| SCRATCH.with(|scratch| check(bytes, scratch.path())));

fn check(bytes: &[u8], scratch: &Path) {
    let capture = scratch.join("capture");
    let root = scratch.join("tree");
    fs::write(&capture, bytes).expect("the scratch directory takes a file");
    let Some(stats) = read(&capture, &root) else { return };
    assert_eq!(stats.lost().total(), 0, "{stats}");
    let found = files(&root, &root);
    assert_eq!(found, read_back(&root), "every file stands for a connection");
    assert_eq!(stats.files.total(), found.len() as u64, "every file was counted");
    for path in found {
        fs::remove_file(root.join(path)).expect("the next input needs an empty tree");
    }
}

fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
    let directory = tempfile::Builder::new().prefix("conntrack-fuzz-").tempdir_in(parent);
    directory.expect("there is room for a scratch directory")
}

/// What `conntrack -r CAPTURE -p ROOT` does; `None` if that is no capture. A capture may also end
/// in an error, after which what was read up to there counts.
fn read(capture: &Path, root: &Path) -> Option<Stats> {
    let run = async {
        let tree = Tree::open_or_make(root).expect("the scratch directory takes a tree");
        let agent = Agent::new(Tracker::new(Settings::default(), []), tree, local());
        let mut agent = agent.expect("fixed addresses need no kernel");
        let policy = agent.policy();
        let source = FileSource::open(capture, INTERVAL, MAX_FLOWS, false, &policy).await.ok()?;
        let (_nobody, requests) = mpsc::channel(1);
        let (stats, _perhaps_broken) =
            agent.run(source, future::pending(), requests, &mut ()).await;
        Some(stats)
    };
    RUNTIME.with(|runtime| runtime.block_on(run))
}

/// The addresses that the corpus' captures were made on.
fn local() -> LocalAddrs {
    let v4 = Ipv4Addr::new(192, 168, 200, 230);
    let v6 = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x230);
    LocalAddrs::Fixed([IpAddr::from(v4), IpAddr::from(v6)].into())
}

/// Everything below `directory` that is no directory, as paths below `root`.
fn files(directory: &Path, root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).expect("a directory of the tree") {
        let path = entry.expect("an entry of the tree").path();
        if path.is_dir() {
            found.extend(files(&path, root));
        } else {
            let below = path.strip_prefix(root).expect("a path below the root");
            found.insert(below.to_str().expect("a name in ASCII").to_owned());
        }
    }
    found
}

/// The paths of the connections that the next run would find in the six directories.
fn read_back(root: &Path) -> BTreeSet<String> {
    let tree = Tree::open_or_make(root).expect("the tree is still there");
    let mut paths = BTreeSet::new();
    for direction in Direction::ALL {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let add = |connection| paths.extend([tree::path(&connection)]);
            tree.for_each(direction, protocol, add).expect("a directory of the tree");
        }
    }
    paths
}
