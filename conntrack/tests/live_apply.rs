//! `conntrack apply`: rules are in force while somebody is asked, and go again unless there is a yes. In
//! namespaces.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::support::{
    PATIENCE,
    lab::{DEVICE, Lab, Namespace, PEER_DEVICE},
    services::open_tcp,
    wait_until,
};

const HOST: &str = "192.168.200.230";
const PEER: &str = "192.168.200.1";
/// Of somebody else, with what is easily lost: a counter, an element with a comment, an order.
const THEIRS: &str = "table inet theirs {\nset s {\ntype ipv4_addr\nelements = { 10.0.0.1 comment \"x\" }\n}\n\
    chain input {\ntype filter hook input priority 5; policy accept;\ncounter packets 7 bytes 9\n}\n}\n\
    table ip nat {\nchain x {\ntype nat hook prerouting priority dstnat;\ntcp dport 80 redirect to :8080\n}\n}\n";

/// What was kept last is the machine's, not the namespace's: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tree() -> TempDir {
    let root = tempfile::tempdir().expect("a scratch directory");
    for path in [format!("in/tcp/{PEER}-PORT-{HOST}-22"), format!("out/udp/{HOST}-PORT-{PEER}-53")]
    {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, "").expect("written");
    }
    root
}

/// `conntrack apply`, running in a namespace.
struct Applying {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Applying {
    fn start(host: &Namespace, arguments: &[&str]) -> Self {
        let mut command = inside(host);
        command.arg("apply").args(arguments);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let stdin = child.stdin.take();
        Self { child, stdin }
    }

    /// Waits until the rules are in force.
    fn wait(&mut self) {
        let stderr = self.child.stderr.as_mut().expect("a pipe");
        let mut said = String::new();
        for line in BufReader::new(stderr).lines() {
            let line = line.expect("text");
            if line.contains("the rules are in force") {
                return;
            }
            said += &line;
        }
        panic!("it ended: {said}");
    }

    fn answer(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("a pipe");
        stdin.write_all(text.as_bytes()).expect("it reads");
    }

    fn end(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said).expect("text");
        }
        (self.child.wait().expect("it ends"), said)
    }
}

/// The program in a namespace, as a child of this process: `ip netns exec` has a mount namespace of its own.
fn inside(host: &Namespace) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", host.name)).arg("--no-fork");
    command.arg(env!("CARGO_BIN_EXE_conntrack"));
    command
}

fn ruleset(host: &Namespace) -> String {
    host.run("nft", &["list", "ruleset"])
}

fn host_with_rules() -> (Lab, String) {
    let lab = Lab::new(&[HOST]);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("theirs");
    fs::write(&file, THEIRS).expect("written");
    lab.host.run("nft", &["-f", path(&file)]);
    let before = ruleset(&lab.host);
    (lab, before)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn has_ours(host: &Namespace) -> bool {
    host.run("nft", &["list", "tables"]).contains("conntrack_learned")
}

#[test]
fn without_a_yes_everything_is_as_it_was() {
    let (lab, before) = host_with_rules();
    let tree = tree();
    let arguments = ["-p", path(tree.path()), "--learn", "0s", "--confirm"];
    for (answer, confirm) in [
        (Some("no\n"), "1m"),
        (Some("\n"), "1m"),
        (Some("yes"), "2s"),
        (Some("yes, but no\n"), "1m"),
        (None, "1m"),
        (Some(""), "1s"),
    ] {
        let mut applying = Applying::start(&lab.host, &[&arguments[..], &[confirm]].concat());
        applying.wait();
        assert!(has_ours(&lab.host), "{answer:?}");
        match answer {
            Some(answer) => applying.answer(answer),
            None => applying.stdin = None,
        }
        let (status, said) = applying.end();
        assert_eq!(status.code(), Some(3), "{answer:?}: {said}");
        assert_eq!(ruleset(&lab.host), before, "{answer:?}");
    }
}

#[test]
fn killed_everything_is_as_it_was() {
    let (lab, before) = host_with_rules();
    let tree = tree();
    let arguments = ["-p", path(tree.path()), "--confirm", "1h", "--learn"];
    for signal in
        [Signal::SIGKILL, Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL]
    {
        let mut applying = Applying::start(&lab.host, &[&arguments[..], &["0s"]].concat());
        applying.wait();
        assert!(has_ours(&lab.host), "{signal}");
        let id = i32::try_from(applying.child.id()).expect("a process");
        kill(Pid::from_raw(id), signal).expect("it runs");
        let as_before = || ruleset(&lab.host) == before;
        assert!(wait_until(PATIENCE, as_before), "{signal}: {}", ruleset(&lab.host));
        applying.end();
    }
    // While it learns, too.
    let applying = Applying::start(&lab.host, &[&arguments[..], &["1h"]].concat());
    assert!(wait_until(PATIENCE, || has_ours(&lab.host)));
    let id = i32::try_from(applying.child.id()).expect("a process");
    kill(Pid::from_raw(id), Signal::SIGKILL).expect("it runs");
    assert!(wait_until(PATIENCE, || ruleset(&lab.host) == before), "{}", ruleset(&lab.host));
    applying.end();
}

#[test]
fn with_a_yes_they_stay_until_they_are_undone() {
    let _alone = alone();
    let (lab, before) = host_with_rules();
    let tree = tree();
    let arguments = ["-p", path(tree.path()), "--learn", "0s", "--device", DEVICE];
    let mut applying = Applying::start(&lab.host, &arguments);
    applying.wait();
    applying.answer("yes\n");
    let (status, said) = applying.end();
    assert!(status.success(), "{said}");
    assert!(said.contains("nft -s list table inet conntrack_learned"), "{said}");
    let chain = lab.host.run("nft", &["list", "chain", "inet", "conntrack_learned", "input"]);
    assert!(chain.contains("policy drop") && chain.contains("dport 22"), "{chain}");
    // But for what they count: neighbours are looked for meanwhile.
    let without_counts = || lab.host.run("nft", &["-s", "list", "ruleset"]);
    let applied = without_counts();
    // Others over it, refused: what was kept is in force again, without learning.
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let other = scratch.path().join("other");
    let rules = "table inet conntrack_learned\ndelete table inet conntrack_learned\n\
        table inet conntrack_learned {\nchain input {\ntype filter hook input priority 0; policy drop;\n}\n}\n";
    fs::write(&other, rules).expect("written");
    let mut applying = Applying::start(&lab.host, &["--rules", path(&other), "--learn", "1h"]);
    applying.wait();
    assert!(!ruleset(&lab.host).contains("dport 22"));
    applying.answer("no\n");
    assert_eq!(applying.end().0.code(), Some(3));
    assert_eq!(without_counts(), applied);
    let undone = inside(&lab.host).args(["apply", "--undo"]).output().expect("the program runs");
    assert!(undone.status.success(), "{undone:?}");
    assert_eq!(ruleset(&lab.host), before);
    let again = inside(&lab.host).args(["apply", "--undo"]).output().expect("the program runs");
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing to take back"), "{again:?}");
}

/// Files that would change what is not ours, or do not load, change nothing.
#[test]
fn only_our_table_is_touched() {
    let (lab, before) = host_with_rules();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("rules");
    let ours =
        "table inet conntrack_learned {\nchain input {\ntype filter hook input priority 0;\n}\n}\n";
    for (rules, says) in [
        (format!("flush ruleset\n{ours}"), "changes more than the table"),
        (format!("delete table ip nat\n{ours}"), "changes more than the table"),
        (format!("{ours}add rule inet theirs input drop\n"), "changes more than the table"),
        (format!("{ours}table ip more {{ }}\n"), "changes more than the table"),
        ("table inet conntrack_learned { nonsense }\n".to_owned(), "cannot apply"),
        (String::new(), "has no table inet conntrack_learned"),
    ] {
        fs::write(&file, &rules).expect("written");
        let arguments = ["apply", "--rules", path(&file)];
        let output = inside(&lab.host).args(arguments).stdin(Stdio::null()).output();
        let output = output.expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{rules}: {said}");
        assert!(said.lines().count() == 1 && said.contains(says), "{rules}: {said}");
        assert_eq!(ruleset(&lab.host), before, "{rules}");
    }
}

/// A session that was open before anything was tracked goes on, because netfilter gets to know it.
#[test]
fn sessions_that_are_open_survive() {
    let lab = Lab::new(&[HOST]);
    lab.peer.add_address(PEER_DEVICE, PEER);
    let tree = tree();
    for (learn, survives) in [("3s", true), ("0s", false)] {
        let listener = lab.host.enter(|| TcpListener::bind((HOST, 2222)).expect("bound"));
        let [host, peer] = [HOST, PEER].map(|it| it.parse().expect("an address"));
        let mut client = open_tcp(&lab.peer, peer, (host, 2222).into(), PATIENCE).expect("open");
        let (mut server, _) = listener.accept().expect("accepted");
        let patience = Some(Duration::from_secs(3));
        server.set_read_timeout(patience).expect("set");
        let is_over = AtomicBool::new(false);
        // Loading takes a moment in which connections are tracked already: who types then is known.
        let types = AtomicBool::new(survives);
        thread::scope(|scope| {
            // Somebody types.
            scope.spawn(|| {
                let start = Instant::now();
                while !is_over.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
                    if types.load(Ordering::Relaxed) {
                        let _refused = client.write_all(b"x");
                    }
                    thread::sleep(Duration::from_millis(50));
                }
            });
            let arguments = ["-p", path(tree.path()), "--confirm", "1h", "--learn", learn];
            let mut applying = Applying::start(&lab.host, &arguments);
            applying.wait();
            types.store(true, Ordering::Relaxed);
            // What has arrived by now.
            let mut buffer = [0; 4096];
            server.set_nonblocking(true).expect("set");
            while server.read(&mut buffer).is_ok_and(|length| length > 0) {}
            server.set_nonblocking(false).expect("set");
            let arrives = server.read(&mut buffer).is_ok_and(|length| length > 0);
            is_over.store(true, Ordering::Relaxed);
            applying.answer("no\n");
            applying.end();
            assert_eq!(arrives, survives, "--learn {learn}");
        });
    }
}

/// What would cut what was recorded is not loaded, and what nothing lets through now is not its fault.
#[test]
fn rules_that_refuse_what_was_recorded_are_held_back() {
    let (lab, before) = host_with_rules();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let tree = tree();
    let file = scratch.path().join("edited");
    let edited = "table inet conntrack_learned\ndelete table inet conntrack_learned\n\
        table inet conntrack_learned {\nchain input {\ntype filter hook input priority filter; policy drop;\n\
        iif lo accept\nct state established,related accept\ntcp dport 2222 accept\n}\n}\n";
    fs::write(&file, edited).expect("written");
    let arguments = ["-p", path(tree.path()), "--rules", path(&file), "--learn", "0s"];
    let applying = Applying::start(&lab.host, &arguments);
    let (status, said) = applying.end();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("would refuse 1 recorded connection"), "{said}");
    assert!(said.contains(&format!("- in/tcp/{PEER}-PORT-{HOST}-22")), "{said}");
    assert!(said.contains("--force"), "{said}");
    assert_eq!(ruleset(&lab.host), before, "nothing was changed");

    let mut applying = Applying::start(&lab.host, &[&arguments[..], &["--force"]].concat());
    applying.wait();
    applying.answer("no\n");
    assert_eq!(applying.end().0.code(), Some(3));
    assert_eq!(ruleset(&lab.host), before, "taken back");

    let theirs = "table inet theirs2 {\nchain input {\ntype filter hook input priority 7; policy accept;\n\
        tcp dport 22 drop\n}\n}\n";
    let refusing = scratch.path().join("theirs");
    fs::write(&refusing, theirs).expect("written");
    lab.host.run("nft", &["-f", path(&refusing)]);
    let mut applying = Applying::start(&lab.host, &arguments);
    applying.wait();
    applying.answer("no\n");
    applying.end();
}
