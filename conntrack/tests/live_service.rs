//! As a service and on a terminal, watching a device: when it is ready, how it ends, what the live
//! line and the metrics show, and that what the systemd unit leaves is enough. Needs root.

use std::{
    fs,
    os::unix::{fs::chown, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    time::{Duration, Instant},
};

use crate::support::{
    PATIENCE, assert_same_tree,
    collector::Collector,
    exposition::Exposition,
    frames::Wire,
    lab::{DEVICE, Lab},
    manager::Manager,
    refusal::refuse,
    terminal::Terminal,
    usual::{CLSACT, EBPF, HOST, PCAP, TCX, XDP, each_way, has_tcx, request},
    wait_until,
};
use rustix::process::{Pid, Signal, kill_process};
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

each_way!(
    sigterm_ends_it_within_a_second_with_what_was_seen_last,
    a_hangup_ends_it_with_what_was_seen_last,
);

/// As when the terminal or the ssh session that it was started from goes away.
fn a_hangup_ends_it_with_what_was_seen_last(way: &[&str]) {
    let lab = Lab::new(&[HOST]);
    let collector = Collector::start(&lab.host, &[way, &["--interval", "1h"]].concat());
    let (frame, expected) = request(443);
    Wire::of(&lab).leave(&frame);
    let ended = collector.stop_by(Signal::HUP);
    assert!(ended.status.success(), "{:?}: {}", ended.status, ended.said);
    assert_same_tree("the last batch", &expected, &ended.files);
    assert_eq!(lab.hooks(), "");
}

fn sigterm_ends_it_within_a_second_with_what_was_seen_last(way: &[&str]) {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    // Others use the machine too: the best of three.
    let took = (1..=3).map(|port| {
        let collector = Collector::start(&lab.host, &[way, &["--interval", "1h"]].concat());
        let (frame, expected) = request(port);
        wire.leave(&frame);
        let start = Instant::now();
        let ended = collector.stop_by(Signal::TERM);
        let took = start.elapsed();
        assert!(ended.status.success(), "{}", ended.said);
        assert_same_tree("the last batch", &expected, &ended.files);
        took
    });
    let took = took.min().expect("three");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn it_is_ready_once_it_watches() {
    let tc = if has_tcx() { "TCX" } else { "clsact" };
    let ebpf = format!("eBPF, TC ({tc}); new");
    for (arguments, says) in [(EBPF, ebpf.as_str()), (PCAP, "libpcap; new")] {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = scratch.path().join("notify");
        let tree = scratch.path().join("tree");
        let mut manager = Manager::on(UnixDatagram::bind(&path).expect("a socket"));
        let mut command = lab.host.command(env!("CARGO_BIN_EXE_conntrack"));
        command.args(["--interval", "50ms", "-q", "-d", DEVICE, "-p"]).arg(&tree).args(arguments);
        let mut child = Ending(command.env("NOTIFY_SOCKET", &path).spawn().expect("it runs"));
        let ready = manager.wait_for("READY=1");
        assert!(ready.contains(&format!("\nSTATUS={says}")), "{ready}");
        let (frame, expected) = request(443);
        wire.leave(&frame);
        manager.wait_for("new connections: 0 in, 1 out, 0 else");
        child.signal(Signal::TERM);
        manager.wait_for("STOPPING=1");
        assert!(child.0.wait().expect("ended").success());
        assert_same_tree("seen since it was ready", &expected, &crate::support::files(&tree));
    }
}

#[test]
fn metrics_show_what_was_seen_and_how_full_the_flow_map_was() {
    const SENT: u16 = 10;
    let tc = if has_tcx() { "tc_tcx" } else { "tc_clsact" };
    for (arguments, mode, hook) in [(EBPF, "ebpf", tc), (PCAP, "pcap", "")] {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = scratch.path().join("it.prom");
        let metrics_file = ["--metrics-file", path.to_str().expect("UTF-8")];
        let once = ["--interval", "1h", "--max-flows", "500"];
        let collector = Collector::start(&lab.host, &[arguments, &metrics_file, &once].concat());
        let metrics = || Exposition::parse(&fs::read_to_string(&path).expect("metrics"));
        assert!(wait_until(PATIENCE, || path.exists()), "written at the start");
        for port in 1..=SENT {
            wire.leave(&request(port).0);
        }
        let ended = collector.stop();
        let metrics = metrics();
        let number = |name: &str| format!("{}", metrics.sum(&format!("conntrack_{name}")));
        assert_eq!(number("packets_total"), ended.reported("packets seen").to_string());
        assert_eq!(number("files_created_total"), SENT.to_string());
        assert_eq!(number("flow_map_entries"), SENT.to_string(), "{arguments:?}");
        assert_eq!(number("flow_map_max_entries"), "500");
        let out = metrics.value("conntrack_connections_total", Some(("direction", "out")));
        assert_eq!(out.to_string(), SENT.to_string());
        assert!(metrics.sum("conntrack_last_drain_seconds") > 0.0);
        let source = metrics.labels("conntrack_source_info")[0];
        let labels = ["device", "mode", "hook"].map(|label| source[label].as_str());
        assert_eq!(labels, [DEVICE, mode, hook]);
    }
}

/// A child that is gone when it goes out of scope.
struct Ending(Child);

impl Ending {
    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("signalled");
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone afterwards.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Starts it on a terminal, in the foreground if `leader` says so.
fn on_terminal(lab: &Lab, tree: &Path, leader: &[&str], arguments: &[&str]) -> (Terminal, Ending) {
    let terminal = Terminal::new();
    let program = [leader, &[env!("CARGO_BIN_EXE_conntrack"), "-d", DEVICE, "-p"]].concat();
    let mut command = lab.host.command(program[0]);
    command.args(&program[1..]).arg(tree).args(arguments);
    let child = Ending(terminal.spawn(&mut command));
    (terminal, child)
}

const FOREGROUND: &[&str] = &["setsid", "--ctty"];

fn ends_with(rows: &[String], text: &str) -> bool {
    rows.last().is_some_and(|row| row == text)
}

/// Whether the live line is the last row, and says so many new connections and losses.
fn has_line(rows: &[String], new: u64, lost: u64) -> bool {
    let connections = format!("; new connections: 0 in, {new} out, 0 else; packets seen: ");
    rows.last().is_some_and(|row| {
        row.starts_with(&format!("lost: {lost}; 0:")) && row.contains(&connections)
    })
}

#[test]
fn a_live_line_stands_below_the_messages_and_is_gone_at_the_end() {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let tree = tempfile::tempdir().expect("a scratch directory");
    let arguments = [EBPF, &["--interval", "50ms"]].concat();
    let (terminal, mut child) = on_terminal(&lab, tree.path(), FOREGROUND, &arguments);
    terminal.wait_for("a line of nothing", |rows| has_line(rows, 0, 0));
    wire.leave(&request(443).0);
    let rows = terminal.wait_for("the line", |rows| has_line(rows, 1, 0));
    assert!(rows[0].starts_with("conntrack: watching ct-host with eBPF, TC ("), "{rows:?}");
    assert_eq!(rows.len(), 2, "in place: {rows:?}");

    child.signal(Signal::USR1);
    let asked = terminal.wait_for("the report above it", |rows| rows.len() == 8);
    assert_is_report(&asked[1..7]);
    terminal.wait_for("the line below it", |rows| has_line(rows, 1, 0));

    child.signal(Signal::TERM);
    assert!(child.0.wait().expect("ended").success());
    let left = terminal.wait_for("the last report", |rows| ends_with(rows, "lost: 0"));
    assert!(left[7].starts_with("conntrack: watched ct-host for 0:00:"), "{left:?}");
    assert_is_report(&left[left.len() - 6..]);
}

/// The kernel has packets of its own on the wire, so how many were seen is its affair.
#[track_caller]
fn assert_is_report(rows: &[String]) {
    assert!(rows[0].starts_with("packets seen: "), "{rows:?}");
    assert!(rows[1].starts_with("skipped: "), "{rows:?}");
    assert_eq!(
        rows[2..],
        ["flows recorded: 1", "files made: 1 (out: 1)", "malformed: 0", "lost: 0"]
    );
}

#[test]
fn a_warning_and_the_live_line_leave_each_other_whole() {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let tree = tempfile::tempdir().expect("a scratch directory");
    let arguments = [EBPF, &["--interval", "50ms", "--max-flows", "16"]].concat();
    let (terminal, child) = on_terminal(&lab, tree.path(), FOREGROUND, &arguments);
    terminal.wait_for("the line", |rows| rows.len() == 2);
    child.signal(Signal::STOP);
    for port in 0..100 {
        wire.leave(&request(port).0);
    }
    child.signal(Signal::CONT);
    let rows = terminal.wait_for("what was lost", |rows| has_line(rows, 16, 84));
    let warnings: Vec<_> = rows.iter().filter(|row| row.contains("warning")).collect();
    assert_eq!(warnings.len(), 1, "{rows:#?}");
    let whole = "conntrack: warning: the flow map was full: 84 packets are lost; raise --max-flows";
    assert!(warnings[0].starts_with(whole), "{rows:#?}");
}

#[test]
fn each_episode_of_loss_is_said_once_and_when_it_is_over() {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let mut collector = Collector::start(&lab.host, &[EBPF, &["--max-flows", "16"]].concat());
    for first in [100, 200] {
        collector.signal(Signal::STOP);
        (first..first + 100).for_each(|port| wire.leave(&request(port).0));
        collector.signal(Signal::CONT);
        collector.wait_for_line("warning: the flow map was full: 84 packets are lost; raise");
        collector.wait_for_line("the flow map was full: that is over, 84 packets were lost");
    }
    let said = collector.stop().said;
    assert_eq!(said.matches("are lost").count(), 2, "{said}");
}

#[test]
fn a_terminal_that_stops_its_output_stops_nothing_else() {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let tree = tempfile::tempdir().expect("a scratch directory");
    let arguments = [EBPF, &["--interval", "20ms"]].concat();
    let (terminal, mut child) = on_terminal(&lab, tree.path(), FOREGROUND, &arguments);
    terminal.wait_for("the line", |rows| rows.len() == 2);
    terminal.stop_output();
    for port in 1..=10 {
        let (frame, expected) = request(port);
        wire.leave(&frame);
        let is_recorded = || crate::support::files(tree.path()).is_superset(&expected);
        assert!(wait_until(PATIENCE, is_recorded), "it waits for the terminal");
    }
    terminal.resume_output();
    terminal.wait_for("the line, again", |rows| has_line(rows, 10, 0));

    // Messages neither, nor the last report.
    terminal.stop_output();
    child.signal(Signal::USR1);
    let (frame, expected) = request(11);
    let is_recorded = || {
        wire.leave(&frame);
        crate::support::files(tree.path()).is_superset(&expected)
    };
    assert!(wait_until(PATIENCE, is_recorded), "it waits for the terminal to be told");
    child.signal(Signal::TERM);
    let mut status = None;
    let has_ended = wait_until(PATIENCE, || {
        status = child.0.try_wait().expect("a child of ours");
        status.is_some()
    });
    assert!(has_ended, "it waits for the terminal to end");
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
}

#[test]
fn there_is_no_live_line_where_it_is_not_wanted() {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let in_background: &[&str] = &["setsid"];
    for (leader, quiet) in [(FOREGROUND, true), (in_background, false)] {
        let tree = tempfile::tempdir().expect("a scratch directory");
        let more: &[&str] =
            if quiet { &["--interval", "50ms", "-q"] } else { &["--interval", "50ms"] };
        let (terminal, child) = on_terminal(&lab, tree.path(), leader, &[EBPF, more].concat());
        let (frame, expected) = request(443);
        let is_recorded = || {
            wire.leave(&frame);
            crate::support::files(tree.path()) == expected
        };
        assert!(wait_until(PATIENCE, is_recorded), "{:?}", terminal.shows());
        child.signal(Signal::USR1);
        let rows = terminal.wait_for("the report", |rows| ends_with(rows, "lost: 0"));
        let live: Vec<_> = rows.iter().filter(|row| row.contains("new connections")).collect();
        assert!(live.is_empty(), "{rows:?}");
    }
}

#[test]
fn on_a_pipe_there_are_messages_only() {
    let lab = Lab::new(&[HOST]);
    let mut collector = Collector::start(&lab.host, EBPF);
    collector.signal(Signal::USR1);
    collector.wait_for_line("lost: 0");
    let said = collector.stop().said;
    assert!(!said.contains('\u{1b}') && !said.contains("new connections"), "{said}");
}

fn dist(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist").join(name)
}

fn unit() -> String {
    fs::read_to_string(dist("conntrack@.service")).expect("the unit")
}

/// What the unit says after `key=`.
fn setting(key: &str) -> String {
    let unit = unit();
    let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {key}")).to_owned()
}

fn systemd_analyze(arguments: &[&str], unit: &Path) -> (Output, String) {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(arguments).arg(unit).output().expect("systemd-analyze runs");
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    (output, String::from_utf8(said).expect("UTF-8"))
}

#[test]
fn systemd_accepts_the_unit_and_finds_it_well_protected() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = scratch.path().join("conntrack@eth0.service");
    // Where it will be installed, there is nothing yet.
    let installed = unit().replace("/usr/local/bin/conntrack", env!("CARGO_BIN_EXE_conntrack"));
    fs::write(&path, installed).expect("written");
    let (output, said) = systemd_analyze(&["verify", "--man=no"], &path);
    assert!(output.status.success() && said.is_empty(), "{said}");
    // In tenths of the scale on which 10 is no protection at all.
    let (output, said) = systemd_analyze(&["security", "--offline=true", "--threshold=25"], &path);
    assert!(output.status.success(), "{said}");
}

/// Numbers of address families (`socket.h`).
fn number_of(family: &str) -> u64 {
    let families = [("AF_UNIX", 1), ("AF_INET", 2), ("AF_NETLINK", 16), ("AF_PACKET", 17)];
    let known = families.iter().find(|(name, _)| *name == family);
    known.unwrap_or_else(|| panic!("{family}?")).1
}

/// Has this thread, and what it starts, make sockets of these families only, as systemd does.
fn restrict_sockets(families: &[u64]) {
    const EAFNOSUPPORT: u32 = 97;
    let is_other = |family: &u64| {
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, *family)
            .expect("a condition")
    };
    let rule = SeccompRule::new(families.iter().map(is_other).collect()).expect("a rule");
    refuse(libc::SYS_socket, EAFNOSUPPORT, vec![rule]);
}

#[test]
fn what_the_unit_leaves_is_enough() {
    const SOMEBODY: u32 = 65534;
    let names = setting("AmbientCapabilities").to_lowercase().replace("cap_", "+");
    assert_eq!(setting("AmbientCapabilities"), setting("CapabilityBoundingSet"));
    let capabilities = format!("-all,{}", names.replace(' ', ","));
    let user = SOMEBODY.to_string();
    let families: Vec<_> = setting("RestrictAddressFamilies").split(' ').map(number_of).collect();
    for arguments in [TCX, CLSACT, XDP, PCAP] {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let scratch = tempfile::tempdir_in("/tmp").expect("a scratch directory");
        let state = scratch.path().join("state");
        fs::create_dir(&state).expect("made");
        for path in [scratch.path(), &state] {
            chown(path, Some(SOMEBODY), Some(SOMEBODY)).expect("given away");
        }
        let program = scratch.path().join("conntrack");
        fs::copy(env!("CARGO_BIN_EXE_conntrack"), &program).expect("copied");
        let mut command = lab.host.command("setpriv");
        command.args(["--clear-groups", "--no-new-privs", "--reuid", &user, "--regid", &user]);
        for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
            command.arg(format!("{set}={capabilities}"));
        }
        command.arg(&program).args(["--interval", "50ms", "-q", "-d", DEVICE, "-p"]).arg(&state);
        let child = lab.host.enter(|| {
            restrict_sockets(&families);
            Ending(command.args(arguments).spawn().expect("it runs"))
        });
        let (frame, expected) = request(443);
        let is_recorded = || {
            wire.leave(&frame);
            state.join("out").exists() && crate::support::files(&state) == expected
        };
        assert!(wait_until(PATIENCE, is_recorded), "{arguments:?}");
        drop(child);
    }
}
