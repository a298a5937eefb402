//! The directory that the tree stands in: moved away, removed and made again, become a link, with
//! Landlock and without. Needs root.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::PathBuf,
};

use crate::support::{
    collector::Collector,
    frames::Wire,
    lab::Lab,
    refusal::refuse,
    usual::{EBPF, HOST, request},
};
use conntrack::privilege::{LandlockStatus, Peers, limit_reach};
use rustix::process::Signal;
use tempfile::TempDir;

/// The id of a user that every machine has and that owns nothing.
const NOBODY: u32 = 65534;

/// Whether the kernel limits what a process does to files. Where it is known to be able to, the
/// environment says that there is no excuse.
fn has_landlock() -> bool {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let directory = fs::File::open(scratch.path()).expect("open");
    let limited = || limit_reach(directory, &[], Peers::Nobody).expect("no refusal");
    let status = std::thread::spawn(limited).join().expect("no panic");
    let has_landlock = matches!(status, LandlockStatus::Available { .. });
    assert!(has_landlock || env::var_os("CONNTRACK_TEST_EXCUSES").is_none(), "no Landlock");
    has_landlock
}

/// The parent of a tree, where it is moved to, and another directory.
struct Around {
    _scratch: TempDir,
    parent: PathBuf,
    moved: PathBuf,
    elsewhere: PathBuf,
}

impl Around {
    fn new() -> Self {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let [parent, moved, elsewhere] =
            ["parent", "moved", "elsewhere"].map(|name| scratch.path().join(name));
        fs::create_dir(&parent).expect("made");
        fs::create_dir(&elsewhere).expect("made");
        Self { _scratch: scratch, parent, moved, elsewhere }
    }
}

/// A kernel without Landlock, or one that lacks openat2(2) too.
fn without_landlock(lacks_openat2: bool) {
    const ENOSYS: u32 = 38;
    refuse(libc::SYS_landlock_create_ruleset, ENOSYS, vec![]);
    if lacks_openat2 {
        refuse(libc::SYS_openat2, ENOSYS, vec![]);
    }
}

/// Has the parent become a link, which may not be followed, and then again what it was.
fn link_in_place_of_the_parent(lab: &Lab, around: &Around, mut collector: Collector) {
    let mut wire = Wire::of(lab);
    fs::rename(&around.parent, &around.moved).expect("moved");
    symlink(&around.elsewhere, &around.parent).expect("linked");
    wire.leave(&request(443).0);
    collector.wait_for_line("warning: cannot make");
    assert_eq!(fs::read_dir(&around.elsewhere).expect("read").count(), 0, "nothing is made there");
    // What is out of its reach is counted, and within it goes on.
    fs::remove_file(&around.parent).expect("removed");
    fs::rename(&around.moved, &around.parent).expect("moved back");
    let (frame, expected) = request(444);
    wire.leave(&frame);
    collector.wait_for_files(&expected);
    let ended = collector.stop_by(Signal::TERM);
    assert!(ended.reported("lost") >= 1, "{}", ended.said);
}

#[test]
fn a_parent_that_becomes_a_link_leads_nowhere() {
    let lab = Lab::new(&[HOST]);
    let around = Around::new();
    let collector = Collector::start_in(&around.parent, &lab.host, EBPF);
    link_in_place_of_the_parent(&lab, &around, collector);
    for lacks_openat2 in [false, true] {
        let around = Around::new();
        let collector = lab.host.enter(|| {
            without_landlock(lacks_openat2);
            Collector::start_in(&around.parent, &lab.host, EBPF)
        });
        link_in_place_of_the_parent(&lab, &around, collector);
    }
}

#[test]
fn a_parent_that_is_made_again_is_out_of_reach_and_that_is_said() {
    if !has_landlock() {
        eprintln!("this kernel has no Landlock");
        return;
    }
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let around = Around::new();
    let mut collector = Collector::start_in(&around.parent, &lab.host, EBPF);
    fs::remove_dir_all(&around.parent).expect("removed");
    wire.leave(&request(443).0);
    let line = collector.wait_for_line("warning: cannot make");
    let parent = around.parent.display();
    let says = format!("{parent} is gone; put it back, or make it and start conntrack again");
    assert!(line.contains(&says), "{line}");
    fs::create_dir(&around.parent).expect("made again");
    let mut port = 443;
    let is_counted =
        |said: &str| said.contains("file could not be made: ") && !said.contains("made: 1)");
    loop {
        port += 1;
        wire.leave(&request(port).0);
        collector.signal(Signal::USR1);
        if is_counted(&collector.wait_for_line("lost: ")) {
            break;
        }
    }
    assert_eq!(fs::read_dir(&around.parent).expect("read").count(), 0);
    drop(collector);

    // As the first thing that happens.
    let mut collector = Collector::start_in(&around.parent, &lab.host, EBPF);
    fs::remove_dir_all(&around.parent).expect("removed");
    fs::create_dir(&around.parent).expect("made again");
    wire.leave(&request(443).0);
    let line = collector.wait_for_line("warning: cannot make");
    let says = format!("{parent} is another directory than at the start");
    assert!(line.contains(&says) && line.contains("start it again"), "{line}");
}

#[test]
fn without_landlock_a_parent_that_is_made_again_has_a_tree_again() {
    for lacks_openat2 in [false, true] {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let around = Around::new();
        let mut collector = lab.host.enter(|| {
            without_landlock(lacks_openat2);
            Collector::start_in(&around.parent, &lab.host, EBPF)
        });
        fs::remove_dir_all(&around.parent).expect("removed");
        wire.leave(&request(443).0);
        let line = collector.wait_for_line("warning: cannot make");
        assert!(line.contains("does not exist; make it first"), "{line}");
        fs::create_dir(&around.parent).expect("made again");
        let (frame, expected) = request(444);
        wire.leave(&frame);
        collector.wait_for_files(&expected);
    }
}

/// Where the parent is not ours to write, the tree itself is all that can be written.
#[test]
fn a_tree_that_is_made_again_by_others_is_out_of_reach_and_that_is_said() {
    if !has_landlock() {
        eprintln!("this kernel has no Landlock");
        return;
    }
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let around = Around::new();
    let tree = around.parent.join("tree");
    let make = || {
        fs::create_dir(&tree).expect("made");
        chown(&tree, Some(NOBODY), Some(NOBODY)).expect("given away");
    };
    let scratch = around.parent.parent().expect("the scratch directory");
    fs::set_permissions(scratch, fs::Permissions::from_mode(0o755)).expect("opened up");
    make();
    let mut collector = Collector::start_at(&tree, &lab.host, &["--user", "nobody"]);
    fs::remove_dir_all(&tree).expect("removed");
    make();
    wire.leave(&request(443).0);
    let line = collector.wait_for_line("warning: cannot make");
    let says = format!("{} is another directory than at the start", tree.display());
    assert!(line.contains(&says), "{line}");
}
