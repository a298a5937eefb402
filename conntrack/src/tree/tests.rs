//! The tree on a real file system, in a directory of its own.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    time::{Duration, UNIX_EPOCH},
};

use super::*;

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

fn show(tree: &mut Tree, last_seen: LastSeen) -> Shown {
    tree.show(&[connection()].into(), last_seen)
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
    assert_eq!(show(&mut fixture.tree(), LastSeen::Now).made, 1);
    let metadata = fs::symlink_metadata(fixture.file()).expect("a file");
    assert!(metadata.is_file());
    assert_eq!(metadata.len(), 0);
}

#[test]
fn showing_again_sets_the_time_and_makes_nothing() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    assert_eq!(show(&mut tree, at(1_000)).made, 1);
    for seconds in [2_000, 3_000] {
        assert_eq!(show(&mut tree, at(seconds)).made, 0);
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
    assert_eq!(show(&mut fixture.tree(), LastSeen::Now).made, 0);
    assert_eq!(fs::read_to_string(fixture.file()).expect("read"), "a note");
}

#[test]
fn what_was_removed_comes_back() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    show(&mut tree, LastSeen::Now);
    fs::remove_file(fixture.file()).expect("removed");
    assert_eq!(show(&mut tree, LastSeen::Now).made, 1);
    fs::remove_dir_all(fixture.root().join("out")).expect("removed");
    assert_eq!(show(&mut tree, LastSeen::Now).made, 1);
    fs::remove_dir_all(fixture.root()).expect("removed");
    assert_eq!(show(&mut tree, LastSeen::Now).made, 1);
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
    assert_eq!(show(&mut tree, LastSeen::Now).made, 1);
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
    assert_eq!((shown.made, shown.failed), (0, 1));
    let error = shown.first_error.expect("an error").to_string();
    assert!(error.contains(NAME) && error.contains("symbolic link"), "{error}");
    assert_eq!(fs::read_to_string(&target).expect("read"), "precious");
    assert_eq!(fs::metadata(&target).expect("a file").modified().expect("a time"), before);
}

#[test]
fn what_takes_a_file_s_place_later_is_refused_too() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    assert_eq!(show(&mut tree, LastSeen::Now).made, 1);
    fs::remove_file(fixture.file()).expect("removed");
    symlink("/etc/passwd", fixture.file()).expect("linked");
    assert_eq!(show(&mut tree, LastSeen::Now).failed, 1);
    fs::remove_file(fixture.file()).expect("removed");
    fs::create_dir(fixture.file()).expect("made");
    assert_eq!(show(&mut tree, LastSeen::Now).failed, 1);
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
