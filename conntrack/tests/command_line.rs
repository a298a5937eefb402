//! The command line: what is wrong with it is told with status 2, and how it should be is in `keyboard`; a
//! path that cannot be used is one clear line and status 1.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
    thread,
};

use crate::support::{Case, conntrack, files, refusal::refuse};
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// So that what is wrongly taken for right watches nothing: there can be no tree here.
const NOWHERE: &str = "/nosuchdirectory/x";

/// Runs the program with these arguments; its status and what it says: one line, unless it is about the
/// command line.
#[track_caller]
fn refusal(arguments: &[&str]) -> (Option<i32>, String) {
    let output = conntrack().args(arguments).output().expect("the program runs");
    let Output { status, stderr, stdout } = output;
    let error = String::from_utf8(stderr).expect("UTF-8");
    assert!(stdout.is_empty(), "errors go to standard error");
    let is_one_line = error.lines().count() == 1;
    assert!(is_one_line || status.code() == Some(2), "{arguments:?}: {error}");
    assert!(error.starts_with("conntrack: "), "{error}");
    (status.code(), error)
}

#[track_caller]
fn assert_refused(arguments: &[&str], status: i32, says: &str) {
    let (found, error) = refusal(arguments);
    assert_eq!(found, Some(status), "{error}");
    assert!(error.contains(says), "{arguments:?}: {error}");
}

/// Reading a capture into `path`: the way to try a tree without privileges.
fn reading_into(path: &Path) -> [String; 6] {
    let capture = Case::named("seed").capture;
    let [path, capture] = [path, &capture].map(|path| path.to_str().expect("UTF-8").to_owned());
    ["-r", &capture, "--local", "192.168.200.230", "-p", &path].map(str::to_owned)
}

#[track_caller]
fn assert_path_refused(path: &Path, says: &str) {
    let arguments = reading_into(path);
    assert_refused(&arguments.each_ref().map(String::as_str), 1, says);
}

/// As in a package, where the name `conntrack` is netfilter's.
#[test]
fn messages_and_help_follow_the_name_it_was_called_by() {
    let place = tempfile::tempdir().expect("a directory");
    let name = place.path().join("conntrack-tree");
    symlink(env!("CARGO_BIN_EXE_conntrack"), &name).expect("a link");
    let says = |arguments: &[&str]| {
        let output = Command::new(&name).args(arguments).output().expect("the program runs");
        String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8")
    };
    assert!(says(&["--help"]).contains("Usage: conntrack-tree "));
    assert!(says(&["--version"]).starts_with("conntrack-tree "));
    let refused = says(&["-p", NOWHERE, "-u", "0"]);
    assert!(refused.starts_with("conntrack-tree: "), "{refused}");
    assert!(refused.contains("conntrack-tree --help"), "{refused}");
    assert!(says(&["rules"]).contains("conntrack-tree rules --help"));
    let failed = says(&["rules", "-p", "/no/such/tree"]);
    assert!(failed.starts_with("conntrack-tree: "), "{failed}");
}

#[test]
fn a_port_is_a_number_from_1_to_65535() {
    for port in ["0", "65536", "abc", "-1", "", "80x"] {
        assert_refused(&["-p", NOWHERE, &format!("-u{port}")], 2, "--udp-in");
    }
}

#[test]
fn what_is_missing_or_does_not_go_together_is_named() {
    assert_refused(&[], 2, "--path");
    assert_refused(&["-p", ""], 2, "--path");
    assert_refused(&["-p", NOWHERE, "-r", "file"], 2, "--local");
    assert_refused(&["-p", NOWHERE, "-r", "file", "--local", "::1", "-d", "lo"], 2, "--device");
    for live in ["--existing", "--learn"] {
        assert_refused(&["-p", NOWHERE, "-r", "file", "--local", "::1", live], 2, live);
    }
    assert_refused(&["-p", NOWHERE, "-4", "-6"], 2, "-6");
    assert_refused(&["-p", NOWHERE, "--mode", "bpf"], 2, "--mode");
    assert_refused(&["-p", NOWHERE, "--mode", "pcap", "--hook", "xdp"], 2, "--hook xdp");
    assert_refused(&["-p", NOWHERE, "--interval", "0s"], 2, "--interval");
    assert_refused(&["-p", NOWHERE, "--internal", "10.0.0.0/33"], 2, "--internal");
    assert_refused(&["-p", NOWHERE, "--max-flows", "0"], 2, "--max-flows");
    assert_refused(&["-p", NOWHERE, "--max-files", "0"], 2, "--max-files");
    assert_refused(&["-p", NOWHERE, "--min-free-inodes", "101"], 2, "--min-free-inodes");
    assert_refused(&["-p", NOWHERE, "--max-files-in=-1"], 2, "--max-files-in");
    assert_refused(&["-p", NOWHERE, "-r", "file", "--local", "192.0.2.256"], 2, "--local");
    assert_refused(&["-p", NOWHERE, "--user", ""], 2, "--user");
    assert_refused(&["doctor", "--mode", "ebpf"], 2, "--mode");
    assert_refused(&["-p", NOWHERE, "doctor"], 2, "doctor");
}

#[test]
fn an_error_points_to_the_help_of_its_command() {
    for command in ["rules", "diff", "audit", "doctor"] {
        let help = format!("try 'conntrack {command} --help'.\n");
        assert_refused(&[command, "--no-such-flag"], 2, &help);
    }
    assert_refused(&["rules"], 2, "try 'conntrack rules --help'.\n");
    for arguments in [&["--no-such-flag"][..], &["no-such-command"], &["-p", NOWHERE, "doctor"]] {
        assert_refused(arguments, 2, "try 'conntrack --help'.\n");
    }
}

#[test]
fn several_files_behind_read_are_told_how_to_be_one() {
    let advice = "--read takes one file; merge several with mergecap";
    for arguments in [
        &["-p", NOWHERE, "--local", "::1", "-r", "one", "two"][..],
        &["-p", NOWHERE, "--local", "::1", "--read=one", "two", "three"],
        &["-rone", "two", "-p", NOWHERE, "--local", "::1"],
    ] {
        assert_refused(arguments, 2, "unexpected argument 'two'");
        assert_refused(arguments, 2, advice);
    }
    let (_, error) = refusal(&["-p", NOWHERE, "two"]);
    assert!(error.contains("unexpected argument 'two'") && !error.contains("mergecap"), "{error}");
    assert!(!error.contains("subcommand"), "{error}");
}

#[test]
fn a_file_whose_connections_are_not_all_written_ends_with_status_1() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let tree = scratch.path().join("tree");
    let occupied = tree.join("out/tcp/192.168.200.230-PORT-INTERNET-443");
    fs::create_dir_all(occupied).expect("made");
    let output = conntrack().args(reading_into(&tree)).output().expect("the program runs");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.contains("lost: 1 (file could not be made: 1)"), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
    let last = said.lines().last().expect("a line");
    assert!(last.starts_with("conntrack: ") && last.contains("1 connection"), "{said}");
}

/// Below some number the loader does not even find libpcap.
#[test]
fn too_few_descriptors_are_one_clear_error() {
    const OF_THE_LOADER: usize = 4;
    let mut starts = 0;
    for limit in OF_THE_LOADER..64 {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let output = Command::new("prlimit")
            .arg(format!("--nofile={limit}"))
            .arg(env!("CARGO_BIN_EXE_conntrack"))
            .arg("-q")
            .args(reading_into(&scratch.path().join("tree")))
            .output()
            .expect("prlimit runs");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        match output.status.code() {
            Some(0) => starts += 1,
            status => {
                assert_eq!((status, said.lines().count()), (Some(1), 1), "{limit}: {said}");
                assert!(said.starts_with("conntrack: cannot open 40 files at once"), "{said}");
                assert!(said.contains("ulimit -n"), "{said}");
                assert_eq!(starts, 0, "{limit}: {said}");
            }
        }
    }
    assert!(starts > 0);
}

#[test]
fn without_a_thread_to_start_it_is_one_clear_error() {
    const EAGAIN: u32 = 11;
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let output = thread::scope(|scope| {
        let limited = || {
            // With CLONE_THREAD, by either call.
            let is_thread = SeccompCondition::new(
                0,
                SeccompCmpArgLen::Qword,
                SeccompCmpOp::MaskedEq(0x0001_0000),
                0x0001_0000,
            );
            let rule = SeccompRule::new(vec![is_thread.expect("a condition")]).expect("a rule");
            refuse(libc::SYS_clone3, 38, vec![]);
            refuse(libc::SYS_clone, EAGAIN, vec![rule]);
            conntrack().args(reading_into(&scratch.path().join("tree"))).output()
        };
        scope.spawn(limited).join().expect("no panic")
    });
    let output = output.expect("the program runs");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.starts_with("conntrack: cannot start a thread: "), "{said}");
}

#[test]
fn help_and_version_are_no_errors() {
    for flag in ["--help", "--version"] {
        let output = conntrack().arg(flag).output().expect("the program runs");
        assert!(output.status.success(), "{flag}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{flag}");
    }
}

/// What a failed start makes, root cannot use afterwards where it belongs to somebody else.
#[test]
fn a_start_that_fails_leaves_nothing() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let tree = scratch.path().join("tree");
    let path = tree.to_str().expect("UTF-8");
    let no_capture = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for (wrong, says) in [
        (&["-d", "nosuchdev0"][..], "no such device"),
        (&["-r", no_capture, "--local", "::1"], "Cargo.toml"),
        (&["-r", "/nosuchfile", "--local", "::1"], "/nosuchfile"),
        (&["-d", "lo", "--user", "nosuchuser"], "nosuchuser"),
        (&["-d", "lo", "--metrics-file", "/nosuchdirectory/x.prom"], "/nosuchdirectory"),
    ] {
        assert_refused(&[wrong, &["-p", path]].concat(), 1, says);
        assert!(!tree.exists(), "{wrong:?}");
    }
}

#[test]
fn a_device_that_is_not_there_is_answered_with_those_that_are() {
    let tree = tempfile::tempdir().expect("a scratch directory");
    let path = tree.path().to_str().expect("UTF-8");
    for mode in ["auto", "ebpf", "pcap"] {
        let arguments = ["-d", "nosuchdev0", "-m", mode, "-p", path];
        assert_refused(&arguments, 1, "no such device: nosuchdev0; there are: lo");
    }
}

#[test]
fn whatever_is_in_a_name_a_message_is_one_line() {
    assert_refused(&["-d", "a\nb\u{1b}[2J", "-p", "/tmp/x"], 1, "no such device: a\\nb\\u{1b}[2J");
    assert_path_refused(Path::new("/nosuch\ndirectory/tree"), "/nosuch\\ndirectory does not exist");
}

#[test]
fn a_path_that_cannot_be_a_tree_is_named() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("file");
    fs::write(&file, "kept").expect("written");
    assert_path_refused(&file, "file is a file, not a directory");
    assert_eq!(fs::read_to_string(&file).expect("read"), "kept");

    let missing = scratch.path().join("missing");
    assert_path_refused(&missing.join("tree"), "missing does not exist; make it first");
    assert!(!missing.exists());

    let target = scratch.path().join("target");
    fs::create_dir(&target).expect("made");
    symlink(&target, scratch.path().join("link")).expect("linked");
    assert_path_refused(&scratch.path().join("link"), "link is a symbolic link");
    assert!(files(&target).is_empty());

    assert_path_refused(Path::new("/proc/tree"), "/proc/tree");
}
