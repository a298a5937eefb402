//! A file system that takes its time for each file, as NFS over a slow line does: strace(1) delays the
//! system calls.

use std::{
    fs,
    process::{Child, Command},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, wait_until};

/// Has the command behind it make files with 5 ms for each. It is strace's parent and not its child.
pub const SLOWLY: &[&str] = &[
    "strace",
    "-D",
    "-f",
    "-qqq",
    "-o",
    "/dev/null",
    "--seccomp-bpf",
    "-e",
    "trace=mknodat,utimensat",
    "-e",
    "inject=mknodat,utimensat:delay_enter=5000",
];

/// A running process whose files take 5 ms each, as long as this lives.
pub struct Slowed {
    strace: Child,
}

impl Slowed {
    pub fn down(process: u32) -> Self {
        let is_start = |argument: &&&str| !matches!(**argument, "-D" | "--seccomp-bpf");
        let mut strace = Command::new(SLOWLY[0]);
        strace.args(SLOWLY[1..].iter().filter(is_start));
        let strace = strace.args(["-p", &process.to_string()]).spawn().expect("strace runs");
        let slowed = Self { strace };
        let tracer = format!("TracerPid:\t{}", slowed.strace.id());
        let status = || fs::read_to_string(format!("/proc/{process}/status"));
        assert!(wait_until(PATIENCE, || status().is_ok_and(|it| it.contains(&tracer))));
        slowed
    }
}

impl Drop for Slowed {
    /// On SIGINT it lets go of the process.
    fn drop(&mut self) {
        let id = i32::try_from(self.strace.id()).ok().and_then(Pid::from_raw);
        let _gone = id.map(|id| kill_process(id, Signal::INT));
        let _status = self.strace.wait();
    }
}
