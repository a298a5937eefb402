//! As a service: what the service manager and the journal are told. None of it needs privileges;
//! what does is in `live_service`.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::{MetadataExt as _, chown},
            net::{SocketAddr, UnixDatagram, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Case, PATIENCE, conntrack, full::Full, manager::Manager, pipe::PipeReader, terminal, wait_until,
};
use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a scratch directory")
}

/// A service manager, and its socket's path in a scratch directory.
fn manager() -> (TempDir, PathBuf, Manager) {
    let scratch = scratch();
    let path = scratch.path().join("notify");
    let manager = Manager::on(UnixDatagram::bind(&path).expect("a socket"));
    (scratch, path, manager)
}

/// conntrack, started by a shell that sets variables in which `$$` is its process id.
fn with(variables: &str) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("export {variables}; exec \"$@\"");
    shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_conntrack")]);
    shell
}

#[track_caller]
fn assert_tells(manager: &mut Manager, reader: &mut PipeReader) {
    let first = manager.wait_for("READY=1");
    assert!(
        first.contains("\nSTATUS=reading a file; new connections: 0 in, 0 out, 0 else"),
        "{first}"
    );
    manager.wait_for("new connections: 0 in, 5 out, 4 else; packets seen: 26; lost: 0");
    reader.stop();
    manager.wait_for("STOPPING=1");
    let messages = manager.rest();
    assert!(messages.windows(2).all(|pair| pair[0] != pair[1]), "news only: {messages:?}");
    assert!(messages.iter().all(|it| !it.contains("WATCHDOG")), "{messages:?}");
}

#[test]
fn the_service_manager_hears_of_readiness_progress_and_the_end() {
    let (scratch, path, mut manager) = manager();
    let mut program = conntrack();
    program.env("NOTIFY_SOCKET", &path).args(["--interval", "50ms"]);
    let mut reader = PipeReader::start(scratch, &mut program);
    assert_tells(&mut manager, &mut reader);
}

#[test]
fn a_socket_may_have_an_abstract_name() {
    let name = format!("conntrack-test-{}", process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let mut manager = Manager::on(UnixDatagram::bind_addr(&address).expect("a socket"));
    let mut program = conntrack();
    program.env("NOTIFY_SOCKET", format!("@{name}")).args(["--interval", "50ms"]);
    let mut reader = PipeReader::start(scratch(), &mut program);
    assert_tells(&mut manager, &mut reader);
}

#[test]
fn the_watchdog_is_fed_however_long_the_interval_is() {
    let (scratch, path, mut manager) = manager();
    let mut program = with("WATCHDOG_USEC=100000 WATCHDOG_PID=$$");
    program.env("NOTIFY_SOCKET", &path).args(["--interval", "1s"]);
    let mut reader = PipeReader::start(scratch, &mut program);
    for _ in 0..5 {
        manager.wait_for("WATCHDOG=1");
    }
    reader.stop();
}

#[test]
fn what_is_no_news_is_not_told() {
    let (scratch, path, mut manager) = manager();
    let mut program = with("WATCHDOG_USEC=100000");
    program.env("NOTIFY_SOCKET", &path).args(["--interval", "10ms"]);
    let mut reader = PipeReader::start(scratch, &mut program);
    for _ in 0..5 {
        manager.wait_for("WATCHDOG=1");
    }
    reader.stop();
    let statuses: Vec<_> = manager.rest().iter().filter(|it| it.contains("STATUS")).collect();
    let distinct: BTreeSet<_> = statuses.iter().collect();
    assert_eq!(distinct.len(), statuses.len(), "{statuses:?}");
}

#[test]
fn another_process_s_watchdog_is_left_alone() {
    let (scratch, path, mut manager) = manager();
    let mut program = with("WATCHDOG_USEC=1000 WATCHDOG_PID=$PPID");
    program.env("NOTIFY_SOCKET", &path).args(["--interval", "50ms"]);
    let mut reader = PipeReader::start(scratch, &mut program);
    assert_tells(&mut manager, &mut reader);
}

#[test]
fn a_service_manager_that_is_started_again_is_told_again() {
    let (scratch, path, mut manager) = manager();
    let mut program = conntrack();
    program.env("NOTIFY_SOCKET", &path).args(["--interval", "50ms"]);
    let mut reader = PipeReader::start(scratch, &mut program);
    manager.wait_for("5 out");
    drop(manager);
    fs::remove_file(&path).expect("removed");
    let mut manager = Manager::on(UnixDatagram::bind(&path).expect("a socket"));
    reader.stop();
    manager.wait_for("STOPPING=1");
}

/// Landlock lets nobody connect to an abstract socket but where this is to be done again.
#[test]
fn a_service_manager_with_an_abstract_name_that_is_started_again_is_told_again() {
    let name = format!("conntrack-test-again-{}", process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let start = || Manager::on(UnixDatagram::bind_addr(&address).expect("a socket"));
    let mut manager = start();
    let mut program = conntrack();
    program.env("NOTIFY_SOCKET", format!("@{name}")).args(["--interval", "50ms"]);
    let mut reader = PipeReader::start(scratch(), &mut program);
    manager.wait_for("5 out");
    drop(manager);
    let mut manager = start();
    reader.stop();
    manager.wait_for("STOPPING=1");
}

#[test]
fn a_service_manager_that_cannot_be_told_is_said_and_no_reason_to_stop() {
    for nowhere in ["/nonexistent/notify", "vsock:2:1234", "relative", ""] {
        let mut program = conntrack();
        program.env("NOTIFY_SOCKET", nowhere).args(["--interval", "50ms"]);
        let mut reader = PipeReader::start(scratch(), &mut program);
        reader.stop();
        let warning = format!("conntrack: warning: cannot tell the service manager at {nowhere}: ");
        assert_eq!(reader.said().matches(&warning).count(), 1, "{}", reader.said());
    }
}

/// Runs it with `said` as its standard error, where something is wrong enough for a warning.
fn with_a_warning(said: File, journal: &str) {
    let case = Case::named("seed");
    let tree = scratch();
    let mut command = conntrack();
    command.arg("-r").arg(&case.capture).args(&case.arguments).arg("-p").arg(tree.path());
    command.env("NOTIFY_SOCKET", "nowhere").env("JOURNAL_STREAM", journal);
    assert!(command.stderr(Stdio::from(said)).status().expect("the program runs").success());
}

#[test]
fn the_journal_gets_priorities_and_nobody_else_does() {
    let scratch = scratch();
    let path = scratch.path().join("said");
    let file = || File::create(&path).expect("a file");
    let metadata = file().metadata().expect("of a file");
    with_a_warning(file(), &format!("{}:{}", metadata.dev(), metadata.ino()));
    let said = fs::read_to_string(&path).expect("UTF-8");
    assert!(said.starts_with("<4>cannot tell the service manager at nowhere: "), "{said}");

    with_a_warning(file(), &format!("{}:{}", metadata.dev(), metadata.ino() + 1));
    let said = fs::read_to_string(&path).expect("UTF-8");
    assert!(said.starts_with("conntrack: warning: cannot tell the service manager"), "{said}");
    assert!(!said.contains('\u{1b}'), "no colour, no cursor: {said}");
}

/// `journalctl -p warning` is to show what was lost, and the last word on it.
#[test]
fn the_journal_gets_the_counters_with_priorities() {
    let case = Case::named("seed");
    let scratch = scratch();
    let tree = scratch.path().join("tree");
    let occupied = tree.join("out/tcp/192.168.200.230-PORT-INTERNET-443");
    fs::create_dir_all(occupied).expect("made");
    let path = scratch.path().join("said");
    let said = File::create(&path).expect("a file");
    let metadata = said.metadata().expect("of a file");
    let mut command = conntrack();
    command.arg("-r").arg(&case.capture).args(&case.arguments).arg("-p").arg(&tree);
    command.env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino()));
    let status = command.stderr(Stdio::from(said)).status().expect("the program runs");
    assert_eq!(status.code(), Some(1));
    let said = fs::read_to_string(&path).expect("UTF-8");
    for line in ["<4>lost: 1 (file could not be made: 1)", "<6>files made: 8 (out: 4, else: 4)"] {
        assert!(said.lines().any(|it| it == line), "{line} in {said}");
    }
    assert!(said.lines().all(|line| line.starts_with('<')), "{said}");
}

#[test]
fn sigusr1_prints_the_counters() {
    let mut program = conntrack();
    let mut reader = PipeReader::start(scratch(), program.args(["--interval", "50ms", "-q"]));
    reader.signal(Signal::USR1);
    reader.wait_for("packets seen: 26\nskipped: 9 (TCP not opening: 9)\nflows recorded: 9\n");
    reader.wait_for("lost: 0\n");
    reader.stop();
}

#[test]
fn hangup_and_quit_end_it_as_sigterm_does() {
    for signal in [Signal::HUP, Signal::QUIT] {
        let mut reader = PipeReader::start(scratch(), &mut conntrack());
        reader.stop_by(signal);
        reader.wait_for("files made: 9 (out: 5, else: 4)\n");
    }
}

#[test]
fn hangup_and_quit_stay_ignored_as_nohup_has_it() {
    let mut program = with("IGNORED=1; trap '' HUP QUIT");
    let mut reader = PipeReader::start(scratch(), program.args(["--interval", "50ms"]));
    for signal in [Signal::HUP, Signal::QUIT, Signal::USR1] {
        reader.signal(signal);
    }
    reader.wait_for("lost: 0\n");
    reader.stop();
}

/// Dropped messages, from the metrics.
fn dropped(metrics: &Path) -> f64 {
    let text = fs::read_to_string(metrics).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("conntrack_messages_dropped_total"));
    line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or_default()
}

/// Starts `program` with a standard error that takes nothing, and asks it for reports: they are left
/// out and counted, it goes on, and once somebody reads, that is said.
fn assert_goes_on(scratch: TempDir, mut full: Full, program: &mut Command) {
    let metrics = scratch.path().join("it.prom");
    program.args(["--interval", "20ms", "--metrics-file"]).arg(&metrics);
    let mut reader = PipeReader::start_saying(scratch, program, full.stdio());
    for times in 1..=3 {
        // One at a time: it answers requests before it writes its metrics. But more than once: a terminal
        // that was full has a little room again once the kernel has passed on what it holds.
        let are_dropped = || dropped(&metrics) >= f64::from(times);
        let is_dropped = (0..20).any(|_| {
            reader.signal(Signal::USR1);
            wait_until(PATIENCE / 20, are_dropped)
        });
        assert!(is_dropped, "it waits for whoever reads");
    }
    thread::scope(|scope| {
        let said = scope.spawn(|| full.read_up_to("standard error was not read"));
        assert!(wait_until(PATIENCE, || {
            reader.signal(Signal::USR1);
            said.is_finished()
        }));
        let said = said.join().expect("no panic");
        assert!(said.contains(" messages dropped: "), "{said}");
    });
    full.fill();
    let start = Instant::now();
    reader.stop();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn a_pipe_that_nobody_reads_stops_nothing() {
    assert_goes_on(scratch(), Full::pipe(), &mut conntrack());
}

/// A pipe of another user's cannot be opened anew.
#[test]
fn a_pipe_of_another_user_that_nobody_reads_stops_nothing() {
    const SOMEBODY: u32 = 65534;
    if !geteuid().is_root() {
        eprintln!("only root can be another user");
        return;
    }
    let scratch = scratch();
    chown(scratch.path(), Some(SOMEBODY), Some(SOMEBODY)).expect("given away");
    let mut program = Command::new("setpriv");
    program.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    let full = Full::pipe();
    assert_goes_on(scratch, full, program.arg(env!("CARGO_BIN_EXE_conntrack")));
}

#[test]
fn a_terminal_that_nobody_reads_stops_nothing() {
    let (controller, end) = terminal::ends();
    assert_goes_on(scratch(), Full::of(controller, end), &mut conntrack());
}

#[test]
fn a_socket_that_nobody_reads_stops_nothing() {
    let (controller, end) = UnixStream::pair().expect("a pair");
    assert_goes_on(scratch(), Full::of(controller, end), &mut conntrack());
}
