//! The program, watching a device of a laboratory.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{
    Files, PATIENCE,
    evidence::{Evidence, evidence},
    files,
    lab::{DEVICE, Namespace},
    wait_until,
};

/// A running collector; killed when it goes out of scope.
pub struct Collector {
    child: Child,
    tree: PathBuf,
    /// Removed with this.
    _scratch: Option<TempDir>,
    lines: Receiver<String>,
    said: Vec<String>,
    /// What whoever reads its standard error needs to hold.
    gate: Arc<Mutex<()>>,
}

/// What a collector left.
pub struct Ended {
    pub status: ExitStatus,
    /// Everything on standard error.
    pub said: String,
    pub files: Files,
    pub evidence: Evidence,
}

impl Collector {
    /// Starts watching [`DEVICE`] in a namespace and waits until it does.
    pub fn start(namespace: &Namespace, arguments: &[&str]) -> Self {
        Self::start_on(namespace, DEVICE, arguments)
    }

    /// Starts watching a device and waits until it does.
    pub fn start_on(namespace: &Namespace, device: &str, arguments: &[&str]) -> Self {
        Self::start_by(namespace, &[], device, Tree::Own(scratch()), arguments)
    }

    /// Starts watching whichever device it takes, and waits until it does.
    pub fn start_without_device(namespace: &Namespace, arguments: &[&str]) -> Self {
        Self::start_by(namespace, &[], "", Tree::Own(scratch()), arguments)
    }

    /// Starts watching [`DEVICE`], with its tree below `directory`, and waits until it does.
    pub fn start_in(directory: &Path, namespace: &Namespace, arguments: &[&str]) -> Self {
        let tree = tempfile::tempdir_in(directory).expect("a scratch directory");
        Self::start_by(namespace, &[], DEVICE, Tree::Own(tree), arguments)
    }

    /// Starts watching [`DEVICE`] with the tree at this path, and waits until it does.
    pub fn start_at(tree: &Path, namespace: &Namespace, arguments: &[&str]) -> Self {
        Self::start_by(namespace, &[], DEVICE, Tree::Others(tree.to_owned()), arguments)
    }

    /// Has this command start watching [`DEVICE`], and waits until it does.
    pub fn start_through(namespace: &Namespace, command: &[&str], arguments: &[&str]) -> Self {
        Self::start_by(namespace, command, DEVICE, Tree::Own(scratch()), arguments)
    }

    /// Starts watching [`DEVICE`] into the tree of another, and waits until it does.
    pub fn start_beside(&self, namespace: &Namespace, arguments: &[&str]) -> Self {
        let tree = Tree::Others(self.tree.clone());
        Self::start_by(namespace, &[], DEVICE, tree, arguments)
    }

    /// Starts watching a device with this tree and waits until it does.
    pub fn start_with(
        namespace: &Namespace,
        device: &str,
        tree: TempDir,
        arguments: &[&str],
    ) -> Self {
        Self::start_by(namespace, &[], device, Tree::Own(tree), arguments)
    }

    fn start_by(
        namespace: &Namespace,
        command: &[&str],
        device: &str,
        tree: Tree,
        arguments: &[&str],
    ) -> Self {
        let (tree, scratch) = match tree {
            Tree::Own(scratch) => (scratch.path().to_owned(), Some(scratch)),
            Tree::Others(path) => (path, None),
        };
        let short: &[&str] = &["--interval", "100ms"];
        let interval = if arguments.contains(&"--interval") { &[] } else { short };
        let program = [command, &[env!("CARGO_BIN_EXE_conntrack")]].concat();
        let mut child = namespace
            .command(program[0])
            .args(&program[1..])
            .args([["-d", device]].iter().filter(|_| !device.is_empty()).flatten())
            .arg("-p")
            .arg(&tree)
            .args(interval)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let stderr = child.stderr.take().expect("piped");
        let gate = Arc::default();
        let lines = lines(stderr, Arc::clone(&gate));
        let said = Vec::new();
        let mut collector = Self { child, tree, _scratch: scratch, lines, said, gate };
        collector.wait_for_line("watching");
        collector
    }

    /// Its tree.
    pub fn path(&self) -> &Path {
        &self.tree
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The files so far.
    pub fn files(&self) -> Files {
        files(self.path())
    }

    /// Waits for a line with `text` on standard error; returns it.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(why) => panic!("{why}: it never said {text:?}, but: {:?}", self.said),
            }
        }
    }

    /// A line that contains `text`, of those that it has said up to now.
    pub fn line_so_far(&mut self, text: &str) -> Option<String> {
        self.said.extend(self.lines.try_iter());
        self.said.iter().find(|line| line.contains(text)).cloned()
    }

    /// Whether one of the lines that were waited for so far contains `text`.
    pub fn said_before(&self, text: &str) -> bool {
        self.said.iter().any(|line| line.contains(text))
    }

    /// Waits until all these files are there.
    pub fn wait_for_files(&self, expected: &Files) {
        let are_there = || expected.iter().all(|path| self.path().join(path).exists());
        if !wait_until(PATIENCE, are_there) {
            let missing: Vec<_> = expected.difference(&self.files()).cloned().collect();
            let later: Vec<_> = self.lines.try_iter().collect();
            panic!("these files never came: {missing:#?}; it said {:#?} {later:#?}", self.said);
        }
    }

    /// Has nobody read its standard error while `work` is done. Before that it is asked for reports until
    /// there is no room for them, which `is_dropping` tells.
    pub fn unread<T>(
        &self,
        mut is_dropping: impl FnMut() -> bool,
        work: impl FnOnce(&Self) -> T,
    ) -> T {
        let held = self.gate.lock().expect("no panic");
        let is_full = || {
            self.signal(Signal::USR1);
            is_dropping()
        };
        assert!(wait_until(PATIENCE, is_full), "it drops no message");
        let done = work(self);
        drop(held);
        done
    }

    /// Asks for reports until it has said a line that contains `text`. One report may be dropped.
    pub fn ask_until(&mut self, text: &str) {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            self.signal(Signal::USR1);
            while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(100)) {
                let is_it = line.contains(text);
                self.said.push(line);
                if is_it {
                    return;
                }
            }
        }
        panic!("it never said {text:?}");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("signalled");
    }

    /// Sends SIGINT, like Ctrl-C, and waits for the end.
    pub fn stop(self) -> Ended {
        self.stop_by(Signal::INT)
    }

    /// Sends a signal and waits for the end.
    pub fn stop_by(self, signal: Signal) -> Ended {
        self.signal(signal);
        self.ended()
    }

    /// Waits until it ends by itself.
    pub fn ended(mut self) -> Ended {
        let mut status = None;
        let ended = wait_until(PATIENCE, || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        assert!(ended, "it did not end: {:?}", self.said);
        self.said.extend(self.lines.iter());
        let status = status.expect("ended");
        let files = self.files();
        let evidence = evidence(&self.tree);
        Ended { status, said: self.said.join("\n"), files, evidence }
    }
}

/// Where a collector writes.
enum Tree {
    Own(TempDir),
    Others(PathBuf),
}

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a scratch directory")
}

/// Why there is no evidence, on a file system that has no user attributes.
const NO_ATTRIBUTES: &str = "(os error 95); choose a file system with user attributes";

/// EMFILE by its number: musl has other words for it than the GNU C library.
pub const TOO_MANY_OPEN_FILES: &str = "(os error 24)";

impl Ended {
    /// The number of the last report's line about `what`.
    pub fn reported(&self, what: &str) -> u64 {
        self.find_reported(what).unwrap_or_else(|| panic!("no {what:?} in {}", self.said))
    }

    /// The same, of a line that is there only if there is something to say.
    pub fn reported_or(&self, what: &str, otherwise: u64) -> u64 {
        self.find_reported(what).unwrap_or(otherwise)
    }

    /// The warnings, but for the one that nothing can be done about: tmpfs has no user attributes before
    /// Linux 6.6.
    pub fn warnings(&self) -> Vec<&str> {
        let lines = self.said.lines().filter(|line| line.contains("warning: "));
        lines.filter(|line| !line.contains(NO_ATTRIBUTES)).collect()
    }

    /// Whether the tree's file system has attributes for it.
    pub fn keeps_evidence(&self) -> bool {
        !self.said.contains(NO_ATTRIBUTES)
    }

    fn find_reported(&self, what: &str) -> Option<u64> {
        let number = |line: &str| {
            let number = line.strip_prefix(what)?.strip_prefix(": ")?.split(' ').next()?;
            number.parse().ok()
        };
        self.said.lines().rev().find_map(number)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Reads lines on a thread, so that waiting for one can time out.
fn lines(stderr: ChildStderr, gate: Arc<Mutex<()>>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            drop(gate.lock());
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
