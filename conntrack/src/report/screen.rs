//! Standard error, which messages share with one live line: it stands below them and is drawn
//! anew in place. Where it is no terminal, or not ours to draw on, there are messages only.

use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal as _, Write, stderr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    process::getpgrp,
    termios::{tcgetpgrp, tcgetwinsize},
};

use super::output::Output;

/// To the start of the row, and clear it (ECMA-48: EL).
const ERASE: &str = "\r\x1b[K";

/// Where a terminal does not say.
const COLUMNS: u16 = 80;

/// Standard error. Clones share it.
#[derive(Clone, Debug)]
pub struct Screen {
    has_line: bool,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) output: Output,
    /// What is drawn now.
    line: Option<String>,
}

impl Screen {
    /// For a run, which it never holds up; with a live line, if it is wanted and this is a terminal
    /// that can erase it.
    pub fn new(wants_line: bool) -> Self {
        let can_erase = || env::var_os("TERM").is_some_and(|terminal| terminal != "dumb");
        let has_line = wants_line && stderr().is_terminal() && can_erase();
        Self::with(Output::not_waiting(), has_line)
    }

    /// For a command that prints and ends.
    pub fn waiting() -> Self {
        Self::with(Output::waiting(), false)
    }

    fn with(output: Output, has_line: bool) -> Self {
        let shared = Shared { output, line: None };
        Self { has_line, shared: Arc::new(Mutex::new(shared)) }
    }

    /// Shows this as the live line. Left out while the terminal has stopped its output, and while we
    /// are in the background, where it would draw into what others say.
    pub(super) fn show(&self, line: String) {
        if self.has_line && is_ours() {
            let mut shared = self.shared();
            if shared.output.draw(&format!("{ERASE}{}", fitted(&line))) {
                shared.line = Some(line);
            }
        }
    }

    /// As many as fit in a row.
    pub(super) fn columns() -> u16 {
        let columns = tcgetwinsize(stderr()).map_or(0, |size| size.ws_col);
        if columns == 0 { COLUMNS } else { columns }
    }

    /// Takes the live line away.
    pub(super) fn clear(&self) {
        let mut shared = self.shared();
        if shared.line.take().is_some() && is_ours() {
            shared.output.draw(ERASE);
        }
    }

    /// Says this, in as many lines as it has. That nobody reads it is no reason to stop.
    pub fn say(&self, text: impl Display) {
        let mut shared = self.shared();
        let message = shared.message(&format!("{text}\n"));
        shared.output.write(&message);
    }

    /// Says this at the end, when there is time to wait for a slow reader.
    pub fn say_last(&self, text: impl Display) {
        let mut shared = self.shared();
        let message = shared.message(&format!("{text}\n"));
        shared.output.write_last(&message);
    }

    /// Messages that were left out because nobody read them.
    pub(super) fn left_out(&self) -> u64 {
        self.shared().output.left_out()
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, Shared> {
        // A panic elsewhere does not make the line any worse.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Whole lines, above the live one.
    fn message(&self, lines: &str) -> String {
        let lines = self.output.note() + lines;
        match self.line.as_deref().filter(|_| is_ours()) {
            Some(line) => format!("{ERASE}{lines}{}", fitted(line)),
            None => lines,
        }
    }
}

/// For a log, which writes each message at once and as a whole.
impl Write for Screen {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        self.say(String::from_utf8_lossy(message).trim_end_matches('\n'));
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether we are in the foreground of this terminal.
pub(super) fn is_ours() -> bool {
    tcgetpgrp(stderr()).is_ok_and(|group| group == getpgrp())
}

/// As much as there is room for in one row, or it could not be erased. The last column stays free:
/// some terminals go to the next row behind it.
fn fitted(line: &str) -> String {
    line.chars().take(usize::from(Screen::columns()) - 1).collect()
}
