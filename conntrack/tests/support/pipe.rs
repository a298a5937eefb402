//! The program, reading a capture from a pipe that stays open: it runs for as long as a test wants,
//! without privileges.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Case, PATIENCE, files, wait_until};

/// A running program; killed when it goes out of scope.
pub struct PipeReader {
    child: Child,
    pipe: File,
    pub scratch: TempDir,
}

impl PipeReader {
    /// Has `program`, which starts conntrack with its own arguments, read the case `seed` and wait for
    /// more. Its standard error goes to a file.
    pub fn start(scratch: TempDir, program: &mut Command) -> Self {
        let said = File::create(scratch.path().join("said")).expect("made");
        Self::start_saying(scratch, program, said.into())
    }

    /// The same with this as its standard error.
    pub fn start_saying(scratch: TempDir, program: &mut Command, said: Stdio) -> Self {
        let [pipe, tree] = ["pipe", "tree"].map(|name| scratch.path().join(name));
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
        let child = program
            .args(["--local", "192.168.200.230", "-r"])
            .arg(&pipe)
            .arg("-p")
            .arg(&tree)
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .expect("the program runs");
        let mut pipe = OpenOptions::new().write(true).open(&pipe).expect("its other end");
        let case = Case::named("seed");
        pipe.write_all(&fs::read(&case.capture).expect("the capture")).expect("written");
        let is_shown = || tree.exists() && files(&tree).is_superset(&case.tree);
        let reader = Self { child, pipe, scratch };
        assert!(wait_until(PATIENCE, is_shown), "{:?}", fs::read(reader.path("said")));
        reader
    }

    /// Everything on standard error up to now.
    pub fn said(&self) -> String {
        fs::read_to_string(self.path("said")).expect("UTF-8")
    }

    /// Waits until it has said this.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let is_said = || self.said().contains(text);
        assert!(wait_until(PATIENCE, is_said), "never {text:?}, but: {}", self.said());
    }

    /// Below the scratch directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), signal).expect("signalled");
    }

    /// Sends SIGTERM and waits for the end, which is a good one.
    #[track_caller]
    pub fn stop(&mut self) {
        self.stop_by(Signal::TERM);
    }

    /// Sends a signal and waits for the end, which is a good one.
    #[track_caller]
    pub fn stop_by(&mut self, signal: Signal) {
        self.signal(signal);
        self.pipe.flush().expect("open up to here");
        let mut status = None;
        let has_ended = wait_until(PATIENCE, || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        assert!(has_ended, "it does not end");
        let is_good = status.is_some_and(|status| status.success());
        assert!(is_good, "{status:?}: {:?}", fs::read(self.path("said")));
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
