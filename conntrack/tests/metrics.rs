//! Metrics: the values in the file, that it is always complete, and a file that cannot be written.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{
        fs::{MetadataExt as _, symlink},
        net::UnixDatagram,
    },
    path::Path,
    process::Command,
};

use crate::support::{
    Case, PATIENCE, assert_same_tree, conntrack, exposition::Exposition, files, pipe::PipeReader,
    wait_until,
};
use rustix::{
    fs::{CWD, FileType, Mode, makedev, mknodat},
    process::Signal,
};

fn read(path: &Path) -> Exposition {
    Exposition::parse(&fs::read_to_string(path).expect("metrics"))
}

/// Reads a capture; returns its metrics and standard error.
fn metrics_of(capture: &Path, arguments: &[String]) -> (Exposition, String, crate::support::Files) {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let [tree, metrics] = ["tree", "it.prom"].map(|name| scratch.path().join(name));
    let mut command = conntrack();
    command.arg("-r").arg(capture).args(arguments).arg("-p").arg(&tree);
    let output = command.arg("--metrics-file").arg(&metrics).output().expect("the program runs");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "{said}");
    let found = files(scratch.path());
    let beside = found.iter().filter(|path| !path.starts_with("tree/"));
    assert_eq!(beside.collect::<Vec<_>>(), ["it.prom"], "nothing temporary is left");
    (read(&metrics), said, files(&tree))
}

/// The number in the report's line about `what`.
fn reported(said: &str, what: &str) -> f64 {
    let line = said.lines().find_map(|line| line.strip_prefix(&format!("{what}: ")));
    let number = line.and_then(|line| line.split(' ').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {what} in {said}"))
}

#[track_caller]
fn assert_same(what: &str, one: f64, other: f64) {
    assert!((one - other).abs() < f64::EPSILON, "{what}: {one} is not {other}");
}

#[test]
fn metrics_say_what_the_report_says() {
    for case in Case::all() {
        let (metrics, said, tree) = metrics_of(&case.capture, &case.arguments);
        assert_same_tree(&case.name, &case.tree, &tree);
        let unreadable =
            ["truncated", "bad_ip_header", "too_many_extension_headers", "too_many_tags_or_labels"];
        let outcome = |it| metrics.value("conntrack_packets_total", Some(("outcome", it)));
        let lost = metrics.sum("conntrack_packets_lost_total")
            + metrics.sum("conntrack_connections_lost_total");
        for (what, number) in [
            ("packets seen", metrics.sum("conntrack_packets_total")),
            ("flows recorded", metrics.sum("conntrack_flows_total")),
            ("files made", metrics.sum("conntrack_files_created_total")),
            ("malformed", unreadable.map(outcome).iter().sum()),
            ("lost", lost),
        ] {
            assert_same(&format!("{}: {what}", case.name), reported(&said, what), number);
        }
        for direction in ["in", "out", "else"] {
            let in_tree = tree.iter().filter(|path| path.starts_with(&format!("{direction}/")));
            let label = Some(("direction", direction));
            let made = metrics.value("conntrack_files_created_total", label);
            assert_same(&case.name, f64::from(u32::try_from(in_tree.count()).expect("few")), made);
            assert!(metrics.value("conntrack_connections_total", label) >= made, "{}", case.name);
        }
    }
}

#[test]
fn metrics_say_what_was_read_and_how_full_the_flow_map_was() {
    let case = Case::named("seed");
    let small = [case.arguments.clone(), ["--max-flows", "100"].map(str::to_owned).into()].concat();
    let (metrics, _, _) = metrics_of(&case.capture, &small);
    for name in metrics.names() {
        for labels in metrics.labels(name) {
            assert_eq!(labels["file"], case.capture.to_str().expect("UTF-8"), "{name}");
        }
    }
    let source = metrics.labels("conntrack_source_info");
    assert_eq!((source[0]["mode"].as_str(), source[0]["hook"].as_str()), ("file", ""));
    let version = &metrics.labels("conntrack_build_info")[0]["version"];
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    assert_same("room", metrics.value("conntrack_flow_map_max_entries", None), 100.0);
    let drained = metrics.value("conntrack_flow_map_entries", None);
    assert!((1.0..=100.0).contains(&drained), "{drained}");
    assert!(metrics.value("conntrack_drains_total", None) >= 1.0);
    let [last, all] = ["conntrack_last_drain_seconds", "conntrack_drain_seconds_total"]
        .map(|name| metrics.value(name, None));
    assert!(0.0 < last && last <= all && all < 10.0, "{last} {all}");
    let started = metrics.value("conntrack_start_time_seconds", None);
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs_f64();
    assert!((now - 60.0..=now).contains(&started), "{started}");
}

#[test]
fn the_table_in_the_documents_names_every_metric_and_every_label() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let document = fs::read_to_string(path).expect("docs/metrics.md");
    let Case { capture, mut arguments, .. } = Case::named("seed");
    arguments.push("--events".to_owned());
    let (metrics, _, _) = metrics_of(&capture, &arguments);
    let row = |name| {
        let row = document.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        row.unwrap_or_else(|| panic!("no row for {name}"))
    };
    for name in metrics.names() {
        for labels in metrics.labels(name) {
            let fixed = labels.iter().filter(|(label, _)| *label != "file");
            for (label, value) in fixed {
                assert!(row(name).contains(&format!("`{label}`")), "{name}: {label}");
                let is_one_of_a_list = !name.ends_with("_info");
                assert!(!is_one_of_a_list || document.contains(&format!("`{value}`")), "{value}");
            }
        }
    }
    let named = document.split('`').filter(|word| word.starts_with("conntrack_"));
    let unknown = named.filter(|name| !metrics.names().contains(name));
    // Where several devices are watched; see `live_several`.
    let unknown: Vec<_> =
        unknown.filter(|name| *name != "conntrack_device_packets_total").collect();
    assert!(unknown.is_empty(), "there are no such metrics: {unknown:?}");
}

#[test]
fn whatever_is_in_a_name_it_is_one_label() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let odd = scratch.path().join("a\"} 1\nb\\.pcap");
    let case = Case::named("seed");
    fs::copy(&case.capture, &odd).expect("copied");
    let (metrics, _, _) = metrics_of(&odd, &case.arguments);
    assert_eq!(metrics.labels("conntrack_flows_total")[0]["file"], odd.to_str().expect("UTF-8"));
}

/// A run that stays alive and writes metrics every 10 ms.
fn running(scratch: tempfile::TempDir, command: &mut Command) -> PipeReader {
    PipeReader::start(scratch, command.args(["--interval", "10ms"]))
}

#[test]
fn a_file_that_is_written_all_the_time_is_always_whole() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let metrics = scratch.path().join("it.prom");
    let mut reader = running(scratch, conntrack().arg("--metrics-file").arg(&metrics));
    let mut versions = BTreeSet::new();
    let all = read(&metrics).names().len();
    let is_replaced = wait_until(PATIENCE, || {
        assert_eq!(read(&metrics).names().len(), all);
        versions.insert(fs::metadata(&metrics).expect("a file").mtime_nsec());
        versions.len() >= 20
    });
    assert!(is_replaced, "only {} times", versions.len());
    reader.stop();
    let beside = fs::read_dir(reader.scratch.path()).expect("a directory");
    let names = beside.map(|entry| entry.expect("an entry").file_name());
    let temporary: Vec<_> =
        names.filter(|name| name.as_encoded_bytes().ends_with(b"tmp")).collect();
    assert!(temporary.is_empty(), "{temporary:?}");
    assert_eq!(fs::metadata(&metrics).expect("a file").mode() & 0o777, 0o644);
}

#[test]
fn no_link_is_followed_on_the_way() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let [victim, metrics] = ["victim", "it.prom"].map(|name| scratch.path().join(name));
    fs::write(&victim, "kept").expect("written");
    let mut reader = running(scratch, conntrack().arg("--metrics-file").arg(&metrics));
    // The name of its temporary file, which is easy to guess.
    let temporary = reader.path(&format!(".it.prom.{}.tmp", reader.id()));
    for _ in 0..3 {
        assert!(wait_until(PATIENCE, || symlink(&victim, &temporary).is_ok()));
        let is_gone = || !fs::read_link(&temporary).is_ok_and(|target| target == victim);
        assert!(wait_until(PATIENCE, is_gone), "{}", reader.said());
    }
    reader.stop();
    assert_eq!(fs::read_to_string(&victim).expect("a file"), "kept");
    read(&metrics);
    assert!(!reader.said().contains("metrics"), "{}", reader.said());
}

/// Makes `path` something that is no regular file.
type Make = fn(&Path) -> bool;

fn make_pipe(path: &Path) -> bool {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).is_ok()
}

fn make_socket(path: &Path) -> bool {
    UnixDatagram::bind(path).is_ok()
}

/// As /dev/null, which only root can make.
fn make_null(path: &Path) -> bool {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::RWXU, makedev(1, 3)).is_ok()
}

/// As /dev/stdout, which leads to a file.
fn make_link(path: &Path) -> bool {
    symlink("/proc/self/exe", path).is_ok()
}

fn make_broken_link(path: &Path) -> bool {
    symlink("nowhere", path).is_ok()
}

const NOT_REGULAR: [(Make, &str); 5] = [
    (make_pipe, "it is a named pipe"),
    (make_socket, "it is a socket"),
    (make_null, "it is a device node"),
    (make_link, "it is a symbolic link"),
    (make_broken_link, "it is a symbolic link"),
];

#[test]
fn what_is_no_regular_file_is_refused_and_left_as_it_is() {
    for (make, says) in NOT_REGULAR {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let [tree, metrics] = ["tree", "it.prom"].map(|name| scratch.path().join(name));
        if !make(&metrics) {
            eprintln!("only root can make what {says}");
            continue;
        }
        let before = fs::symlink_metadata(&metrics).expect("there");
        let case = Case::named("seed");
        let mut command = conntrack();
        command.arg("-r").arg(&case.capture).args(&case.arguments).arg("-p").arg(&tree);
        let output = command.arg("--metrics-file").arg(&metrics).output().expect("it runs");
        let error = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
        let says = format!("it.prom: {says}; name a regular file, or one that is not there yet");
        assert!(error.contains(&says), "{error}");
        let after = fs::symlink_metadata(&metrics).expect("there");
        assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()));
        assert!(!tree.exists(), "nothing is done before");
    }
}

#[test]
fn what_takes_its_place_later_is_left_as_it_is_too() {
    for (make, says) in NOT_REGULAR {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let [metrics, other] = ["it.prom", "other"].map(|name| scratch.path().join(name));
        if !make(&other) {
            eprintln!("only root can make what {says}");
            continue;
        }
        let made = fs::symlink_metadata(&other).expect("there").ino();
        let mut reader = running(scratch, conntrack().arg("--metrics-file").arg(&metrics));
        fs::rename(&other, &metrics).expect("put in its place");
        reader.wait_for(says);
        assert_eq!(fs::symlink_metadata(&metrics).expect("there").ino(), made, "{says}");
        fs::remove_file(&metrics).expect("removed");
        reader.wait_for("metrics are written again");
        reader.stop();
        assert!(read(&metrics).value("conntrack_metrics_write_errors_total", None) >= 1.0);
    }
}

#[test]
fn a_place_that_cannot_take_metrics_is_said_before_anything_is_done() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let tree = scratch.path().join("tree");
    let at = |path: &str| scratch.path().join(path);
    fs::write(at("file"), "").expect("written");
    for (path, says) in [
        (at("missing/it.prom"), "missing does not exist; make it first"),
        (at("."), "it is a directory; name a file in it"),
        (at("file/it.prom"), "Not a directory"),
        ("/proc/it.prom".into(), "cannot write metrics to /proc/it.prom"),
        ("..".into(), "it is a directory"),
    ] {
        let mut command = conntrack();
        command.args(["-r", "-", "--local", "::1", "-p"]).arg(&tree);
        let output = command.arg("--metrics-file").arg(&path).output().expect("the program runs");
        let error = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(
            error.starts_with("conntrack: cannot write metrics") && error.contains(says),
            "{error}"
        );
        assert!(!tree.exists(), "{error}");
    }
}

#[test]
fn a_place_that_goes_away_is_said_once_and_counted_and_when_it_is_back() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let [directory, away] = ["metrics", "away"].map(|name| scratch.path().join(name));
    let metrics = directory.join("it.prom");
    fs::create_dir(&directory).expect("made");
    let mut reader = running(scratch, conntrack().arg("--metrics-file").arg(&metrics));
    let errors = || read(&metrics).value("conntrack_metrics_write_errors_total", None);
    assert_same("none yet", errors(), 0.0);
    fs::rename(&directory, &away).expect("moved away");
    reader.wait_for("metrics does not exist; make it first; going on without");
    // Several more failures, with a report in between.
    for asked in 1..=5 {
        reader.signal(Signal::USR1);
        assert!(wait_until(PATIENCE, || reader.said().matches("packets seen").count() == asked));
    }
    // The same directory: with Landlock another one in its place could not be written.
    fs::rename(&away, &directory).expect("moved back");
    reader.wait_for("metrics are written again");
    assert!(errors() >= 1.0, "{}", errors());
    reader.stop();
    assert_eq!(reader.said().matches("make it first").count(), 1, "{}", reader.said());
}
