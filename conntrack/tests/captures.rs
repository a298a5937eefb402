//! Capture files: each in `testdata/` leads to the tree that stands beside it, written by hand.

mod support;

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Command, Output},
};

use support::{Case, assert_same_tree, conntrack, files, testdata};
use tempfile::TempDir;

/// Reads a capture into a new tree.
fn read(capture: &Path, arguments: &[String]) -> (TempDir, Output) {
    let tree = tempfile::tempdir().expect("a scratch directory");
    let output = read_into(tree.path(), capture, arguments);
    (tree, output)
}

fn read_into(tree: &Path, capture: &Path, arguments: &[String]) -> Output {
    let mut command = conntrack();
    command.arg("-p").arg(tree).arg("-r").arg(capture).args(arguments);
    command.output().expect("the program runs")
}

fn local() -> [String; 2] {
    ["--local", "192.168.200.230"].map(str::to_owned)
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// What the report says about `what`.
fn reported(output: &Output, what: &str) -> String {
    let report = stderr(output);
    let line = report.lines().find_map(|line| line.strip_prefix(&format!("{what}: ")));
    line.unwrap_or_else(|| panic!("no {what} in {report}")).to_owned()
}

#[test]
fn every_capture_leads_to_its_tree() {
    let cases = Case::all();
    assert!(cases.len() >= 20, "only {} cases found", cases.len());
    for case in cases {
        let (tree, output) = read(&case.capture, &case.arguments);
        assert!(output.status.success(), "{}: {}", case.name, stderr(&output));
        assert_same_tree(&case.name, &case.tree, &files(tree.path()));
        assert_eq!(reported(&output, "files made"), case.tree.len().to_string(), "{}", case.name);
        assert_eq!(reported(&output, "lost"), "0", "{}", case.name);
    }
}

#[test]
fn the_seed_s_example_comes_out_name_for_name() {
    let case = Case::named("seed");
    let (tree, _) = read(&case.capture, &case.arguments);
    let example = [
        "else/udp/192.168.200.214-5353-224.0.0.251-5353",
        "else/udp/192.168.200.219-5353-224.0.0.251-5353",
        "else/udp/192.168.200.226-57621-192.168.200.255-57621",
        "else/udp/192.168.200.246-5353-224.0.0.251-5353",
        "out/tcp/192.168.200.230-PORT-INTERNET-443",
        "out/udp/192.168.200.230-PORT-10.59.184.10-53",
        "out/udp/192.168.200.230-PORT-10.59.48.10-53",
        "out/udp/192.168.200.230-PORT-192.168.200.255-17500",
        "out/udp/192.168.200.230-PORT-INTERNET-17500",
    ];
    assert_same_tree("seed", &example.map(str::to_owned).into(), &files(tree.path()));
    for directory in ["in/tcp", "in/udp", "else/tcp"] {
        assert!(tree.path().join(directory).is_dir(), "{directory}");
    }
}

#[test]
fn reading_twice_changes_nothing() {
    let case = Case::named("mix");
    let (tree, _) = read(&case.capture, &case.arguments);
    let again = read_into(tree.path(), &case.capture, &case.arguments);
    assert_eq!(reported(&again, "files made"), "0");
    assert_same_tree("again", &case.tree, &files(tree.path()));
}

#[test]
fn standard_input_is_a_capture_too() {
    let case = Case::named("seed");
    let tree = tempfile::tempdir().expect("a scratch directory");
    let status = conntrack()
        .args(["-q", "-r", "-", "-p"])
        .arg(tree.path())
        .args(&case.arguments)
        .stdin(fs::File::open(&case.capture).expect("the capture"))
        .status();
    assert!(status.expect("the program runs").success());
    assert_same_tree("stdin", &case.tree, &files(tree.path()));
}

#[test]
fn progress_shows_on_a_terminal_and_only_there() {
    const FILE_HEADER: usize = 24;
    const TIMES: usize = 2_000;
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let capture = fs::read(Case::named("mix").capture).expect("the capture");
    let (header, records) = capture.split_at(FILE_HEADER);
    let long = scratch.path().join("long.pcap");
    fs::write(&long, [header, &records.repeat(TIMES)].concat()).expect("written");

    let (_tree, output) = read(&long, &local());
    assert!(!stderr(&output).contains("MiB"), "{}", stderr(&output));

    // script(1) runs a command on a terminal of its own.
    let command = format!(
        "{} -p {} -r {} --local 192.168.200.230",
        env!("CARGO_BIN_EXE_conntrack"),
        scratch.path().join("tree").display(),
        long.display(),
    );
    let on_terminal = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .output()
        .expect("script runs");
    let shown = String::from_utf8_lossy(&on_terminal.stdout);
    assert!(on_terminal.status.success(), "{shown}");
    assert!(shown.contains("MiB/s"), "{shown}");
}

#[test]
fn a_file_s_time_is_when_its_connection_was_last_seen() {
    let case = Case::named("times");
    let (tree, _) = read(&case.capture, &case.arguments);
    let expected = fs::read_to_string(testdata().join("times.mtimes")).expect("times");
    for line in expected.lines() {
        let (path, seconds) = line.split_once(' ').expect("path and time");
        let modified = fs::metadata(tree.path().join(path)).expect("a file").mtime();
        assert_eq!(modified.to_string(), seconds, "{path}");
    }
}

#[test]
fn ports_that_were_asked_are_remembered_across_runs() {
    const ANSWER_BEFORE_ITS_REQUEST: &str = "in/udp/10.0.0.123-PORT-192.168.200.230-40002";
    let case = Case::named("udp-replies");
    assert!(case.tree.contains(ANSWER_BEFORE_ITS_REQUEST));

    let tree = tempfile::tempdir().expect("a scratch directory");
    let earlier = tree.path().join("out/udp/192.168.200.230-PORT-10.0.0.99-123");
    fs::create_dir_all(earlier.parent().expect("a directory")).expect("made");
    fs::write(earlier, "").expect("written");
    read_into(tree.path(), &case.capture, &case.arguments);
    assert!(!files(tree.path()).contains(ANSWER_BEFORE_ITS_REQUEST));
}

#[test]
fn a_truncated_capture_keeps_what_was_read_and_fails() {
    let (tree, output) = read(&testdata().join("broken/truncated.pcap"), &local());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(files(tree.path()).len(), 2, "two whole records come before the cut");
    let error = stderr(&output);
    assert!(error.contains("truncated.pcap: truncated"), "{error}");
}

#[test]
fn what_is_no_capture_is_one_clear_line() {
    for (name, says) in [
        ("not-a-capture.pcap", "unknown file format"),
        ("empty.pcap", "truncated"),
        ("unsupported-linktype.pcap", "link type"),
        ("missing.pcap", "No such file"),
        (".", "directory"),
    ] {
        let (tree, output) = read(&testdata().join("broken").join(name), &local());
        assert_eq!(output.status.code(), Some(1), "{name}");
        let error = stderr(&output);
        assert_eq!(error.lines().count(), 1, "{name}: {error}");
        assert!(error.starts_with("conntrack: ") && error.contains(says), "{name}: {error}");
        assert!(error.contains(name), "{error}");
        assert!(files(tree.path()).is_empty(), "{name}");
    }
}
