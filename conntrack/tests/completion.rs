//! Completion of a command line, in the real shells on a terminal: each finds the script where a package
//! puts it, and completes what is typed.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::fs::symlink,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use crate::support::{
    PATIENCE, conntrack,
    terminal::{COLUMNS, ROWS, ends},
    wait_until,
};
use tempfile::TempDir;

/// The program's name in a package.
const PROGRAM: &str = "conntrack-tree";

const PROMPT: &str = "ready> ";

/// Each shell, how it is started without the user's settings, what makes it find the script, and the
/// script's name.
const BASH: (&str, &[&str], &str, &str) =
    ("bash", &["--norc", "--noprofile", "-i"], "PS1='ready> '; source ./script", "script");
const ZSH: (&str, &[&str], &str, &str) = (
    "zsh",
    &["-f", "-i"],
    "unsetopt auto_menu; PS1='ready> '; fpath=($PWD $fpath); autoload -U compinit; compinit -u -D",
    "_conntrack-tree",
);
const FISH: (&str, &[&str], &str, &str) = (
    "fish",
    &["--private", "--no-config", "-i"],
    "set fish_greeting; function fish_prompt; echo -n 'ready> '; end; set fish_complete_path .",
    "conntrack-tree.fish",
);

/// A shell at its prompt.
struct Shell {
    _place: TempDir,
    child: Child,
    keyboard: File,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Shell {
    fn start((name, arguments, settings, script): (&str, &[&str], &str, &str)) -> Self {
        let place = package(name, script);
        let (controller, end) = ends();
        let written = Arc::default();
        read(controller.try_clone().expect("a descriptor"), Arc::clone(&written));
        let stdio = || Stdio::from(end.try_clone().expect("a descriptor"));
        // A session of its own, so that the terminal is its own.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(name).args(arguments);
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        command.current_dir(place.path()).env_clear().env("TERM", "xterm").env("LANG", "C.UTF-8");
        let path = std::env::var("PATH").expect("PATH");
        command.env("PATH", format!("{}:{path}", place.path().display()));
        command.env("HOME", place.path());
        let child = command.spawn().unwrap_or_else(|error| panic!("setsid: {error}"));
        let mut shell = Self { _place: place, child, keyboard: controller, written };
        shell.type_in(&format!("{settings}\n"));
        shell.type_in("clear\n");
        shell.wait_for(|screen| screen.starts_with(PROMPT.trim_end()));
        shell
    }

    fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("typed");
    }

    fn screen(&self) -> String {
        let mut emulator = vt100::Parser::new(ROWS, COLUMNS, 0);
        emulator.process(&self.written.lock().expect("no panic"));
        emulator.screen().contents()
    }

    #[track_caller]
    fn wait_for(&self, is_so: impl Fn(&str) -> bool) -> String {
        let shown = wait_until(PATIENCE, || is_so(&self.screen()));
        assert!(shown, "the screen: {}", self.screen());
        self.screen()
    }

    /// Has the beginning completed to the whole line.
    #[track_caller]
    fn completes(&mut self, beginning: &str, line: &str) {
        self.type_in(beginning);
        self.type_in("\t");
        self.wait_for(|screen| screen.contains(line));
        self.abandon();
    }

    /// Has the possibilities listed, among them all of these.
    #[track_caller]
    fn lists(&mut self, beginning: &str, all: &[&str]) {
        self.type_in(beginning);
        self.type_in("\t\t");
        self.wait_for(|screen| {
            all.iter().all(|word| screen.split_whitespace().any(|it| it == *word))
        });
        self.abandon();
    }

    /// Empties line and screen.
    fn abandon(&mut self) {
        // Ends a menu, deletes the line, draws the screen anew.
        self.type_in("\x07\x15");
        self.type_in("\x0c");
        self.wait_for(|screen| screen.trim_end() == PROMPT.trim_end());
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The program as a package calls it, the script for this shell, and what there is to complete.
fn package(shell: &str, script: &str) -> TempDir {
    let place = tempfile::tempdir().expect("a directory");
    let program = place.path().join(PROGRAM);
    symlink(env!("CARGO_BIN_EXE_conntrack"), &program).expect("a link");
    fs::create_dir(place.path().join("tree-of-eth0")).expect("a directory");
    fs::write(place.path().join("tree-file"), "").expect("a file");
    let asked = Command::new(&program).env("CONNTRACK_COMPLETE", shell).output();
    fs::write(place.path().join(script), asked.expect("it runs").stdout).expect("a script");
    place
}

/// Reads until all writers have closed it.
fn read(mut controller: File, written: Arc<Mutex<Vec<u8>>>) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = controller.read(&mut buffer) {
            written.lock().expect("no panic").extend(&buffer[..length]);
        }
    });
}

#[track_caller]
fn assert_completes(shell: (&str, &[&str], &str, &str)) {
    let mut shell = Shell::start(shell);
    shell.completes("conntrack-tree --skip", "conntrack-tree --skip-else");
    shell.completes("conntrack-tree ru", "conntrack-tree rules");
    shell.completes("conntrack-tree rules --format ipt", "--format iptables");
    // A directory, not the file beside it.
    shell.completes("conntrack-tree -p tree", "-p tree-of-eth0/");
    shell.lists("conntrack-tree -d ", &["any", "lo"]);
    shell.lists("conntrack-tree doctor --device ", &["any", "lo"]);
}

#[test]
fn bash_completes() {
    assert_completes(BASH);
}

#[test]
fn zsh_completes() {
    assert_completes(ZSH);
}

#[test]
fn fish_completes() {
    assert_completes(FISH);
}

#[test]
fn hidden_flags_are_not_offered() {
    let words = ["--", PROGRAM, "--"];
    let output = conntrack().args(words).env("CONNTRACK_COMPLETE", "fish").output();
    let offered = String::from_utf8(output.expect("it runs").stdout).expect("UTF-8");
    assert!(offered.contains("--hook\t"), "{offered}");
    assert!(!offered.contains("--tc-hook"), "{offered}");
}
