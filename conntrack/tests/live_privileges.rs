//! What a running agent may still do: every thread's capabilities, its user, where it can write; and
//! that it goes on working with that. Needs root, to have something to give up.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{
    Case, PATIENCE,
    collector::Collector,
    conntrack,
    frames::Wire,
    lab::{DEVICE, Lab},
    usual::{CLSACT, EBPF, HOST, PCAP, each_way, request},
    wait_until,
};
use tempfile::TempDir;

const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;
/// What eBPF takes.
const FOR_EBPF: u64 = BPF | NET_ADMIN | PERFMON;
const DAC_OVERRIDE_AND_FOWNER: u64 = 1 << 1 | 1 << 3;

/// A user that every machine has and that owns nothing.
const NOBODY: &str = "nobody";
const NOBODY_S_ID: u32 = 65534;

/// A thread of a process, as `/proc/PID/task/TID/status` describes it.
#[derive(Debug)]
struct Thread(String);

impl Thread {
    fn all_of(process: u32) -> Vec<Self> {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("a process");
        let status = |task: fs::DirEntry| fs::read_to_string(task.path().join("status"));
        tasks.map(|task| Self(status(task.expect("a task")).expect("a status"))).collect()
    }

    fn field(&self, name: &str) -> &str {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.0)).trim()
    }

    fn capabilities(&self, set: &str) -> u64 {
        u64::from_str_radix(self.field(set), 16).expect("a set of capabilities")
    }

    #[track_caller]
    fn assert_has_only(&self, capabilities: u64) {
        let name = self.field("Name");
        for set in ["CapPrm", "CapEff"] {
            assert_eq!(self.capabilities(set), capabilities, "{set} of {name}");
        }
        for set in ["CapInh", "CapBnd", "CapAmb"] {
            assert_eq!(self.capabilities(set), 0, "{set} of {name}");
        }
        assert_eq!(self.field("NoNewPrivs"), "1", "{name}");
    }
}

/// Waits until the process has this many threads, of which only one has capabilities: a reader gives
/// up its own when it starts.
fn threads(process: u32, number: usize) -> Vec<Thread> {
    let mut threads = Vec::new();
    let are_there = wait_until(PATIENCE, || {
        threads = Thread::all_of(process);
        let has_some = |thread: &&Thread| thread.capabilities("CapPrm") != 0;
        threads.len() == number && threads.iter().filter(has_some).count() <= 1
    });
    assert!(are_there, "{number} threads, one with capabilities: {threads:#?}");
    threads
}

each_way!(
    watching_keeps_what_attaching_takes_and_no_more,
    user_is_who_goes_on_and_whose_the_files_are,
);

fn watching_keeps_what_attaching_takes_and_no_more(way: &[&str]) {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let (number, kept) = if way == PCAP { (2, NET_RAW) } else { (1, FOR_EBPF) };
    let collector = Collector::start(&lab.host, way);
    for thread in threads(collector.id(), number) {
        let is_reader = thread.field("Name") == "libpcap";
        thread.assert_has_only(if is_reader { 0 } else { kept });
    }
    let (frame, expected) = request(443);
    wire.leave(&frame);
    collector.wait_for_files(&expected);
    let ended = collector.stop();
    assert!(ended.status.success(), "{}", ended.said);
    assert_eq!(lab.hooks(), "");
}

#[test]
fn reading_a_file_keeps_nothing() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut child = conntrack()
        .args(["-r", "-", "--local", HOST, "-q", "-p"])
        .arg(scratch.path().join("tree"))
        .stdin(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut pipe = child.stdin.take().expect("piped");
    // A header is enough to begin with; the pipe stays open.
    let capture = fs::read(Case::named("seed").capture).expect("a capture");
    std::io::Write::write_all(&mut pipe, &capture).expect("written");
    let tree = scratch.path().join("tree/out/tcp");
    let shown = wait_until(PATIENCE, || {
        fs::read_dir(&tree).is_ok_and(|mut entries| entries.next().is_some())
    });
    assert!(shown, "what was read is shown while the pipe is open");
    for thread in threads(child.id(), 2) {
        thread.assert_has_only(0);
    }
    drop(pipe);
    assert!(child.wait().expect("it ends").success());
}

/// A directory that belongs to this user.
fn tree_of(user: u32) -> TempDir {
    let tree = tempfile::tempdir().expect("a scratch directory");
    chown(tree.path(), Some(user), Some(user)).expect("given away");
    tree
}

fn user_is_who_goes_on_and_whose_the_files_are(way: &[&str]) {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let arguments = [way, &["--user", NOBODY]].concat();
    let tree = tree_of(NOBODY_S_ID);
    let collector = Collector::start_with(&lab.host, DEVICE, tree, &arguments);
    let id = NOBODY_S_ID.to_string();
    for thread in threads(collector.id(), if way == PCAP { 2 } else { 1 }) {
        for ids in ["Uid", "Gid"] {
            let all_four = thread.field(ids).split_whitespace().all(|it| it == id);
            assert!(all_four, "{ids}: {}", thread.field(ids));
        }
        assert_eq!(thread.field("Groups"), id, "none of root's");
        assert_eq!(thread.capabilities("CapEff") & !(FOR_EBPF | NET_RAW), 0);
    }
    let (frame, expected) = request(443);
    wire.leave(&frame);
    collector.wait_for_files(&expected);
    let file = collector.path().join(expected.first().expect("one"));
    assert_eq!(fs::metadata(file).expect("a file").uid(), NOBODY_S_ID);
    let ended = collector.stop();
    assert!(ended.status.success(), "{}", ended.said);
    assert_eq!(lab.hooks(), "");
}

/// Runs the program to its end, which comes soon; its error.
fn refusal(lab: &Lab, tree: &Path, arguments: &[&str]) -> String {
    let mut command = lab.host.command("timeout");
    command.args([&PATIENCE.as_secs().to_string(), env!("CARGO_BIN_EXE_conntrack")]);
    let output = command.args(["-d", DEVICE, "-p"]).arg(tree).args(arguments).output();
    let output = output.expect("it runs");
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// What a shell makes of a word.
fn in_shell(word: &str) -> String {
    let output = Command::new("sh").args(["-c", &format!("printf %s {word}")]).output();
    String::from_utf8(output.expect("sh runs").stdout).expect("UTF-8")
}

#[test]
fn a_tree_that_the_user_cannot_write_is_an_error_before_it_begins() {
    let lab = Lab::new(&[HOST]);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).expect("opened up");
    let there = scratch.path().join("there");
    fs::create_dir(&there).expect("made");
    let missing = scratch.path().join("it's; missing");
    for path in [&there, &missing] {
        let error = refusal(&lab, path, &["--user", NOBODY]);
        assert!(error.contains("as nobody: cannot"), "{error}");
        assert!(!error.contains("chown"), "what is there stays whose it is: {error}");
        let advice = error.trim_end().split_once("sudo install -d -o nobody -- ");
        let advised = advice.map(|(_, word)| in_shell(word));
        assert_eq!(advised, (path == &missing).then(|| path.display().to_string()), "{error}");
        assert_eq!(lab.hooks(), "");
    }
    assert_eq!(fs::read_dir(&there).expect("read").count(), 0);
    let error = refusal(&lab, &there, &["--user", "no-such-user"]);
    assert!(error.contains("no such user: no-such-user"), "{error}");
}

#[test]
fn metrics_are_written_with_the_rights_that_will_be_left() {
    let lab = Lab::new(&[HOST]);
    let roots = tempfile::tempdir().expect("a scratch directory");
    fs::set_permissions(roots.path(), fs::Permissions::from_mode(0o755)).expect("opened up");
    let metrics = |directory: &TempDir| directory.path().join("it.prom").display().to_string();
    let path = metrics(&roots);
    let tree = tree_of(NOBODY_S_ID);
    let error = refusal(&lab, tree.path(), &["--user", NOBODY, "--metrics-file", &path]);
    let says = format!("as nobody: cannot write metrics to {path}: Permission denied");
    assert!(error.contains(&says), "{error}");
    assert_eq!(lab.hooks(), "");

    for (user, directory) in [(&["--user", NOBODY][..], tree_of(NOBODY_S_ID)), (&[], roots)] {
        let path = metrics(&directory);
        let arguments = [user, &["--metrics-file", &path]].concat();
        let tree = tree_of(NOBODY_S_ID);
        let forced = [&arguments[..], &["--force-path"]].concat();
        let collector = Collector::start_with(&lab.host, DEVICE, tree, &forced);
        assert!(wait_until(PATIENCE, || Path::new(&path).exists()), "{arguments:?}");
        let ended = collector.stop();
        assert_eq!(ended.warnings(), [""; 0], "{}", ended.said);
    }
}

/// Without capabilities root is a user like others, also where metrics go.
#[test]
fn root_still_writes_metrics_to_a_directory_that_is_another_s() {
    let lab = Lab::new(&[HOST]);
    let directory = tree_of(NOBODY_S_ID);
    let metrics = directory.path().join("it.prom");
    let arguments = ["--metrics-file", metrics.to_str().expect("UTF-8")];
    let collector = Collector::start(&lab.host, &arguments);
    assert!(wait_until(PATIENCE, || metrics.exists()));
    let ended = collector.stop();
    assert_eq!(ended.warnings(), [""; 0], "{}", ended.said);
}

#[test]
fn a_user_may_be_named_by_number() {
    let lab = Lab::new(&[HOST]);
    for (user, group) in [("65534", 65534), ("65534:12345", 12345), ("4242:4242", 4242)] {
        let id = user.split(':').next().expect("an id").parse().expect("a number");
        let arguments = [EBPF, &["--user", user]].concat();
        let collector = Collector::start_with(&lab.host, DEVICE, tree_of(id), &arguments);
        let [thread] = &threads(collector.id(), 1)[..] else { panic!("one thread") };
        let all_four = |ids: &str, of: u32| {
            thread.field(ids).split_whitespace().all(|it| it == of.to_string())
        };
        assert!(all_four("Uid", id) && all_four("Gid", group), "{user}: {thread:?}");
        let ended = collector.stop();
        assert!(ended.status.success(), "{}", ended.said);
    }
    let tree = tree_of(4242);
    for (user, says) in [
        ("4242", "no such user: 4242; name the group too, as in --user 4242:4242"),
        ("4294967295:1", "no such user: 4294967295:1"),
        ("4294967296", "no such user: 4294967296"),
        ("1:x", "no such user: 1:x"),
    ] {
        let error = refusal(&lab, tree.path(), &["--user", user]);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn who_may_not_become_another_is_told() {
    let lab = Lab::new(&[HOST]);
    let tree = tree_of(NOBODY_S_ID);
    let output = lab
        .host
        .command("setpriv")
        .args(["--bounding-set=-setuid,-setgid", env!("CARGO_BIN_EXE_conntrack"), "-d", DEVICE])
        .args(["--user", NOBODY, "-p"])
        .arg(tree.path())
        .output()
        .expect("setpriv runs");
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(error.contains("--user requires root, or CAP_SETUID and CAP_SETGID"), "{error}");
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
}

#[test]
fn root_still_writes_to_a_tree_that_is_another_s() {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let forced = [EBPF, &["--force-path"]].concat();
    let collector = Collector::start_with(&lab.host, DEVICE, tree_of(NOBODY_S_ID), &forced);
    let [thread] = &threads(collector.id(), 1)[..] else { panic!("one thread") };
    thread.assert_has_only(FOR_EBPF | DAC_OVERRIDE_AND_FOWNER);
    let (frame, expected) = request(443);
    wire.leave(&frame);
    collector.wait_for_files(&expected);
    collector.stop();
}

#[test]
fn a_tree_that_is_removed_comes_back() {
    for arguments in [EBPF, PCAP] {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let collector = Collector::start(&lab.host, arguments);
        let (frame, expected) = request(443);
        wire.leave(&frame);
        collector.wait_for_files(&expected);
        fs::remove_dir_all(collector.path()).expect("removed");
        wire.leave(&frame);
        collector.wait_for_files(&expected);
        collector.stop();
    }
}

#[test]
fn a_program_with_file_capabilities_needs_no_root() {
    let lab = Lab::new(&[HOST]);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).expect("opened up");
    let program = scratch.path().join("conntrack");
    fs::copy(env!("CARGO_BIN_EXE_conntrack"), &program).expect("copied");
    for (capabilities, arguments, kept) in [
        ("cap_bpf,cap_net_admin,cap_perfmon=ep", EBPF, FOR_EBPF),
        ("cap_bpf,cap_net_admin,cap_perfmon=ep", CLSACT, FOR_EBPF),
        ("cap_net_raw=ep", PCAP, NET_RAW),
    ] {
        let set = Command::new("setcap").arg(capabilities).arg(&program).status();
        assert!(set.expect("setcap runs").success());
        let tree = tree_of(NOBODY_S_ID);
        let mut child = lab
            .host
            .command("setpriv")
            .args(["--reuid", NOBODY, "--regid", "65534", "--clear-groups"])
            .arg(&program)
            .args(["-q", "-d", DEVICE, "--interval", "100ms", "-p"])
            .arg(tree.path())
            .args(arguments)
            .spawn()
            .expect("it runs");
        let mut wire = Wire::of(&lab);
        let (frame, expected) = request(443);
        let file = tree.path().join(expected.first().expect("one"));
        let shown = wait_until(PATIENCE, || {
            wire.leave(&frame);
            file.exists()
        });
        let threads = Thread::all_of(child.id());
        let agent = threads.iter().find(|thread| thread.field("Name") == "conntrack");
        let left = agent.map(|agent| (agent.capabilities("CapEff"), agent.capabilities("CapPrm")));
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert!(shown, "{arguments:?} as {NOBODY}");
        assert_eq!(left, Some((kept, kept)), "{arguments:?}");
    }
}
