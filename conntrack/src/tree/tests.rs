//! The tree on a real file system, in a directory of its own.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    time::{Duration, UNIX_EPOCH},
};

use super::*;

mod evidence;

const NAME: &str = "192.168.200.230-PORT-INTERNET-443";

fn connection() -> Connection {
    name::connection(Direction::Out, Protocol::Tcp, NAME).expect("a name of ours")
}

struct Fixture {
    scratch: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { scratch: tempfile::tempdir().expect("a scratch directory") }
    }

    fn root(&self) -> PathBuf {
        self.scratch.path().join("tree")
    }

    fn file(&self) -> PathBuf {
        self.root().join("out/tcp").join(NAME)
    }

    fn tree(&self) -> Tree {
        Tree::open_or_make(&self.root()).expect("a tree")
    }

    fn refusal(&self) -> String {
        Tree::open_or_make(&self.root()).expect_err("refused").to_string()
    }
}

fn opened<const N: usize>(connections: [Connection; N]) -> Vec<Sighting> {
    connections.map(Sighting::opened).to_vec()
}

fn show(tree: &mut Tree, last_seen: LastSeen) -> Shown {
    tree.show(opened([connection()]), last_seen)
}

fn at(seconds: u64) -> LastSeen {
    LastSeen::At(UNIX_EPOCH + Duration::from_secs(seconds))
}

#[test]
fn all_six_directories_are_made_at_start() {
    let fixture = Fixture::new();
    fixture.tree();
    for directory in ["in/tcp", "in/udp", "out/tcp", "out/udp", "else/tcp", "else/udp"] {
        assert!(fixture.root().join(directory).is_dir(), "{directory}");
    }
    fixture.tree(); // and a tree that is there is taken as it is
}

#[test]
fn a_connection_is_an_empty_file() {
    let fixture = Fixture::new();
    assert_eq!(show(&mut fixture.tree(), LastSeen::Now).made.total(), 1);
    let metadata = fs::symlink_metadata(fixture.file()).expect("a file");
    assert!(metadata.is_file());
    assert_eq!(metadata.len(), 0);
}

#[test]
fn showing_again_sets_the_time_and_makes_nothing() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    assert_eq!(show(&mut tree, at(1_000)).made.total(), 1);
    for seconds in [2_000, 3_000] {
        assert_eq!(show(&mut tree, at(seconds)).made.total(), 0);
        let modified = fs::metadata(fixture.file()).expect("a file").mtime();
        assert_eq!(u64::try_from(modified), Ok(seconds));
    }
    show(&mut tree, LastSeen::Now);
    let age = fs::metadata(fixture.file()).expect("a file").modified().expect("a time").elapsed();
    assert!(age.expect("no time travel") < Duration::from_mins(1));
}

#[test]
fn a_capture_never_sets_a_time_back() {
    let fixture = Fixture::new();
    show(&mut fixture.tree(), at(2_000));
    show(&mut fixture.tree(), at(1_000));
    assert_eq!(fs::metadata(fixture.file()).expect("a file").mtime(), 2_000);
}

#[test]
fn what_is_in_a_file_stays() {
    let fixture = Fixture::new();
    fixture.tree();
    fs::write(fixture.file(), "a note").expect("written");
    assert_eq!(show(&mut fixture.tree(), LastSeen::Now).made.total(), 0);
    assert_eq!(fs::read_to_string(fixture.file()).expect("read"), "a note");
}

#[test]
fn what_was_removed_comes_back() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    show(&mut tree, LastSeen::Now);
    fs::remove_file(fixture.file()).expect("removed");
    assert_eq!(show(&mut tree, LastSeen::Now).made.total(), 1);
    fs::remove_dir_all(fixture.root().join("out")).expect("removed");
    assert_eq!(show(&mut tree, LastSeen::Now).made.total(), 1);
    fs::remove_dir_all(fixture.root()).expect("removed");
    assert_eq!(show(&mut tree, LastSeen::Now).made.total(), 1);
    assert!(fixture.file().is_file());
}

#[test]
fn a_directory_that_was_moved_away_is_not_written_to() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    show(&mut tree, LastSeen::Now);
    let elsewhere = fixture.scratch.path().join("elsewhere");
    fs::rename(fixture.root().join("out/tcp"), &elsewhere).expect("moved");
    fs::remove_file(elsewhere.join(NAME)).expect("removed");
    assert_eq!(show(&mut tree, LastSeen::Now).made.total(), 1);
    assert!(fixture.file().is_file());
    assert!(!elsewhere.join(NAME).exists());
}

#[test]
fn links_are_refused_and_not_followed() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    let target = fixture.scratch.path().join("target");
    fs::write(&target, "precious").expect("written");
    let before = fs::metadata(&target).expect("a file").modified().expect("a time");
    symlink(&target, fixture.file()).expect("linked");

    let shown = show(&mut tree, at(4_000_000_000));
    assert_eq!((shown.made.total(), shown.not_shown()), (0, 1));
    let error = shown.obstacle(Cause::Refused).first_error.as_ref();
    let error = error.expect("an error").to_string();
    assert!(error.contains(NAME) && error.contains("symbolic link"), "{error}");
    assert_eq!(fs::read_to_string(&target).expect("read"), "precious");
    assert_eq!(fs::metadata(&target).expect("a file").modified().expect("a time"), before);
}

/// Changes a directory until that shows in its time, which on older kernels moves in steps of
/// milliseconds.
fn change(directory: &Path, mut change: impl FnMut()) {
    let changed = || {
        let metadata = fs::metadata(directory).expect("a directory");
        (metadata.ctime(), metadata.ctime_nsec())
    };
    let before = changed();
    while changed() == before {
        change();
    }
}

#[test]
fn what_takes_a_file_s_place_later_is_refused_too() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    assert_eq!(show(&mut tree, LastSeen::Now).made.total(), 1);
    let directory = fixture.root().join("out/tcp");
    change(&directory, || {
        fs::remove_file(fixture.file()).expect("removed");
        symlink("/etc/passwd", fixture.file()).expect("linked");
    });
    assert_eq!(show(&mut tree, LastSeen::Now).not_shown(), 1);
    assert_eq!(show(&mut tree, LastSeen::Now).not_shown(), 1, "and stays so");
    fs::remove_file(fixture.file()).expect("removed");
    fs::create_dir(fixture.file()).expect("made");
    assert_eq!(show(&mut tree, LastSeen::Now).not_shown(), 1);
}

#[test]
fn a_link_in_a_known_file_s_place_is_not_followed_even_if_nobody_noticed() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    show(&mut tree, LastSeen::Now);
    let target = fixture.scratch.path().join("target");
    fs::write(&target, "precious").expect("written");
    let before = fs::metadata(&target).expect("a file").modified().expect("a time");
    fs::remove_file(fixture.file()).expect("removed");
    symlink(&target, fixture.file()).expect("linked");
    // As if it had happened in the moment in which the directory was left.
    let place = Place::of(&fixture.root(), Owners::ours()).expect("a place");
    let root = place.open_or_make_root().expect("the root");
    let directory = root.below(Direction::Out, Protocol::Tcp).expect("a directory");
    directory.show(NAME, true, None, LastSeen::Now).expect("taken for the file");
    assert_eq!(fs::metadata(&target).expect("a file").modified().expect("a time"), before);
}

#[test]
fn a_link_in_the_place_of_a_directory_is_refused() {
    let fixture = Fixture::new();
    let target = tempfile::tempdir().expect("a scratch directory");
    symlink(target.path(), fixture.root()).expect("linked");
    assert!(fixture.refusal().contains("symbolic link"));
    // A trailing slash or dot does not make it one that is followed.
    let error = Tree::open_or_make(&fixture.root().join(".")).expect_err("refused");
    assert!(matches!(error, TreeError::Occupied { .. }));

    fs::remove_file(fixture.root()).expect("removed");
    fs::create_dir(fixture.root()).expect("made");
    symlink(target.path(), fixture.root().join("out")).expect("linked");
    assert!(fixture.refusal().contains("out is a symbolic link"));
    assert_eq!(fs::read_dir(target.path()).expect("read").count(), 0);
}

#[test]
fn a_missing_parent_is_named() {
    let fixture = Fixture::new();
    let missing = fixture.scratch.path().join("missing");
    let error = Tree::open_or_make(&missing.join("a/tree")).expect_err("refused").to_string();
    assert!(
        error.ends_with(&format!("{} does not exist; make it first", missing.display())),
        "{error}"
    );
    assert!(!missing.exists());

    let error = Tree::open_or_make(Path::new("no-such-directory/a/tree")).expect_err("refused");
    let error = error.to_string();
    assert!(error.ends_with(": no-such-directory does not exist; make it first"), "{error}");
}

#[test]
fn a_file_in_the_place_of_the_root_is_refused() {
    let fixture = Fixture::new();
    fs::write(fixture.root(), "").expect("written");
    assert!(fixture.refusal().contains("is a file, not a directory"));
}

#[test]
fn connections_are_read_back() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    show(&mut tree, LastSeen::Now);
    fs::write(fixture.root().join("out/tcp/README"), "").expect("written");
    let mut found = Vec::new();
    tree.for_each(Direction::Out, Protocol::Tcp, |it| found.push(it)).expect("read");
    assert_eq!(found, [connection()]);
}

/// The n-th conversation of others.
fn others(n: u8) -> Connection {
    let name = format!("10.0.0.{n}-5353-224.0.0.251-5353");
    name::connection(Direction::Else, Protocol::Udp, &name).expect("a name of ours")
}

fn at_most(max_files: u64) -> Limits {
    Limits { max_files: Some(max_files), ..Limits::default() }
}

fn made_and_held_back(shown: &Shown) -> (u64, u64) {
    (shown.made.total(), shown.obstacle(Cause::MaxFiles).connections)
}

#[test]
fn at_max_files_only_new_files_in_else_are_held_back() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree().with_limits(at_most(2)).expect("counted");
    let shown = tree.show(opened([others(1), others(2), others(3)]), at(1_000));
    assert_eq!(made_and_held_back(&shown), (2, 1));
    let error = shown.obstacle(Cause::MaxFiles).first_error.as_ref().expect("an error").to_string();
    assert!(error.contains("holds 2 files") && error.contains("--max-files"), "{error}");

    let shown = tree.show(opened([connection(), others(1), others(3)]), at(2_000));
    assert_eq!(made_and_held_back(&shown), (1, 1), "out goes on");
    let there = fixture.root().join("else/udp").join(file_name(&others(1)));
    assert_eq!(fs::metadata(there).expect("a file").mtime(), 2_000, "what is there goes on");
}

#[test]
fn a_known_file_that_was_removed_is_a_new_one_to_the_limits() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree().with_limits(at_most(2)).expect("counted");
    tree.show(opened([others(1), others(2)]), LastSeen::Now);
    fs::remove_file(fixture.root().join("else/udp").join(file_name(&others(1)))).expect("removed");
    let shown = tree.show(opened([others(1), others(2)]), LastSeen::Now);
    assert_eq!((shown.touched.total(), made_and_held_back(&shown)), (1, (0, 1)));
}

#[test]
fn files_of_an_earlier_run_count() {
    let fixture = Fixture::new();
    fixture.tree().show(opened([connection(), others(1), others(2)]), LastSeen::Now);
    let mut tree = fixture.tree().with_limits(at_most(3)).expect("counted");
    let shown = tree.show(opened([others(1), others(3)]), LastSeen::Now);
    assert_eq!((shown.touched.total(), made_and_held_back(&shown)), (1, (0, 1)));
}

#[test]
fn room_that_somebody_makes_is_found() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree().with_limits(at_most(1)).expect("counted");
    tree.show(opened([others(1)]), LastSeen::Now);
    fs::remove_file(fixture.root().join("else/udp").join(file_name(&others(1)))).expect("removed");
    let batches = (1..1_000).find(|_| {
        let shown = tree.show(opened([others(2)]), LastSeen::Now);
        let (made, held_back) = made_and_held_back(&shown);
        assert_eq!(made + held_back, 1, "a file or counted");
        made == 1
    });
    assert!(batches.is_some_and(|batches| batches < 100), "{batches:?}");
}

#[test]
fn a_cause_is_over_when_something_went_its_way() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    assert!(
        !tree.show(opened([]), LastSeen::Now).obstacle(Cause::Full).is_over,
        "nothing was tried"
    );
    assert!(show(&mut tree, LastSeen::Now).obstacle(Cause::Full).is_over, "a file was made");
    let touched = show(&mut tree, LastSeen::Now);
    assert!(!touched.obstacle(Cause::Full).is_over, "a file that is there needs no room");
    assert!(touched.obstacle(Cause::Refused).is_over);
}

#[test]
fn no_room_is_a_cause_of_its_own() {
    use rustix::io::Errno;
    for (errno, cause, advice) in [
        (Errno::NOSPC, Cause::Full, "make room"),
        (Errno::DQUOT, Cause::Full, "raise the quota"),
        (Errno::ROFS, Cause::Refused, "choose a directory that can be written"),
        (Errno::IO, Cause::Refused, ""),
    ] {
        let error = TreeError::io("make", "/tree/out/tcp".into(), errno);
        assert_eq!(error.cause(), cause, "{error}");
        assert!(error.to_string().contains(advice), "{error}");
    }
}
