//! Standard error, and how a run writes to it: without ever waiting for long. A pipe that nobody reads
//! and a terminal that has stopped its output take nothing; what does not fit is left out and counted.

use std::{
    io::{self, IsTerminal as _, Write as _, stderr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use log::Level;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, FileType, Mode, OFlags, fstat, openat},
    io::Errno,
    net::{SendFlags, send},
};

use super::prefix::prefix;

/// How long a reader who is slow may hold up a message. One who reads nothing does so once.
const PATIENCE: Duration = Duration::from_millis(200);

/// The same for what is said last, which nothing comes after.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

/// As much as a pipe that is not full takes at once (pipe(7)).
const PIECE: usize = 4096;

#[derive(Debug)]
pub(super) struct Output {
    way: Way,
    /// What is still to be written of a message that was begun.
    rest: Vec<u8>,
    /// Messages left out, all told.
    left_out: u64,
    /// Those of them that nobody was told of.
    untold: u64,
}

#[derive(Debug)]
enum Way {
    /// It is waited for: a command that prints and ends can do nothing better.
    Waiting,
    /// A pipe or a terminal, opened once more so as not to be waited for. The flag on what we were
    /// given would be everybody's who has it.
    Reopened(OwnedFd),
    /// A socket, as the journal's.
    Socket,
    /// What cannot be opened anew is asked before each piece whether it takes one.
    Asked { piece: usize },
}

impl Output {
    pub(super) const fn waiting() -> Self {
        Self::by(Way::Waiting)
    }

    pub(super) fn not_waiting() -> Self {
        Self::by(Way::find())
    }

    const fn by(way: Way) -> Self {
        Self { way, rest: Vec::new(), left_out: 0, untold: 0 }
    }

    /// Messages that were left out.
    pub(super) const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// What is to be said before the next message.
    pub(super) fn note(&self) -> String {
        match self.untold {
            0 => String::new(),
            untold => format!(
                "{}{untold} messages are left out here: nobody read standard error\n",
                prefix(Level::Warn)
            ),
        }
    }

    /// Writes a message, or leaves it out. Others who write there come before or after it, as long
    /// as it is taken at once.
    pub(super) fn write(&mut self, message: &str) {
        self.write_within(message, if self.untold == 0 { PATIENCE } else { Duration::ZERO });
    }

    /// Writes what nothing comes after.
    pub(super) fn write_last(&mut self, message: &str) {
        self.write_within(message, LAST_PATIENCE);
    }

    /// Writes what will soon be drawn anew: now or not at all. Whether it was.
    pub(super) fn draw(&mut self, text: &str) -> bool {
        let now = Instant::now();
        self.push(now) && self.begin(text, now)
    }

    fn write_within(&mut self, message: &str, patience: Duration) {
        let deadline = Instant::now() + patience;
        let is_written = self.push(deadline) && self.begin(message, deadline);
        if is_written {
            self.untold = 0;
        } else {
            self.left_out += 1;
            self.untold += 1;
        }
    }

    /// Whether any of it could be written; the rest will be, before anything else.
    fn begin(&mut self, text: &str, deadline: Instant) -> bool {
        self.rest.extend_from_slice(text.as_bytes());
        self.push(deadline);
        let is_begun = self.rest.len() < text.len();
        if !is_begun {
            self.rest.clear();
        }
        is_begun
    }

    /// Writes the rest; whether all of it.
    fn push(&mut self, deadline: Instant) -> bool {
        while !self.rest.is_empty() {
            match self.way.write(&self.rest) {
                Ok(0) if !self.way.wait(deadline) => return false,
                Ok(written) => drop(self.rest.drain(..written)),
                // There is nobody left to read it.
                Err(_) => self.rest.clear(),
            }
        }
        true
    }
}

impl Way {
    fn find() -> Self {
        let stderr = stderr();
        let file_type = fstat(&stderr).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match file_type {
            Ok(FileType::Socket) => Self::Socket,
            Ok(FileType::Fifo) => reopened().unwrap_or(Self::Asked { piece: PIECE }),
            // A terminal says that there is room, not how much.
            _ if stderr.is_terminal() => reopened().unwrap_or(Self::Asked { piece: 1 }),
            _ => Self::Asked { piece: PIECE },
        }
    }

    /// How much was written; nothing if that would have to be waited for.
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Self::Waiting => return stderr().write_all(bytes).map(|()| bytes.len()),
            Self::Reopened(fd) => rustix::io::write(fd, bytes),
            Self::Socket => send(stderr(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Self::Asked { .. } if !takes_output(stderr().as_fd(), Duration::ZERO) => Ok(0),
            Self::Asked { piece } => rustix::io::write(stderr(), &bytes[..bytes.len().min(*piece)]),
        };
        match written {
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            written => Ok(written?),
        }
    }

    /// Waits until it takes something; whether it does.
    fn wait(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let stderr = stderr();
        let fd = match self {
            Self::Reopened(fd) => fd.as_fd(),
            _ => stderr.as_fd(),
        };
        !left.is_zero() && takes_output(fd, left)
    }
}

fn reopened() -> Option<Way> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = openat(CWD, "/proc/self/fd/2", flags, Mode::empty()).ok()?;
    Some(Way::Reopened(fd))
}

fn takes_output(fd: BorrowedFd<'_>, within: Duration) -> bool {
    let mut poll_fd = [PollFd::new(&fd, PollFlags::OUT)];
    let within = Timespec::try_from(within).unwrap_or_default();
    // One whose reader is gone says so when it is written to.
    poll(&mut poll_fd, Some(&within)).is_ok_and(|ready| ready > 0)
}
