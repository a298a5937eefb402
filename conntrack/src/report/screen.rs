//! Standard error, which messages share with one live line: it stands below them and is drawn
//! anew in place. Where it is no terminal, or not ours to draw on, there are messages only.

use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal as _, Write, stderr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::getpgrp,
    termios::{tcgetpgrp, tcgetwinsize},
};

/// To the start of the row, and clear it (ECMA-48: EL).
const ERASE: &str = "\r\x1b[K";

/// Where a terminal does not say.
const COLUMNS: u16 = 80;

/// Standard error. Clones share the live line.
#[derive(Clone, Debug)]
pub struct Screen {
    has_line: bool,
    /// What is drawn now.
    line: Arc<Mutex<Option<String>>>,
}

impl Screen {
    /// With a live line, if it is wanted and this is a terminal that can erase it.
    pub fn new(wants_line: bool) -> Self {
        let can_erase = || env::var_os("TERM").is_some_and(|terminal| terminal != "dumb");
        let has_line = wants_line && stderr().is_terminal() && can_erase();
        Self { has_line, line: Arc::default() }
    }

    /// Shows this as the live line. Left out while the terminal has stopped its output, which would
    /// stop us, and while we are in the background, where it would draw into what others say.
    pub(super) fn show(&self, line: String) {
        if self.has_line && is_ours() && takes_output() {
            let mut shown = self.line();
            write(&[ERASE, &fitted(&line)]);
            *shown = Some(line);
        }
    }

    /// Takes the live line away.
    pub(super) fn clear(&self) {
        if self.line().take().is_some() && is_ours() {
            write(&[ERASE]);
        }
    }

    /// Says this, in as many lines as it has. That nobody reads it is no reason to stop.
    pub fn say(&self, text: impl Display) {
        self.put(&format!("{text}\n"));
    }

    /// Whole lines, above the live one.
    fn put(&self, lines: &str) {
        let shown = self.line();
        match shown.as_deref().filter(|_| is_ours()) {
            Some(line) => write(&[ERASE, lines, &fitted(line)]),
            None => write(&[lines]),
        }
    }

    fn line(&self) -> MutexGuard<'_, Option<String>> {
        // A panic elsewhere does not make the line any worse.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For a log, which writes each message at once and as a whole.
impl Write for Screen {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        self.put(&String::from_utf8_lossy(message));
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// In one go, so that others who write there come before or after it.
fn write(parts: &[&str]) {
    let _unread = stderr().write_all(parts.concat().as_bytes());
}

/// Whether we are in the foreground of this terminal.
fn is_ours() -> bool {
    tcgetpgrp(stderr()).is_ok_and(|group| group == getpgrp())
}

fn takes_output() -> bool {
    let stderr = stderr();
    let mut poll_fd = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut poll_fd, Some(&at_once)).is_ok() && poll_fd[0].revents() == PollFlags::OUT
}

/// As much as there is room for in one row, or it could not be erased. The last column stays free:
/// some terminals go to the next row behind it.
fn fitted(line: &str) -> String {
    let columns = tcgetwinsize(stderr()).map_or(0, |size| size.ws_col);
    let columns = if columns == 0 { COLUMNS } else { columns };
    line.chars().take(usize::from(columns) - 1).collect()
}
