//! At the keyboard, watching a device: which one is meant, what is shown while it runs and at its end.

use std::{num::NonZero, path::Path, process::Child};

use crate::support::{
    collector::Collector,
    frames::Wire,
    lab::{DEVICE, Lab},
    terminal::Terminal,
    usual::{EBPF, HOST, PCAP, request},
};
use rustix::process::{Pid, Signal, kill_process};

/// A running program; killed when it goes out of scope.
struct Running(Child);

impl Running {
    /// On a terminal, in its foreground.
    fn on(terminal: &Terminal, lab: &Lab, tree: &Path, arguments: &[&str]) -> Self {
        let mut command = lab.host.command("setsid");
        command.args(["--ctty", env!("CARGO_BIN_EXE_conntrack"), "-d", DEVICE, "-p"]).arg(tree);
        Self(terminal.spawn_all(command.args(arguments)))
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("signalled");
    }

    fn stop(mut self) {
        self.signal(Signal::INT);
        assert!(self.0.wait().expect("ended").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

fn columns(columns: u16) -> NonZero<u16> {
    NonZero::new(columns).expect("some")
}

fn last_starts_with(rows: &[String], start: &str) -> bool {
    rows.last().is_some_and(|row| row.starts_with(start))
}

/// Its interval is an hour, so the clock and the terminal's size are all that the line is drawn for.
#[test]
fn the_live_line_fits_40_columns_and_a_resized_terminal_keeps_no_pieces() {
    let lab = Lab::new(&[HOST]);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let terminal = Terminal::of_columns(columns(100));
    let arguments = [EBPF, &["--interval", "1h"]].concat();
    let running = Running::on(&terminal, &lab, scratch.path(), &arguments);
    let words = "new connections: 0 in, 0 out, 0 else; packets seen: ";
    terminal.wait_for("all words", |rows| rows.last().is_some_and(|row| row.contains(words)));
    terminal.wait_for("a clock that goes", |rows| last_starts_with(rows, "lost: 0; 0:00:02; "));

    terminal.resize(columns(40));
    let is_short = |row: &String| row.starts_with("lost: 0 0:00:") && row.ends_with("0 else");
    let rows = terminal.wait_for("a short line", |rows| rows.last().is_some_and(is_short));
    let lines = rows.iter().filter(|row| row.contains("lost:") || row.contains("else")).count();
    assert_eq!(lines, 1, "pieces are left: {rows:#?}");
    assert!(rows.iter().all(|row| !row.contains("packets seen")), "{rows:#?}");

    terminal.resize(columns(100));
    terminal.wait_for("all words again", |rows| rows.last().is_some_and(|row| row.contains(words)));
    running.stop();
    let rows =
        terminal.wait_for("the report", |rows| rows.last().is_some_and(|it| it == "lost: 0"));
    assert!(rows.iter().all(|row| !row.contains("new connections")), "{rows:#?}");
}

#[test]
fn losses_come_first_and_are_red() {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let terminal = Terminal::of_columns(columns(100));
    let arguments = [EBPF, &["--interval", "50ms", "--max-flows", "16"]].concat();
    let running = Running::on(&terminal, &lab, scratch.path(), &arguments);
    let rows = terminal.wait_for("the line", |rows| last_starts_with(rows, "lost: 0; "));
    assert_eq!(terminal.colour(rows.len() - 1), vt100::Color::Default);
    running.signal(Signal::STOP);
    (0..100).for_each(|port| wire.leave(&request(port).0));
    running.signal(Signal::CONT);
    let rows = terminal.wait_for("what was lost", |rows| last_starts_with(rows, "lost: 84; "));
    assert_eq!(terminal.colour(rows.len() - 1), vt100::Color::Idx(1));
}

#[test]
fn the_end_says_how_long_which_ways_and_what_to_type_next() {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let collector = Collector::start(&lab.host, PCAP);
    let (frame, expected) = request(443);
    wire.leave(&frame);
    collector.wait_for_files(&expected);
    let path = collector.path().display().to_string();
    let said = collector.stop().said;
    assert!(said.contains("conntrack: watched ct-host for 0:00:"), "{said}");
    let next = format!("; next: conntrack show -p {path}, or conntrack rules -p {path}");
    assert!(said.contains(&next), "{said}");
    assert!(said.contains("files made: 1 (out: 1)"), "{said}");
}

#[test]
fn without_a_device_it_is_eth0_or_that_of_the_default_route() {
    let lab = Lab::new(&[HOST]);
    let refused = lab
        .host
        .command(env!("CARGO_BIN_EXE_conntrack"))
        .args(["-p", "/nosuchdirectory/x"])
        .output();
    let refused = String::from_utf8(refused.expect("it runs").stderr).expect("UTF-8");
    assert_eq!(refused, "conntrack: no such device: eth0; there are: lo, ct-host\n");

    lab.host.run("ip", &["route", "add", "default", "dev", DEVICE]);
    let collector = Collector::start_without_device(&lab.host, PCAP);
    assert!(
        collector.said_before("no eth0 here, so it is ct-host, the device of the default route")
    );
    let mut wire = Wire::of(&lab);
    let (frame, expected) = request(443);
    wire.leave(&frame);
    collector.wait_for_files(&expected);
    assert!(collector.said_before("watching ct-host with"));
    assert!(collector.stop().status.success());

    lab.host.run("ip", &["link", "add", "eth0", "type", "veth", "peer", "eth1"]);
    let collector = Collector::start_without_device(&lab.host, PCAP);
    assert!(collector.said_before("watching eth0 with"));
    assert!(!collector.said_before("default route"));
}

#[test]
fn the_default_route_may_be_of_ipv6_only() {
    let lab = Lab::new(&["fd00::7"]);
    lab.host.run("ip", &["-6", "route", "add", "default", "dev", DEVICE]);
    let collector = Collector::start_without_device(&lab.host, PCAP);
    assert!(collector.said_before("watching ct-host with"));
}

#[test]
fn devices_are_listed_as_they_are_now() {
    let lab = Lab::new(&[HOST]);
    lab.host.run("ip", &["link", "add", "here0", "type", "veth", "peer", "name", "there0"]);
    lab.host.up("here0");
    lab.host.run("ip", &["route", "add", "default", "dev", DEVICE]);
    let listed = lab.host.run(env!("CARGO_BIN_EXE_conntrack"), &["-D"]);
    let row = |name: &str| {
        let row = listed.lines().find(|line| line.split(' ').next() == Some(name));
        row.unwrap_or_else(|| panic!("no {name} in {listed}"))
            .split_whitespace()
            .collect::<Vec<_>>()
    };
    let address = format!("{HOST}/24");
    assert_eq!(row(DEVICE)[..4], [DEVICE, "veth", "up", &address], "{listed}");
    assert_eq!(row(DEVICE).last(), Some(&"(default)"), "{listed}");
    assert_eq!(row("there0"), ["there0", "veth", "down"], "{listed}");
    assert_eq!(row("here0")[..4], ["here0", "veth", "no", "carrier"], "{listed}");
}

#[test]
fn each_new_connection_is_a_line_above_the_live_line() {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let terminal = Terminal::of_columns(columns(100));
    let arguments = [EBPF, &["--interval", "50ms", "-v"]].concat();
    let running = Running::on(&terminal, &lab, scratch.path(), &arguments);
    terminal.wait_for("the line", |rows| last_starts_with(rows, "lost: 0; "));
    for port in [443, 80] {
        let line = format!(" out  tcp {HOST} > 10.0.0.1:{port}");
        for _ in 0..2 {
            wire.leave(&request(port).0);
            let has_both = |rows: &[String]| {
                rows.iter().any(|row| row.ends_with(&line)) && last_starts_with(rows, "lost: 0; ")
            };
            terminal.wait_for("a new connection", has_both);
        }
    }
    running.stop();
    let rows = terminal.wait_for("the report", |rows| rows.iter().any(|it| it == "lost: 0"));
    let lines = rows.iter().filter(|row| row.contains(" > 10.0.0.1:")).count();
    assert_eq!(lines, 2, "each once: {rows:#?}");
}

#[test]
fn two_that_record_into_one_directory_are_told() {
    const WARNING: &str = "another one records into ";
    let lab = Lab::new(&[HOST]);
    let first = Collector::start(&lab.host, PCAP);
    let second = first.start_beside(&lab.host, PCAP);
    assert!(second.said_before(WARNING) && !first.said_before(WARNING));
    second.stop();
    let third = first.start_beside(&lab.host, PCAP);
    assert!(third.said_before(WARNING));
    third.stop();
    assert!(!first.stop().said.contains(WARNING));

    let kept = tempfile::tempdir().expect("a scratch directory");
    let alone = Collector::start_at(kept.path(), &lab.host, PCAP);
    alone.stop();
    let again = Collector::start_at(kept.path(), &lab.host, PCAP);
    assert!(!again.said_before(WARNING), "the one before has ended");
}
