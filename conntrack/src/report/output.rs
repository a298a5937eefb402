//! Writing to standard error or output without blocking. A pipe that nobody reads or a stopped terminal must not
//! stop the collector: messages that do not fit are dropped and counted.

use std::{
    io::{self, IsTerminal as _, Write as _},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use log::Level;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, FileType, Mode, OFlags, fstat, openat},
    io::Errno,
    net::{SendFlags, send},
    stdio::{stderr, stdout},
};

use super::prefix::prefix;

/// Time to wait for a slow reader. Not waited again while messages are being dropped.
const PATIENCE: Duration = Duration::from_millis(200);

/// The same for the last message.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

/// `PIPE_BUF`: a pipe that is writable accepts this much at once (pipe(7)).
const PIECE: usize = 4096;

/// Standard output or error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Output,
    Error,
}

impl Stream {
    pub(super) fn descriptor(self) -> BorrowedFd<'static> {
        match self {
            Self::Output => stdout(),
            Self::Error => stderr(),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Output => "standard output",
            Self::Error => "standard error",
        }
    }
}

#[derive(Debug)]
pub(super) struct Output {
    stream: Stream,
    way: Way,
    /// The unwritten part of a message that was partly written.
    rest: Vec<u8>,
    /// Dropped messages, in total.
    dropped: u64,
    /// Dropped messages not yet reported.
    unreported: u64,
}

/// How it is written to.
#[derive(Debug)]
pub(super) enum Way {
    /// Blocking: right for a command that prints and exits.
    Blocking,
    /// A pipe or terminal, reopened with `O_NONBLOCK`. Setting the flag on the inherited descriptor would
    /// affect every process that shares it.
    Reopened(OwnedFd),
    /// A socket, such as the journal's; `MSG_DONTWAIT`.
    Socket,
    /// Could not be reopened: poll(2) before each piece.
    Polled { piece: usize },
}

impl Output {
    /// To standard error.
    pub(super) const fn blocking() -> Self {
        Self::by(Stream::Error, Way::Blocking)
    }

    pub(super) fn nonblocking(stream: Stream) -> Self {
        Self::by(stream, Way::find(stream.descriptor()))
    }

    const fn by(stream: Stream, way: Way) -> Self {
        Self { stream, way, rest: Vec::new(), dropped: 0, unreported: 0 }
    }

    /// Number of dropped messages.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// A line that says how many messages were dropped, if any.
    pub(super) fn note(&self) -> String {
        match self.unreported {
            0 => String::new(),
            unreported => format!(
                "{}{unreported} messages dropped: {} was not read\n",
                prefix(Level::Warn),
                self.stream.name()
            ),
        }
    }

    /// Writes a message, in one write(2) where possible, or drops it.
    pub(super) fn write(&mut self, message: &str) {
        self.write_within(message, if self.unreported == 0 { PATIENCE } else { Duration::ZERO });
    }

    /// Writes the last message.
    pub(super) fn write_last(&mut self, message: &str) {
        self.write_within(message, LAST_PATIENCE);
    }

    /// Writes text that is not worth waiting for; returns whether it was written.
    pub(super) fn draw(&mut self, text: &str) -> bool {
        let now = Instant::now();
        self.push(now) && self.begin(text, now)
    }

    fn write_within(&mut self, message: &str, patience: Duration) {
        let deadline = Instant::now() + patience;
        let is_written = self.push(deadline) && self.begin(message, deadline);
        if is_written {
            self.unreported = 0;
        } else {
            self.dropped += 1;
            self.unreported += 1;
        }
    }

    /// Starts a message; returns whether at least a part was written. The rest goes first next time.
    fn begin(&mut self, text: &str, deadline: Instant) -> bool {
        self.rest.extend_from_slice(text.as_bytes());
        self.push(deadline);
        let is_begun = self.rest.len() < text.len();
        if !is_begun {
            self.rest.clear();
        }
        is_begun
    }

    /// Writes `rest`; returns whether nothing is left.
    fn push(&mut self, deadline: Instant) -> bool {
        while !self.rest.is_empty() {
            match self.way.write(self.stream.descriptor(), &self.rest) {
                Ok(0) if !self.way.wait(self.stream.descriptor(), deadline) => return false,
                Ok(written) => drop(self.rest.drain(..written)),
                // No reader is left.
                Err(_) => self.rest.clear(),
            }
        }
        true
    }
}

impl Way {
    pub(super) fn find(stream: BorrowedFd<'_>) -> Self {
        let file_type = fstat(stream).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match file_type {
            Ok(FileType::Socket) => Self::Socket,
            Ok(FileType::Fifo) => reopened(stream).unwrap_or(Self::Polled { piece: PIECE }),
            // poll(2) on a terminal tells that there is room, not how much.
            _ if stream.is_terminal() => reopened(stream).unwrap_or(Self::Polled { piece: 1 }),
            _ => Self::Polled { piece: PIECE },
        }
    }

    /// Number of bytes written; 0 if it would block.
    pub(super) fn write(&self, stream: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Self::Blocking => return io::stderr().write_all(bytes).map(|()| bytes.len()),
            Self::Reopened(fd) => rustix::io::write(fd, bytes),
            Self::Socket => send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Self::Polled { .. } if !takes_output(stream, Duration::ZERO) => Ok(0),
            Self::Polled { piece } => rustix::io::write(stream, &bytes[..bytes.len().min(*piece)]),
        };
        match written {
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            written => Ok(written?),
        }
    }

    /// Waits until it is writable; returns whether it is.
    pub(super) fn wait(&self, stream: BorrowedFd<'_>, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let fd = match self {
            Self::Reopened(fd) => fd.as_fd(),
            _ => stream,
        };
        !left.is_zero() && takes_output(fd, left)
    }
}

fn reopened(stream: BorrowedFd<'_>) -> Option<Way> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", stream.as_raw_fd());
    let fd = openat(CWD, path, flags, Mode::empty()).ok()?;
    Some(Way::Reopened(fd))
}

pub(super) fn takes_output(fd: BorrowedFd<'_>, within: Duration) -> bool {
    let mut poll_fd = [PollFd::new(&fd, PollFlags::OUT)];
    let within = Timespec::try_from(within).unwrap_or_default();
    // POLLERR counts as ready: the write then returns the error.
    poll(&mut poll_fd, Some(&within)).is_ok_and(|ready| ready > 0)
}
