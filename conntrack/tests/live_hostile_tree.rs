//! A tree that others have tampered with: links, pipes, device nodes and other users' directories in
//! place of ours, before the start and while it runs. The agent follows, waits for and writes to none
//! of them; it names each and goes on with the rest. Needs root, to act as several users.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::support::{
    Case, PATIENCE,
    collector::Collector,
    conntrack,
    frames::Wire,
    lab::{DEVICE, Lab},
    usual::{HOST, request},
    wait_until,
};
use rustix::{
    fs::{CWD, FileType, Mode, makedev, mknodat},
    process::{Pid, Signal, kill_process},
};
use tempfile::TempDir;

const NOBODY: u32 = 65534;

fn node(path: &Path, kind: FileType) {
    let null = makedev(1, 3);
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o666), null).expect("made");
}

/// Its name in messages, and the function that makes it.
type Obstacle<'a> = (&'static str, Box<dyn Fn(&Path) + 'a>);

/// What can stand in the place of a directory or a file.
fn obstacles(target: &Path) -> [Obstacle<'_>; 5] {
    [
        ("a symbolic link", Box::new(move |path| symlink(target, path).expect("linked"))),
        ("a symbolic link", Box::new(|path| symlink("/nonexistent", path).expect("linked"))),
        ("a named pipe", Box::new(|path| node(path, FileType::Fifo))),
        ("a device node", Box::new(|path| node(path, FileType::CharacterDevice))),
        ("a socket", Box::new(|path| node(path, FileType::Socket))),
    ]
}

/// A directory that others can enter.
fn scratch() -> TempDir {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    set_mode(scratch.path(), 0o755);
    scratch
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
}

fn make(path: &Path, mode: u32, owner: u32) -> PathBuf {
    fs::create_dir(path).expect("made");
    set_mode(path, mode);
    chown(path, Some(owner), Some(owner)).expect("given away");
    path.to_owned()
}

fn entries(directory: &Path) -> usize {
    fs::read_dir(directory).expect("a directory").count()
}

/// Reads a capture into a tree; returns whether it succeeded, and its standard error.
fn read_into(tree: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = conntrack();
    command.arg("-r").arg(Case::named("seed").capture).args(["--local", HOST, "-q", "-p"]);
    let child = command.arg(tree).args(arguments).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("it runs");
    let mut status = None;
    let ended = wait_until(PATIENCE, || {
        status = child.try_wait().expect("a child of ours");
        status.is_some()
    });
    if !ended {
        child.kill().expect("killed");
    }
    let output = child.wait_with_output().expect("ended");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(ended, "it waits for something: {said}");
    (output.status.success(), said)
}

#[track_caller]
fn assert_refused(tree: &Path, says: &[&str]) {
    let (went_well, said) = read_into(tree, &[]);
    assert!(!went_well, "{} is taken", tree.display());
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in says {
        assert!(said.contains(part), "{part:?} expected: {said}");
    }
}

#[test]
fn what_stands_in_the_place_of_a_directory_is_refused_at_the_start() {
    let scratch = scratch();
    let target = make(&scratch.path().join("target"), 0o755, 0);
    for (place, above) in [("", ""), ("/out", ""), ("/out/tcp", "/out"), ("/else/udp", "/else")] {
        for (number, (kind, put)) in obstacles(&target).into_iter().enumerate() {
            let tree = format!("tree{}-{number}", place.replace('/', "-"));
            let tree = scratch.path().join(tree).display().to_string();
            if !place.is_empty() {
                fs::create_dir_all(format!("{tree}{above}")).expect("made");
            }
            let planted = format!("{tree}{place}");
            put(Path::new(&planted));
            let says = format!("{planted} is {kind}, not a directory");
            assert_refused(Path::new(&tree), &[&says]);
            assert_eq!(entries(&target), 0, "{planted} was followed");
        }
    }
}

#[test]
fn what_stands_in_the_place_of_a_file_is_named_and_the_rest_goes_on() {
    let scratch = scratch();
    let target = scratch.path().join("target");
    fs::write(&target, "precious").expect("written");
    let modified = || fs::metadata(&target).expect("a file").modified().expect("a time");
    let before = modified();
    let expected = Case::named("seed").tree;
    let name = expected.iter().find(|path| path.starts_with("out/tcp/")).expect("a file");
    let directory: Obstacle<'_> =
        ("a directory", Box::new(|path| fs::create_dir(path).expect("made")));
    for (number, (kind, put)) in obstacles(&target).into_iter().chain([directory]).enumerate() {
        let tree = scratch.path().join(format!("tree-{number}"));
        fs::create_dir_all(tree.join("out/tcp")).expect("made");
        put(&tree.join(name));
        let (went_well, said) = read_into(&tree, &[]);
        assert!(!went_well, "one connection has no file: {said}");
        let says = format!("{} is {kind}, not an empty file", tree.join(name).display());
        assert!(said.contains(&says), "{says:?} expected: {said}");
        assert!(said.contains("lost: ") && said.contains("file could not be made"), "{said}");
        let missing = expected.iter().filter(|path| !tree.join(path).is_file()).count();
        assert!(missing <= 1, "the others are there");
    }
    assert_eq!(fs::read_to_string(&target).expect("a file"), "precious");
    assert_eq!(modified(), before);
    assert!(!Path::new("/nonexistent").exists());
}

/// Has `put` make something at `place` in the tree of a running agent; returns the agent's message.
fn while_running(lab: &Lab, place: &str, put: impl Fn(&Path)) -> String {
    let scratch = scratch();
    let mut wire = Wire::of(lab);
    let mut collector = Collector::start_in(scratch.path(), &lab.host, &["--mode", "ebpf"]);
    let (frame, expected) = request(443);
    wire.leave(&frame);
    collector.wait_for_files(&expected);
    // A change while it makes a file may go unnoticed, so wait for that file.
    let file = collector.path().join(expected.first().expect("one"));
    let modified = || fs::metadata(&file).expect("a file").modified().expect("a time");
    let first = modified();
    let moved_on = wait_until(PATIENCE, || {
        wire.leave(&frame);
        modified() > first
    });
    assert!(moved_on, "it is not seen again");
    let planted = PathBuf::from(format!("{}{place}", collector.path().display()));
    let moved = scratch.path().join("moved");
    fs::rename(&planted, &moved).expect("moved");
    put(&planted);
    for port in [443, 444] {
        wire.leave(&request(port).0);
    }
    let line = collector.wait_for_line("going on without");
    assert!(line.contains(&planted.display().to_string()), "{line}");
    // Once it is removed, files are made again.
    let away = scratch.path().join("away");
    fs::rename(&planted, &away).expect("moved away");
    fs::rename(&moved, &planted).expect("moved back");
    let (frame, expected) = request(445);
    wire.leave(&frame);
    collector.wait_for_files(&expected);
    let ended = collector.stop();
    assert!(ended.status.success() && ended.reported("lost") > 0, "{}", ended.said);
    line
}

#[test]
fn what_takes_a_directory_s_place_later_is_refused() {
    let lab = Lab::new(&[HOST]);
    for place in ["", "/out", "/out/tcp"] {
        let target = tempfile::tempdir().expect("a scratch directory");
        for (number, (kind, put)) in obstacles(target.path()).into_iter().enumerate() {
            // Every place with a link to an existing directory, and one place with everything else.
            if number == 0 || place == "/out" {
                let line = while_running(&lab, place, put);
                assert!(line.contains(&format!("is {kind}, not a directory")), "{line}");
            }
        }
        assert_eq!(entries(target.path()), 0, "{place} was followed");
    }
}

#[test]
fn what_takes_a_file_s_place_later_is_refused() {
    let lab = Lab::new(&[HOST]);
    let target = tempfile::NamedTempFile::new().expect("a file");
    fs::write(target.path(), "precious").expect("written");
    let modified = || target.path().metadata().expect("a file").modified().expect("a time");
    let before = modified();
    let (_, files) = request(443);
    let place = format!("/{}", files.first().expect("one"));
    for (kind, put) in obstacles(target.path()) {
        let line = while_running(&lab, &place, put);
        assert!(line.contains(&format!("is {kind}, not an empty file")), "{line}");
    }
    assert_eq!(fs::read_to_string(target.path()).expect("a file"), "precious");
    assert_eq!(modified(), before);
}

#[test]
fn where_anybody_can_make_directories_only_ours_will_do() {
    let scratch = scratch();
    let public = make(&scratch.path().join("public"), 0o1777, 0);
    // Our own is accepted, whether it exists or not.
    assert!(read_into(&public.join("ours"), &[]).0);
    assert!(read_into(&public.join("ours"), &[]).0);

    let theirs = make(&public.join("theirs"), 0o755, NOBODY);
    assert_refused(&theirs, &["theirs belongs to nobody", "--force-path"]);
    assert_refused(&theirs.join("tree"), &["theirs belongs to nobody", "--force-path"]);
    assert_eq!(entries(&theirs), 0);
    // Their link on the way, which protected_symlinks may not keep us from following.
    make(&scratch.path().join("elsewhere"), 0o755, 0);
    symlink(scratch.path().join("elsewhere"), public.join("link")).expect("linked");
    std::os::unix::fs::lchown(public.join("link"), Some(NOBODY), None).expect("given away");
    assert_refused(&public.join("link/tree"), &["link belongs to nobody"]);
    // Root's link that leads to their directory.
    symlink(&public, scratch.path().join("shortcut")).expect("linked");
    assert_refused(&scratch.path().join("shortcut/theirs"), &["theirs belongs to nobody"]);

    let (went_well, said) = read_into(&theirs, &["--force-path"]);
    assert!(went_well, "{said}");
    assert!(theirs.join("out/tcp").is_dir());
}

#[test]
fn in_a_tree_that_is_open_to_all_their_directories_are_refused_too() {
    let scratch = scratch();
    let tree = make(&scratch.path().join("tree"), 0o1777, 0);
    let theirs = make(&tree.join("out"), 0o777, NOBODY);
    assert_refused(&tree, &["tree/out belongs to nobody"]);
    assert_eq!(entries(&theirs), 0);
}

#[test]
fn what_anybody_can_replace_is_refused() {
    let scratch = scratch();
    let public = make(&scratch.path().join("public"), 0o777, 0);
    for tree in [public.join("tree"), make(&public.join("ours"), 0o755, 0).join("tree")] {
        assert_refused(&tree, &["anybody can replace what is in", "public;", "--force-path"]);
        assert!(!tree.exists());
        assert!(read_into(&tree, &["--force-path"]).0);
    }
}

#[test]
fn elsewhere_an_owner_is_as_good_as_any() {
    let scratch = scratch();
    let theirs = make(&scratch.path().join("theirs"), 0o755, NOBODY);
    let (went_well, said) = read_into(&theirs.join("tree"), &[]);
    assert!(went_well, "{said}");
}

#[test]
fn with_user_a_tree_of_theirs_is_ours() {
    let scratch = scratch();
    let public = make(&scratch.path().join("public"), 0o1777, 0);
    let theirs = make(&public.join("theirs"), 0o755, NOBODY);
    let (went_well, said) = read_into(&theirs, &["--user", "nobody"]);
    assert!(went_well, "{said}");
    let own = public.join("own");
    assert!(read_into(&own, &["--user", "nobody"]).0, "and they can make one");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&own).expect("made"));
    assert_eq!(owner, NOBODY);
}

#[test]
fn a_tree_that_becomes_somebody_else_s_is_left_alone() {
    let lab = Lab::new(&[HOST]);
    let scratch = scratch();
    let public = make(&scratch.path().join("public"), 0o1777, 0);
    let tree = public.join("tree");
    let log = scratch.path().join("log");
    let mut command = lab.host.command(env!("CARGO_BIN_EXE_conntrack"));
    command.args(["-d", DEVICE, "--interval", "100ms", "-p"]).arg(&tree);
    let child = command.stderr(fs::File::create(&log).expect("made")).spawn();
    let mut child = child.expect("it runs");
    let said = |text: &str| {
        let said = || fs::read_to_string(&log).expect("a log").contains(text);
        wait_until(PATIENCE, said)
    };
    let watching = said("watching");
    fs::rename(&tree, public.join("moved")).expect("moved");
    let theirs = make(&tree, 0o777, NOBODY);
    Wire::of(&lab).leave(&request(443).0);
    let refused = said("tree belongs to nobody");
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(id, Signal::TERM).expect("signalled");
    child.wait().expect("ended");
    assert!(watching && refused, "{}", fs::read_to_string(&log).expect("a log"));
    assert_eq!(entries(&theirs), 0);
}
