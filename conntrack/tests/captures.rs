//! Capture files: each in `testdata/` yields the tree beside it, which is written by hand.

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    net::IpAddr,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, UNIX_EPOCH},
};

use crate::support::{Case, PATIENCE, assert_same_tree, conntrack, files, testdata, wait_until};
use flate2::{Compression, write::GzEncoder};
use rustix::process::{Pid, Signal, kill_process};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
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

/// The report's line about `what`.
fn reported(output: &Output, what: &str) -> String {
    let report = stderr(output);
    let line = report.lines().find_map(|line| line.strip_prefix(&format!("{what}: ")));
    line.unwrap_or_else(|| panic!("no {what} in {report}")).to_owned()
}

/// Without the directions.
fn files_made(output: &Output) -> String {
    let made = reported(output, "files made");
    made.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn every_capture_leads_to_its_tree() {
    let cases = Case::all();
    assert!(cases.len() >= 20, "only {} cases found", cases.len());
    for case in cases {
        let (tree, output) = read(&case.capture, &case.arguments);
        assert!(output.status.success(), "{}: {}", case.name, stderr(&output));
        assert_same_tree(&case.name, &case.tree, &files(tree.path()));
        assert_eq!(files_made(&output), case.tree.len().to_string(), "{}", case.name);
        assert_eq!(reported(&output, "lost"), "0", "{}", case.name);
    }
}

#[test]
fn the_report_says_why_packets_are_no_flows() {
    let case = Case::named("not-ip");
    let (_tree, output) = read(&case.capture, &case.arguments);
    assert_eq!(reported(&output, "skipped"), "23 (not IP: 11, neither TCP nor UDP: 12)");
    assert!(!stderr(&output).contains("EtherType"), "{}", stderr(&output));

    let verbose = [&case.arguments[..], &["-v".to_owned()]].concat();
    let (_tree, output) = read(&case.capture, &verbose);
    assert_eq!(
        reported(&output, "not IP"),
        "PPPoE without IP (EtherType 0x8864): 3, IEEE 802.3 without an EtherType: 2, \
         ARP (EtherType 0x0806): 2, MPLS without IP (EtherType 0x8847): 1, \
         PPPoE discovery (EtherType 0x8863): 1, LLDP (EtherType 0x88cc): 1, \
         MACsec (EtherType 0x88e5): 1"
    );
}

#[test]
fn an_unsupported_type_of_nearly_all_frames_is_named() {
    const MACSEC: [u8; 2] = [0x88, 0xe5];
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let capture = scratch.path().join("macsec.pcap");
    let mut bytes = fs::read(Case::named("seed").capture).expect("the capture");
    let mut at = 24;
    let mut frames = 0;
    while let Some(record) = bytes.get_mut(at..).filter(|record| !record.is_empty()) {
        let length = u32::from_le_bytes(record[8..12].try_into().expect("four octets"));
        record[16 + 12..][..2].copy_from_slice(&MACSEC);
        at += 16 + usize::try_from(length).expect("a length");
        frames += 1;
    }
    fs::write(&capture, bytes).expect("written");
    let (_tree, output) = read(&capture, &local());
    assert_eq!(
        reported(&output, "not read"),
        format!("{frames} of {frames} packets are MACsec (EtherType 0x88e5)")
    );
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
    assert_eq!(files_made(&again), "0");
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
fn a_pipe_that_says_nothing_more_is_shown_and_can_be_stopped() {
    let case = Case::named("seed");
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let pipe = scratch.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let tree = scratch.path().join("tree");
    let mut reader = conntrack()
        .args(["--interval", "100ms", "-r"])
        .arg(&pipe)
        .arg("-p")
        .arg(&tree)
        .args(&case.arguments)
        .spawn()
        .expect("the program runs");
    let mut writer = fs::OpenOptions::new().write(true).open(&pipe).expect("its other end");
    writer.write_all(&fs::read(&case.capture).expect("the capture")).expect("written");

    let is_shown = || tree.exists() && files(&tree).is_superset(&case.tree);
    assert!(wait_until(PATIENCE, is_shown), "{:?}", files(&tree));
    terminate(&reader);
    assert!(reader.wait().expect("ended").success());
    drop(writer);
}

#[test]
fn a_pipe_that_never_says_anything_can_be_stopped() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let tree = scratch.path().join("tree");
    let mut reader = conntrack()
        .args(["-r", "-", "--local", "192.0.2.1", "-p"])
        .arg(&tree)
        .stdin(Stdio::piped())
        .spawn()
        .expect("the program runs");
    // `Child::wait` would close a pipe to its standard input; this one stays open and silent.
    let silent = reader.stdin.take();
    assert!(wait_until(PATIENCE, || handles_sigterm(reader.id())));
    terminate(&reader);
    assert!(reader.wait().expect("ended").success());
    assert!(!tree.exists(), "there was nothing to read");
    drop(silent);
}

/// By the mask of proc(5).
fn handles_sigterm(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask");
    let mask = u64::from_str_radix(mask.trim(), 16).expect("a number");
    mask & (1 << (Signal::TERM.as_raw() - 1)) != 0
}

fn terminate(child: &Child) {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(id, Signal::TERM).expect("signalled");
}

#[test]
fn a_name_that_is_not_utf_8_is_a_name() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let odd = scratch.path().join(OsStr::from_bytes(b"odd\xff.pcap"));
    let case = Case::named("seed");
    fs::copy(&case.capture, &odd).expect("copied");
    let (tree, output) = read(&odd, &case.arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_same_tree("odd name", &case.tree, &files(tree.path()));
}

#[test]
fn a_file_s_time_is_when_its_connection_was_last_seen() {
    let mut cases = 0;
    for entry in testdata().read_dir().expect("testdata") {
        let sheet = entry.expect("an entry").path();
        if sheet.extension() != Some(OsStr::new("mtimes")) {
            continue;
        }
        cases += 1;
        let name = sheet.file_stem().and_then(OsStr::to_str).expect("a case");
        let case = Case::named(name);
        let (tree, _) = read(&case.capture, &case.arguments);
        let expected = fs::read_to_string(&sheet).expect("times");
        for line in expected.lines() {
            let (path, seconds) = line.split_once(' ').expect("path and time");
            let modified = fs::metadata(tree.path().join(path)).expect("a file").mtime();
            assert_eq!(modified.to_string(), seconds, "{name}: {path}");
        }
    }
    assert!(cases >= 4, "only {cases} cases about time found");
}

#[test]
fn packets_without_a_time_have_the_file_s() {
    const THEN: Duration = Duration::from_secs(1_000_000_000);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let case = Case::named("container-pcapng-simple");
    let capture = scratch.path().join("simple.pcapng");
    fs::copy(&case.capture, &capture).expect("copied");
    let file = fs::File::options().append(true).open(&capture).expect("the copy");
    file.set_modified(UNIX_EPOCH + THEN).expect("an old file");
    let (tree, _) = read(&capture, &case.arguments);
    for path in &case.tree {
        let modified = fs::metadata(tree.path().join(path)).expect("a file").modified();
        assert_eq!(modified.expect("a time"), UNIX_EPOCH + THEN, "{path}");
    }
}

/// The capture in each supported compression, also concatenated from parts.
fn compressed(capture: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    let gzip = |part: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(part).expect("a Vec takes every byte");
        encoder.finish().expect("a Vec takes every byte")
    };
    let zstd = |part: &[u8]| compress_to_vec(part, CompressionLevel::Fastest);
    let (first, second) = capture.split_at(capture.len() / 3);
    // RFC 8878, section 3.1.2: a skippable frame of 5 octets.
    let skippable = [0x53, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 1, 2, 3, 4, 5];
    [
        ("gz", gzip(capture)),
        ("parts.gz", [gzip(first), gzip(second)].concat()),
        ("zst", zstd(capture)),
        ("parts.zst", [zstd(first), skippable.to_vec(), zstd(second)].concat()),
    ]
}

#[test]
fn compressed_captures_are_read_by_name_and_from_standard_input() {
    for name in ["mix", "container-pcapng-interfaces"] {
        let case = Case::named(name);
        let scratch = tempfile::tempdir().expect("a scratch directory");
        for (kind, bytes) in compressed(&fs::read(&case.capture).expect("the capture")) {
            // The name does not matter.
            let capture = scratch.path().join("capture");
            fs::write(&capture, bytes).expect("written");
            let (tree, output) = read(&capture, &case.arguments);
            assert!(output.status.success(), "{kind}: {}", stderr(&output));
            assert_same_tree(kind, &case.tree, &files(tree.path()));

            let tree = tempfile::tempdir().expect("a scratch directory");
            let mut reader = conntrack();
            reader.args(["-q", "-r", "-", "-p"]).arg(tree.path()).args(&case.arguments);
            let status = reader.stdin(fs::File::open(&capture).expect("the capture")).status();
            assert!(status.expect("the program runs").success(), "{kind}");
            assert_same_tree(kind, &case.tree, &files(tree.path()));
        }
    }
}

#[test]
fn a_compressed_capture_that_ends_early_keeps_what_was_read_and_fails() {
    let case = Case::named("mix");
    let scratch = tempfile::tempdir().expect("a scratch directory");
    // Several blocks, of which the last is truncated.
    let (header, records) = split(fs::read(&case.capture).expect("the capture"));
    let long = [&header[..], &records.repeat(200)].concat();
    for (kind, bytes) in compressed(&long) {
        let capture = scratch.path().join(format!("cut.{kind}"));
        fs::write(&capture, &bytes[..bytes.len() - 9]).expect("written");
        let (tree, output) = read(&capture, &case.arguments);
        assert_eq!(output.status.code(), Some(1), "{kind}");
        assert_same_tree(kind, &case.tree, &files(tree.path()));
        let error = stderr(&output);
        assert!(error.contains(&format!("cut.{kind}: truncated: ")), "{error}");
    }
}

/// File header and packets of a pcap file.
fn split(mut capture: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    const FILE_HEADER: usize = 24;
    let records = capture.split_off(FILE_HEADER);
    (capture, records)
}

#[test]
fn a_compression_that_is_not_read_is_named_with_what_reads_it() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let capture = scratch.path().join("capture.xz");
    fs::write(&capture, b"\xfd7zXZ\0 and more").expect("written");
    let (_tree, output) = read(&capture, &local());
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.contains("capture.xz: ") && error.contains("xz -dc"), "{error}");
}

#[test]
fn what_is_compressed_and_no_capture_is_one_clear_line() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    for (kind, bytes) in compressed(b"This is a text, not a capture.\n") {
        let capture = scratch.path().join(format!("text.{kind}"));
        fs::write(&capture, bytes).expect("written");
        let (_tree, output) = read(&capture, &local());
        assert_eq!(output.status.code(), Some(1), "{kind}");
        let error = stderr(&output);
        assert_eq!(error.lines().count(), 1, "{kind}: {error}");
        assert!(error.contains("unknown file format"), "{kind}: {error}");
    }
}

#[test]
fn of_several_link_types_those_that_cannot_be_read_are_said_and_counted() {
    const WLAN: [u8; 2] = [105, 0];
    let case = Case::named("container-pcapng-interfaces");
    let mut capture = fs::read(&case.capture).expect("the capture");
    let descriptions = positions(&capture, &[1, 0, 0, 0]);
    let last = descriptions.into_iter().nth(3).expect("four interfaces");
    capture[last + 8..][..2].copy_from_slice(&WLAN);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = scratch.path().join("some.pcapng");
    fs::write(&path, &capture).expect("written");
    let (tree, output) = read(&path, &case.arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("some.pcapng: packets of link type IEEE802_11 are not read"));
    assert!(reported(&output, "skipped").contains("not IP: "), "{}", stderr(&output));
    let found = files(tree.path());
    assert!(!found.is_empty() && found.is_subset(&case.tree) && found != case.tree);
}

/// Offsets of blocks of this type before the first packet.
fn positions(capture: &[u8], kind: &[u8]) -> Vec<usize> {
    let mut at = 0;
    let mut found = Vec::new();
    while capture[at] != 6 {
        if capture[at..].starts_with(kind) {
            found.push(at);
        }
        let length = u32::from_le_bytes(capture[at + 4..][..4].try_into().expect("four octets"));
        at += usize::try_from(length).expect("a length");
    }
    found
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

/// The complete path to a tree, which the fuzz target leaves out, for its corpus and mutations of it.
#[test]
fn any_capture_loses_nothing_and_makes_only_files_of_connections() {
    const CHANGED: usize = 8;
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/capture_file");
    let entries = corpus.read_dir().expect("the corpus");
    let mut captures: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    captures.sort();
    assert!(captures.len() > 20, "only {} captures", captures.len());
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let capture = scratch.path().join("capture");
    let mut made = 0;
    for path in captures {
        let mut bytes = fs::read(&path).expect("a capture");
        for seed in 0..=CHANGED {
            fs::write(&capture, &bytes).expect("written");
            made += assert_tree_of(&format!("{}, changed {seed} times", path.display()), &capture);
            change(&mut bytes, seed);
        }
    }
    assert!(made > 1000, "only {made} files");
}

/// Flips a bit, chosen by the seed.
fn change(bytes: &mut [u8], seed: usize) {
    let spread = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7;
    if let Some(place) = spread.checked_rem(bytes.len()) {
        bytes[place] ^= 1 << (spread % 8);
    }
}

/// Runs the program on the capture and checks the tree; returns the number of files.
#[track_caller]
fn assert_tree_of(what: &str, capture: &Path) -> usize {
    let few = ["--max-flows", "16"].map(str::to_owned);
    let (tree, output) = read(capture, &[&local()[..], &few].concat());
    let said = stderr(&output);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{what}: {}: {said}", output.status);
    assert!(!said.contains("panicked"), "{what}: {said}");
    let found = files(tree.path());
    for path in &found {
        assert!(is_connection(path), "{what}: {path}");
    }
    if said.contains("packets seen: ") {
        assert_eq!(reported(&output, "lost"), "0", "{what}");
        assert_eq!(files_made(&output), found.len().to_string(), "{what}");
    }
    found.len()
}

/// Whether this is the path of a connection.
fn is_connection(path: &str) -> bool {
    let [direction, protocol, name] = path.split('/').collect::<Vec<_>>()[..] else { return false };
    let [src, src_port, dst, dst_port] = name.split('-').collect::<Vec<_>>()[..] else {
        return false;
    };
    let is_end = |address: &str, port: &str| {
        let ip = address.parse::<IpAddr>().map(|ip| ip.to_string());
        let number = port.parse::<u16>().map(|number| number.to_string());
        (address == "INTERNET" || ip.is_ok_and(|ip| ip == address))
            && (port == "PORT" || number.is_ok_and(|number| number == port))
    };
    ["in", "out", "else"].contains(&direction)
        && ["tcp", "udp"].contains(&protocol)
        && is_end(src, src_port)
        && is_end(dst, dst_port)
}
