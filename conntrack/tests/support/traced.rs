//! A running process whose system calls strace(1) delays, or makes fail.

use std::{
    fs,
    process::{Child, Command},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, wait_until};

/// Has its effect as long as this lives.
pub struct Traced {
    strace: Child,
}

impl Traced {
    /// What strace injects into these calls, in its own words.
    pub fn with(process: u32, calls: &str, injected: &str) -> Self {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qqq", "-o", "/dev/null", "-p", &process.to_string()]);
        strace.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{injected}")]);
        let begun = Self { strace: strace.spawn().expect("strace runs") };
        let tracer = format!("TracerPid:\t{}", begun.strace.id());
        let status = || fs::read_to_string(format!("/proc/{process}/status"));
        assert!(wait_until(PATIENCE, || status().is_ok_and(|it| it.contains(&tracer))));
        begun
    }
}

impl Drop for Traced {
    /// On SIGINT it lets go of the process.
    fn drop(&mut self) {
        let id = i32::try_from(self.strace.id()).ok().and_then(Pid::from_raw);
        let _gone = id.map(|id| kill_process(id, Signal::INT));
        let _status = self.strace.wait();
    }
}
