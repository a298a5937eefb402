//! The script that `conntrack rules -f firewalld` prints, run by sh(1) on a directory. What firewalld itself makes of
//! the files is asked by `cargo xtask formats`.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::support::{add_files, conntrack};
use tempfile::TempDir;

const SSH: &str = "in/tcp/10.0.0.9-PORT-10.0.0.2-22";
const WEB: &str = "in/tcp/INTERNET-PORT-10.0.0.2-443";
const OUT: &str = "out/udp/10.0.0.2-PORT-10.0.0.53-53";
const FORWARDED: &str = "else/tcp/10.0.0.7-40000-10.9.0.1-5432";

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a scratch directory")
}

fn rules(files: &[&str], arguments: &[&str]) -> Output {
    let tree = scratch();
    add_files(tree.path(), files);
    let mut command = conntrack();
    command.args(["rules", "-q", "-f", "firewalld", "-p"]).arg(tree.path()).args(arguments);
    command.output().expect("it runs")
}

fn script(files: &[&str], arguments: &[&str]) -> String {
    let output = rules(files, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs a script on a directory; returns its status and what it said.
fn run(script: &str, arguments: &[&str], place: &Path) -> (Option<i32>, String) {
    let scratch = scratch();
    let file = scratch.path().join("script");
    fs::write(&file, script).expect("written");
    let output = Command::new("sh").arg(file).args(arguments).arg(place).output().expect("sh runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("UTF-8"))
}

/// Every file below, with what is in it.
fn files(place: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(place).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            let below = self::files(&path).into_iter();
            files.extend(below.map(|(below, text)| (format!("{name}/{below}"), text)));
        } else {
            files.insert(name, fs::read_to_string(path).expect("read"));
        }
    }
    files
}

fn names(place: &Path) -> Vec<String> {
    files(place).into_keys().collect()
}

#[test]
fn it_writes_the_same_files_again_and_takes_away_what_is_no_more() {
    let place = scratch();
    fs::create_dir(place.path().join("policies")).expect("made");
    let mine = place.path().join("policies/mine.xml");
    fs::write(&mine, "<policy/>").expect("written");
    let all = script(&[SSH, WEB, OUT, FORWARDED], &["--forward"]);
    assert_eq!(run(&all, &[], place.path()).0, Some(0));
    let written = files(place.path());
    let expected = [
        "ipsets/conntrack-internet-4.xml",
        "policies/conntrack-forward.xml",
        "policies/conntrack-in.xml",
        "policies/conntrack-out.xml",
        "policies/mine.xml",
    ];
    assert_eq!(names(place.path()), expected);
    assert_eq!(run(&all, &[], place.path()).0, Some(0));
    assert_eq!(files(place.path()), written);
    assert_eq!(run(&script(&[SSH], &[]), &[], place.path()).0, Some(0));
    assert_eq!(names(place.path()), ["policies/conntrack-in.xml", "policies/mine.xml"]);
    assert_eq!(run(&all, &["delete"], place.path()).0, Some(0));
    assert_eq!(names(place.path()), ["policies/mine.xml"]);
}

#[test]
fn a_file_of_somebody_else_is_left_as_it_is_and_nothing_changes() {
    let place = scratch();
    let first = script(&[SSH], &[]);
    assert_eq!(run(&first, &[], place.path()).0, Some(0));
    fs::write(place.path().join("policies/conntrack-out.xml"), "<policy/>").expect("written");
    let before = files(place.path());
    let (status, said) = run(&script(&[SSH, WEB, OUT], &[]), &[], place.path());
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("conntrack-out.xml is not of conntrack: move it away"), "{said}");
    assert_eq!(files(place.path()), before);
}

#[test]
fn only_enforcing_policies_drop() {
    for (arguments, target) in [(&[][..], "CONTINUE"), (&["--enforce"], "DROP")] {
        let script = script(&[SSH, OUT], arguments);
        let targets: Vec<_> = script.lines().filter(|line| line.starts_with("<policy ")).collect();
        let expected = format!("<policy priority=\"-100\" target=\"{target}\">");
        assert_eq!(targets, [&expected, &expected]);
    }
}

#[test]
fn where_nobody_comes_by_ssh_it_changes_nothing_unless_told_so() {
    let place = scratch();
    let enforcing = script(&[WEB], &["--enforce"]);
    let (status, said) = run(&enforcing, &[], place.path());
    assert_eq!((status, names(place.path()).len()), (Some(1), 0), "{said}");
    assert!(said.contains("nobody was seen who comes by ssh"), "{said}");
    assert_eq!(run(&enforcing, &["without-ssh"], place.path()).0, Some(0));
    assert!(!names(place.path()).is_empty());
    assert_eq!(run(&enforcing, &["delete"], place.path()).0, Some(0));
    assert!(names(place.path()).is_empty());
}

#[test]
fn a_wrong_place_or_word_is_said() {
    let place = scratch();
    let script = script(&[SSH], &[]);
    let (status, said) = run(&script, &[], &place.path().join("nowhere"));
    assert!(status == Some(1) && said.contains("there is no "), "{said}");
    assert_eq!(run(&script, &["remove"], place.path()).0, Some(2));
    assert!(names(place.path()).is_empty());
}

/// Rules that are about the same addresses share a set, and one address needs none.
#[test]
fn addresses_are_a_set_where_they_are_several() {
    let peers = (1..=9).step_by(2).map(|host| format!("in/tcp/10.0.0.{host}-PORT-10.0.0.2-5432"));
    let out = (1..=9).step_by(2).map(|host| format!("out/tcp/10.0.0.2-PORT-10.0.0.{host}-22"));
    let files: Vec<_> = peers.chain(out).collect();
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let script = script(&files, &[]);
    assert_eq!(script.matches("<ipset type=").count(), 1, "{script}");
    assert_eq!(script.matches("<entry>").count(), 5, "{script}");
    for rule in [
        "    <source ipset=\"conntrack-in-1\"/>\n    <destination address=\"10.0.0.2\"/>\n    \
         <port protocol=\"tcp\" port=\"5432\"/>",
        "    <source address=\"10.0.0.2\"/>\n    <destination ipset=\"conntrack-in-1\"/>\n    \
         <port protocol=\"tcp\" port=\"22\"/>",
    ] {
        assert!(script.contains(rule), "{script}");
    }
}

#[test]
fn what_firewalld_cannot_say_is_refused_or_said() {
    for arguments in [&["--at", "wire"][..], &["-d", "eth0"]] {
        let output = rules(&[SSH], arguments);
        assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{arguments:?}");
    }
    let zero = script(&["in/tcp/10.0.0.9-PORT-10.0.0.2-0", SSH], &[]);
    assert!(
        zero.contains("# Left out: port 0 of 1 rule") && !zero.contains("port=\"0\""),
        "{zero}"
    );
    let enforcing = script(&[SSH], &["--enforce"]);
    assert!(!enforcing.contains("--device"), "{enforcing}");
}
