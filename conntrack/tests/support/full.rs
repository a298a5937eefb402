//! A standard error that takes nothing more, until somebody reads it.

use std::{
    fs::File,
    io::{Read as _, pipe},
    os::fd::{AsRawFd as _, OwnedFd},
    process::Stdio,
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, Mode, OFlags, openat},
    io::{Errno, write},
    net::{SendFlags, send},
};

/// The two ends of a pipe, or of something like it, that is full.
pub struct Full {
    reader: File,
    writer: OwnedFd,
}

impl Full {
    pub fn pipe() -> Self {
        let (reader, writer) = pipe().expect("a pipe");
        Self::of(reader, writer)
    }

    /// Of what is read at one end and written at the other.
    pub fn of(reader: impl Into<OwnedFd>, writer: impl Into<OwnedFd>) -> Self {
        let full = Self { reader: reader.into().into(), writer: writer.into() };
        full.fill();
        full
    }

    /// Fills it, also what is left for a part of a message. A terminal has room again once the kernel has
    /// passed on what it holds, so it is full when it has taken nothing for a while.
    pub fn fill(&self) {
        const LOOKS: u32 = 20;
        const STEP: Duration = Duration::from_millis(10);
        let mut idle = 0;
        while idle < LOOKS {
            let mut took = false;
            for piece in [4096, 1] {
                while self.put(&vec![b'.'; piece]).is_ok() {
                    took = true;
                }
            }
            idle = if took { 0 } else { idle + 1 };
            thread::sleep(STEP);
        }
    }

    /// Without waiting. A flag for that on the descriptor would be everybody's who has it.
    fn put(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        match send(&self.writer, bytes, SendFlags::DONTWAIT) {
            Err(Errno::NOTSOCK) => {
                let path = format!("/proc/self/fd/{}", self.writer.as_raw_fd());
                let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                write(openat(CWD, path, flags, Mode::empty())?, bytes)
            }
            sent => sent,
        }
    }

    pub fn stdio(&self) -> Stdio {
        self.writer.try_clone().expect("a descriptor").into()
    }

    /// Everything that was written behind what filled it, up to `end`.
    pub fn read_up_to(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(end) {
            let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
            let mut readable = [PollFd::new(&self.reader, PollFlags::IN)];
            let ready = poll(&mut readable, Some(&patience)).expect("polled");
            assert!(ready > 0, "never {end:?}: {:?}", String::from_utf8_lossy(&read));
            let mut buffer = [0; 8192];
            let length = self.reader.read(&mut buffer).expect("read");
            read.extend(&buffer[..length]);
        }
        String::from_utf8(read).expect("UTF-8").trim_start_matches('.').to_owned()
    }
}
