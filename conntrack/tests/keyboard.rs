//! At the keyboard: help, what is said of a wrong command line, values as they are typed, how a run ends
//! by itself. None of it takes privileges; what does is in `live_keyboard`.

use std::{
    fs,
    io::Write as _,
    num::NonZero,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::support::{
    Case, PATIENCE, conntrack, files, full::Full, terminal::Terminal, wait_until,
};
use tempfile::TempDir;

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a scratch directory")
}

/// So that what is wrongly taken for right watches nothing: there can be no tree here.
const NOWHERE: &str = "/nosuchdirectory/x";

/// What a wrong command line is answered with.
#[track_caller]
fn complaint(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        conntrack().args(arguments).output().expect("the program runs");
    let said = String::from_utf8(stderr).expect("UTF-8");
    assert_eq!(status.code(), Some(2), "{arguments:?}: {said}");
    assert!(stdout.is_empty() && said.starts_with("conntrack: "), "{arguments:?}: {said}");
    said
}

#[track_caller]
fn printed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the program runs");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8")
}

/// Has the seed's capture read into a tree, with these arguments besides.
fn reading(tree: &Path, arguments: &[&str]) -> Command {
    let case = Case::named("seed");
    let mut command = conntrack();
    command.arg("-r").arg(&case.capture).args(["--local", "192.168.200.230", "-p"]).arg(tree);
    command.args(arguments);
    command
}

/// Without what drives a terminal: bold, underlined.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut pieces = text.split('\u{1b}');
    plain += pieces.next().unwrap_or_default();
    plain.extend(pieces.map(|piece| piece.split_once('m').map_or(piece, |(_, text)| text)));
    plain
}

/// No line of the last paragraph is broken where its next word would have fitted.
#[track_caller]
fn assert_filled(help: &str, columns: usize) {
    let (_, paragraph) = help.split_once("Exit status: ").expect("a last paragraph");
    let lines: Vec<_> = format!("Exit status: {paragraph}").lines().map(str::to_owned).collect();
    for pair in lines.windows(2) {
        let next = pair[1].split(' ').next().map_or(0, str::len);
        let is_full = next == 0 || pair[0].len() + 1 + next > columns;
        assert!(is_full, "broken where it need not be at {columns}: {pair:?}");
    }
}

#[test]
fn help_fits_the_terminal() {
    for columns in [60, 80, 100] {
        for arguments in [&["--help"][..], &["-h"], &["help", "rules"], &["diff", "--help"]] {
            let terminal = Terminal::of_columns(NonZero::new(columns).expect("some"));
            let mut command = conntrack();
            let mut child = terminal.spawn_all(command.args(arguments));
            assert!(child.wait().expect("it ends").success());
            let is_whole = || terminal.written().contains("Exit status: ");
            assert!(wait_until(PATIENCE, is_whole), "{}", terminal.written());
            let help = plain(&terminal.written());
            let widest = help.lines().max_by_key(|line| line.chars().count()).expect("lines");
            let width = widest.chars().count();
            assert!(width <= usize::from(columns), "{arguments:?}, {columns}: {widest}");
            assert_filled(&help, usize::from(columns));
        }
    }
}

#[test]
fn help_has_headings_and_examples() {
    let help = printed(conntrack().arg("--help"));
    for heading in ["What is watched:", "The tree:", "What is recorded:", "The run:", "Examples:"] {
        assert!(help.lines().any(|line| line == heading), "{heading} in {help}");
    }
    assert_eq!(
        printed(conntrack().args(["help", "diff"])),
        printed(conntrack().args(["diff", "--help"]))
    );
    assert!(printed(conntrack().arg("help")).contains("Commands:"));
}

#[test]
fn the_version_says_which_build_it_is() {
    let version = printed(conntrack().arg("--version"));
    let lines: Vec<_> = version.lines().collect();
    let first = concat!("conntrack ", env!("CARGO_PKG_VERSION"), " (commit ");
    assert!(lines[0].starts_with(first), "{version}");
    assert!(lines[1].starts_with("features: ") && lines[1].contains("pcap"), "{version}");
    assert!(lines[2].starts_with("libpcap version "), "{version}");
}

#[test]
fn an_error_keeps_its_lines_and_points_to_the_help_of_its_command() {
    let said = complaint(&["rules"]);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "conntrack: the following required arguments were not provided:");
    assert!(lines[1].contains("--path <DIR>"), "{said}");
    assert!(lines.iter().any(|line| line.starts_with("Usage: conntrack rules")), "{said}");
    assert_eq!(lines.last(), Some(&"For more information, try 'conntrack rules --help'."));
    let similar = complaint(&["-p", NOWHERE, "--intervall", "1s"]);
    assert!(similar.contains("a similar argument exists: '--interval'"), "{similar}");
}

/// A line break in an argument would pass for the end of the message.
#[test]
fn nothing_in_an_argument_drives_the_terminal_or_breaks_a_line() {
    for arguments in [
        &["-p", NOWHERE, "-u", "1\n2\u{1b}[2J"][..],
        &["-p", NOWHERE, "--udp-in=1\n2\u{1b}[2J"],
        &["-p", NOWHERE, "-u1\n2\u{1b}[2J"],
        &["1\n2\u{1b}[2J"],
    ] {
        let said = complaint(arguments);
        assert!(!said.contains('\u{1b}') && said.contains("1\\n2\\u{1b}[2J"), "{said}");
    }
}

#[test]
fn netfilter_s_options_are_told_whose_they_are() {
    for arguments in [&["-L"][..], &["-L", "conntrack"], &["-E"], &["-F"], &["-S"], &["--dump"]] {
        let said = complaint(arguments);
        assert!(said.contains("conntrack-tools"), "{said}");
    }
    assert!(!complaint(&["-p", NOWHERE, "-Z"]).contains("conntrack-tools"));
}

#[test]
fn a_device_and_a_directory_without_flags_are_told_what_to_type() {
    for (typed, meant) in [
        (&["lo", "/tmp/x"][..], "conntrack -d lo -p /tmp/x\n"),
        (&["/tmp/x", "lo"], "conntrack -d lo -p /tmp/x\n"),
        (&["lo"], "conntrack -d lo -p DIR\n"),
        (&["-d", "lo", "/tmp/x"], "conntrack -d lo -p /tmp/x\n"),
        (&["-p", "/tmp/x", "lo"], "conntrack -d lo -p /tmp/x\n"),
        (&["-p", NOWHERE, "doctor"], "a command goes first: conntrack doctor"),
    ] {
        let said = complaint(typed);
        assert!(said.contains(meant), "{typed:?}: {said}");
    }
    assert!(complaint(&["rule"]).contains("a similar subcommand exists: 'rules'"));
}

#[test]
fn all_devices_are_not_watched_beside_one_of_them() {
    let said = complaint(&["-d", "any", "-i", "lo", "-p", NOWHERE]);
    assert!(said.contains("--device any is all devices already"), "{said}");
    let many: Vec<_> = (0..257).flat_map(|_| ["-d", "lo"]).collect();
    let said = complaint(&[&many[..], &["-p", NOWHERE]].concat());
    assert!(said.contains("--device can be given 256 times"), "{said}");
}

#[test]
fn a_file_without_local_is_told_why_it_takes_one() {
    let said = complaint(&["-p", NOWHERE, "-r", "file"]);
    assert!(said.contains("--local IP") && said.contains("what came in"), "{said}");
}

#[test]
fn values_are_taken_as_people_type_them() {
    let case = Case::named("seed");
    let scratch = scratch();
    for (number, arguments) in [
        &["--local", "192.168.200.230/24"][..],
        &["--local", "192.168.200.230,192.0.2.1"],
        &["--local", "192.168.200.230", "--interval", "5", "-u", "1,2"],
    ]
    .into_iter()
    .enumerate()
    {
        let tree = scratch.path().join(number.to_string());
        let mut command = conntrack();
        command.args(["-q", "-r"]).arg(&case.capture).arg("-p").arg(&tree).args(arguments);
        printed(&mut command);
        assert_eq!(files(&tree), case.tree, "{arguments:?}");
    }
    let tree_of = |name: &str, arguments: &[&str]| {
        let tree = scratch.path().join(name);
        printed(&mut reading(&tree, &[&["-q"], arguments].concat()));
        files(&tree)
    };
    let of_several =
        tree_of("several", &["-u5353,17500", "--internal=203.0.113.0/24,192.0.2.0/24"]);
    let internal = ["--internal", "203.0.113.0/24", "--internal", "192.0.2.0/24"];
    let one_by_one =
        tree_of("one by one", &[&["-u", "5353", "-u", "17500"], &internal[..]].concat());
    assert_eq!(of_several, one_by_one);
    assert_ne!(of_several, tree_of("no port", &internal));
    assert_ne!(of_several, tree_of("no network", &["-u", "5353,17500"]));

    let network = complaint(&["-p", NOWHERE, "-r", "file", "--local", "10.1.2.0/24"]);
    assert!(network.contains("is a network; give the machine's address"), "{network}");
}

#[test]
fn devices_are_listed_with_kind_state_and_addresses() {
    for flag in ["-D", "--list-devices"] {
        let listed = printed(conntrack().arg(flag));
        let loopback = listed.lines().find(|line| line.starts_with("lo ")).expect("loopback");
        let words: Vec<_> = loopback.split_whitespace().collect();
        assert_eq!(words[..3], ["lo", "loopback", "up"], "{listed}");
        assert!(words.contains(&"127.0.0.1/8"), "{listed}");
    }
}

#[test]
fn a_run_ends_by_itself_after_a_time_or_a_number_of_connections() {
    for (arguments, most) in [(&["--duration", "0.2"][..], 9), (&["-c", "1"], 9), (&["-c", "9"], 9)]
    {
        let scratch = scratch();
        // A pipe that stays open: nothing else ends it.
        let mut child = conntrack()
            .args(["-q", "--local", "192.168.200.230", "--interval", "20ms", "-r", "-", "-p"])
            .arg(scratch.path().join("tree"))
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut pipe = child.stdin.take().expect("piped");
        let capture = fs::read(Case::named("seed").capture).expect("a capture");
        pipe.write_all(&capture).expect("written");
        let mut status = None;
        let has_ended = wait_until(PATIENCE, || {
            status = child.try_wait().expect("a child of ours");
            status.is_some()
        });
        let _gone = child.kill();
        assert!(has_ended, "{arguments:?}");
        assert_eq!(status.and_then(|it| it.code()), Some(0), "{arguments:?}");
        assert!(files(&scratch.path().join("tree")).len() <= most, "{arguments:?}");
    }
    for wrong in [&["-c", "0"][..], &["--duration", "0"], &["--duration", "soon"]] {
        complaint(&[wrong, &["-p", NOWHERE]].concat());
    }
}

/// Time, direction, protocol, ends, evidence; the time is that of the capture, where this machine is.
#[test]
fn each_new_connection_is_a_line_in_a_pipe() {
    let scratch = scratch();
    let tree = scratch.path().join("tree");
    let lines = printed(reading(&tree, &["-v"]).env("TZ", "UTC"));
    assert_eq!(lines.lines().count(), Case::named("seed").tree.len(), "{lines}");
    for line in [
        "out  tcp 192.168.200.230 > INTERNET:443",
        "out  udp 192.168.200.230 > 10.59.184.10:53",
        "else udp 192.168.200.226:57621 > 192.168.200.255:57621",
    ] {
        let found = lines.lines().find(|it| it.contains(line));
        let found = found.unwrap_or_else(|| panic!("{line} in {lines}"));
        let (time, _) = found.split_once(line).expect("a time");
        let shape: String =
            time.chars().map(|it| if it.is_ascii_digit() { '9' } else { it }).collect();
        assert_eq!(shape, "9999-99-99 99:99:99 ", "{lines}");
    }
    let elsewhere = scratch.path().join("elsewhere");
    let later = printed(reading(&elsewhere, &["-v"]).env("TZ", "UTC-3"));
    assert_ne!(later, lines, "another time zone");
    assert_eq!(printed(&mut reading(&tree, &["-v"])), "", "none of them is new");
    assert_eq!(printed(&mut reading(&scratch.path().join("normal"), &[])), "");
}

#[test]
fn connections_that_nobody_reads_are_in_the_tree_all_the_same() {
    let scratch = scratch();
    let tree = scratch.path().join("tree");
    let full = Full::pipe();
    let output = reading(&tree, &["-v"]).stdout(full.stdio()).output().expect("it runs");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("standard output is not read").count(), 1, "{said}");
    assert_eq!(files(&tree), Case::named("seed").tree);
}

/// A tree with an address of each family, and names that are wider than half a terminal.
fn tree_of(files: &[&str]) -> TempDir {
    let tree = scratch();
    for file in files {
        let path = tree.path().join(file);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, "").expect("written");
    }
    tree
}

const LONG: &str = "2001:db8:1111:2222:3333:4444:5555:6666";

/// What `conntrack show` prints for a tree, in a pipe.
#[track_caller]
fn shown(tree: &Path, arguments: &[&str]) -> String {
    printed(conntrack().arg("show").arg(tree).args(arguments).env("TZ", "UTC-3"))
}

/// The ends of the connections that are shown.
#[track_caller]
fn ends(tree: &Path, arguments: &[&str]) -> Vec<String> {
    let shown = shown(tree, arguments);
    let rows = shown.lines().skip(1).map(|line| line.split_whitespace().skip(4));
    rows.map(|words| words.collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn show_picks_and_sorts() {
    let tree = tree_of(&[
        "in/tcp/INTERNET-PORT-10.0.0.2-443",
        "in/tcp/10.0.0.9-PORT-10.0.0.2-22",
        "out/udp/10.0.0.2-PORT-10.0.0.1-53",
        "else/udp/10.0.0.7-5353-224.0.0.251-5353",
    ]);
    let path = tree.path();
    let [ssh, https, dns, mdns] = [
        "10.0.0.9 > 10.0.0.2:22",
        "INTERNET > 10.0.0.2:443",
        "10.0.0.2 > 10.0.0.1:53",
        "10.0.0.7:5353 > 224.0.0.251:5353",
    ];
    assert_eq!(ends(path, &[]), [ssh, https, dns, mdns]);
    assert_eq!(ends(path, &["--in"]), [ssh, https]);
    assert_eq!(ends(path, &["--out", "--else"]), [dns, mdns]);
    assert_eq!(ends(path, &["--udp"]), [dns, mdns]);
    assert_eq!(ends(path, &["--port", "53,443"]), [https, dns]);
    assert_eq!(ends(path, &["--sort", "port"]), [ssh, dns, https, mdns]);
    assert_eq!(ends(path, &["--unanswered"]), [""; 0], "unknown is not unanswered");
    let later =
        fs::File::options().write(true).open(path.join("out/udp/10.0.0.2-PORT-10.0.0.1-53"));
    let time = SystemTime::now() + Duration::from_mins(1);
    later.and_then(|file| file.set_modified(time)).expect("set");
    assert_eq!(ends(path, &["--sort", "seen"])[0], dns);
    assert_eq!(ends(path, &["--new", "1h"]).len(), 4);
    assert_eq!(printed(conntrack().args(["show", "-p"]).arg(path)), shown(path, &[]));

    let named = ends(path, &["--services", "--in"]);
    assert_eq!(named, ["10.0.0.9 > 10.0.0.2:ssh", "INTERNET > 10.0.0.2:https"]);
    let json = shown(path, &["-f", "json", "--port", "22"]);
    assert!(json.contains("\"destination_port\":22") && !json.contains("443"), "{json}");
    assert!(shown(path, &["-f", "csv"]).starts_with("direction,protocol,"));
}

#[test]
fn show_keeps_to_the_width() {
    let long = format!("in/tcp/{LONG}-PORT-{LONG}-65535");
    let usual = format!("in/tcp/INTERNET-PORT-{LONG}-443");
    let tree = tree_of(&[&long, &usual, "out/tcp/10.0.0.2-PORT-INTERNET-443"]);
    let piped = shown(tree.path(), &[]);
    let widest = piped.lines().map(str::len).max().expect("lines");
    assert!(widest <= 100 && piped.contains(LONG), "{piped}");
    assert_eq!(piped.lines().count(), 5, "one of them is too wide: {piped}");
    assert!(!piped.contains('\u{1b}'), "{piped}");
    assert_eq!(shown(tree.path(), &["--oneline"]).lines().count(), 4);

    for columns in [80, 100, 150] {
        let terminal = Terminal::of_columns(NonZero::new(columns).expect("some"));
        let mut command = conntrack();
        command.arg("show").arg(tree.path()).env("TZ", "UTC");
        assert!(terminal.spawn_all(&mut command).wait().expect("it ends").success());
        let is_whole = |rows: &[String]| rows.iter().any(|row| row.contains("INTERNET:443"));
        terminal.wait_for("the last line", is_whole);
        let written = terminal.written();
        let fits = written.lines().all(|line| line.len() <= usize::from(columns));
        assert!(fits, "{columns}: {written}");
    }
}

/// In another time zone than in a pipe.
#[test]
fn show_has_local_times_on_a_terminal() {
    let tree = tree_of(&["in/tcp/INTERNET-PORT-10.0.0.2-443"]);
    let file =
        fs::File::options().write(true).open(tree.path().join("in/tcp/INTERNET-PORT-10.0.0.2-443"));
    let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    file.and_then(|file| file.set_modified(time)).expect("set");
    assert!(shown(tree.path(), &[]).contains("\n2023-11-14T22:13:20Z in "));
    let terminal = Terminal::new();
    let mut command = conntrack();
    command.arg("show").arg(tree.path()).env("TZ", "UTC-3");
    assert!(terminal.spawn_all(&mut command).wait().expect("it ends").success());
    let is_there = |rows: &[String]| rows.iter().any(|row| row.starts_with("2023-11-15 01:13 in "));
    terminal.wait_for("local time", is_there);
}

#[test]
fn rules_take_a_plain_directory_and_write_a_file() {
    let tree = tree_of(&["in/tcp/INTERNET-PORT-10.0.0.2-443", "odd"]);
    let scratch = scratch();
    let file = scratch.path().join("learned.nft");
    let by_flag = printed(conntrack().args(["rules", "-p"]).arg(tree.path()));
    assert_eq!(printed(conntrack().arg("rules").arg(tree.path())), by_flag);
    let mut command = conntrack();
    command.arg("rules").arg(tree.path()).arg("-o").arg(&file);
    assert_eq!(printed(&mut command), "");
    assert_eq!(fs::read_to_string(&file).expect("read"), by_flag);
    assert_eq!(printed(conntrack().arg("rules").arg(tree.path()).args(["-o", "-"])), by_flag);

    let said = |arguments: &[&str]| {
        let output = conntrack().arg("rules").arg(tree.path()).args(arguments).output();
        String::from_utf8(output.expect("it runs").stderr).expect("UTF-8")
    };
    assert!(said(&[]).contains("warning: "), "{}", said(&[]));
    assert_eq!(said(&["-q"]), "");
    complaint(&["rules"]);
    complaint(&["rules", "-p", NOWHERE, "y"]);
}

/// A warning is in the rules; it is said besides only where these go elsewhere.
#[test]
fn a_warning_about_rules_is_seen_once() {
    let tree = tree_of(&["in/tcp/INTERNET-PORT-10.0.0.2-443"]);
    let warning = |text: &str| text.matches("ssh").count();
    let output = conntrack().arg("rules").arg(tree.path()).output().expect("it runs");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    let in_file = warning(&String::from_utf8(output.stdout).expect("UTF-8"));
    assert!(warning(&said) == 1 && in_file > 0, "{said}");
    let terminal = Terminal::new();
    let mut command = conntrack();
    command.arg("rules").arg(tree.path());
    assert!(terminal.spawn_all(&mut command).wait().expect("it ends").success());
    assert!(wait_until(PATIENCE, || terminal.written().trim_end().ends_with('}')));
    assert_eq!(warning(&terminal.written()), in_file, "{}", terminal.written());
}

#[test]
fn a_difference_is_told_to_programs() {
    let [one, other] = [
        tree_of(&["in/tcp/INTERNET-PORT-10.0.0.2-443", "in/tcp/INTERNET-PORT-10.0.0.2-22"]),
        tree_of(&["in/tcp/INTERNET-PORT-10.0.0.2-443", "in/tcp/INTERNET-PORT-10.0.0.2-80"]),
    ];
    let differing = |arguments: &[&str]| {
        let mut command = conntrack();
        command.arg("diff").args([one.path(), other.path()]).args(arguments);
        let output = command.output().expect("it runs");
        assert_eq!(output.status.code(), Some(3));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
    };
    let diff = differing(&["-f", "json"]);
    assert_eq!(diff["new"][0]["destination_port"], 80);
    assert_eq!(diff["gone"][0]["destination_port"], 22);
    assert_eq!(diff["counts"]["unchanged"], 1);
    assert!(diff["unchanged"].is_null());
    assert_eq!(differing(&["-f", "json", "--all"])["unchanged"][0]["destination_port"], 443);
}

/// Runs a command that fails; its line.
#[track_caller]
fn failure(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    said
}

#[test]
fn the_directory_above_trees_names_them() {
    let above = scratch();
    for name in ["eth1", "eth0"] {
        fs::create_dir_all(above.path().join(name).join("in/tcp")).expect("made");
    }
    fs::create_dir(above.path().join("other")).expect("made");
    let path = above.path().display();
    let said = failure(conntrack().arg("rules").arg(above.path()));
    assert!(said.ends_with(&format!("; there are trees in {path}/eth0, {path}/eth1\n")), "{said}");
    let other = above.path().join("other");
    let said = failure(conntrack().arg("show").arg(&other));
    assert!(said.ends_with("there is none of in, out and else\n"), "{said}");
}

#[test]
fn a_directory_that_holds_other_things_takes_force() {
    let place = scratch();
    fs::create_dir(place.path().join("in")).expect("made");
    fs::write(place.path().join("letters"), "kept").expect("written");
    let said = failure(&mut reading(place.path(), &["-q"]));
    assert!(said.contains("holds other things, such as letters; choose a directory"), "{said}");
    assert!(said.contains("--force-path"), "{said}");
    assert_eq!(fs::read_dir(place.path()).expect("read").count(), 2, "nothing is made");

    printed(&mut reading(place.path(), &["-q", "--force-path"]));
    assert!(place.path().join("out/tcp/192.168.200.230-PORT-INTERNET-443").exists());
    // It is a tree now, and what is in it besides is its owner's affair.
    printed(&mut reading(place.path(), &["-q"]));
    assert_eq!(fs::read_to_string(place.path().join("letters")).expect("read"), "kept");
}
