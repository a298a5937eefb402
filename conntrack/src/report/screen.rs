//! Standard error, shared by messages and a live line: the line stays below the messages and is redrawn
//! in place. No live line without a terminal or in the background.

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

/// Carriage return and erase in line (ECMA-48: EL).
const ERASE: &str = "\r\x1b[K";

/// If the terminal does not tell its width.
const COLUMNS: u16 = 80;

/// Standard error. Clones share state.
#[derive(Clone, Debug)]
pub struct Screen {
    has_line: bool,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) output: Output,
    /// The live line that is drawn.
    line: Option<String>,
}

impl Screen {
    /// Non-blocking, for a run. With a live line if wanted and the terminal can erase it.
    pub fn new(wants_line: bool) -> Self {
        let can_erase = || env::var_os("TERM").is_some_and(|terminal| terminal != "dumb");
        let has_line = wants_line && stderr().is_terminal() && can_erase();
        Self::with(Output::nonblocking(), has_line)
    }

    /// Blocking, for a command that prints and exits.
    pub fn blocking() -> Self {
        Self::with(Output::blocking(), false)
    }

    fn with(output: Output, has_line: bool) -> Self {
        let shared = Shared { output, line: None };
        Self { has_line, shared: Arc::new(Mutex::new(shared)) }
    }

    /// Redraws the live line. Skipped while the terminal is stopped or we are in the background.
    pub(super) fn show(&self, line: String) {
        if self.has_line && is_ours() {
            let mut shared = self.shared();
            if shared.output.draw(&format!("{ERASE}{}", fitted(&line))) {
                shared.line = Some(line);
            }
        }
    }

    /// Width of the terminal.
    pub(super) fn columns() -> u16 {
        let columns = tcgetwinsize(stderr()).map_or(0, |size| size.ws_col);
        if columns == 0 { COLUMNS } else { columns }
    }

    /// Erases the live line.
    pub(super) fn clear(&self) {
        let mut shared = self.shared();
        if shared.line.take().is_some() && is_ours() {
            shared.output.draw(ERASE);
        }
    }

    /// Prints a message of one or more lines.
    pub fn say(&self, text: impl Display) {
        let mut shared = self.shared();
        let message = shared.message(&format!("{text}\n"));
        shared.output.write(&message);
    }

    /// Prints the last message; waits a little longer for a slow reader.
    pub fn say_last(&self, text: impl Display) {
        let mut shared = self.shared();
        let message = shared.message(&format!("{text}\n"));
        shared.output.write_last(&message);
    }

    /// Number of messages dropped because nobody read them.
    pub(super) fn dropped(&self) -> u64 {
        self.shared().output.dropped()
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, Shared> {
        // The state stays valid after a panic elsewhere.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Puts lines above the live line.
    fn message(&self, lines: &str) -> String {
        let lines = self.output.note() + lines;
        match self.line.as_deref().filter(|_| is_ours()) {
            Some(line) => format!("{ERASE}{lines}{}", fitted(line)),
            None => lines,
        }
    }
}

/// For `env_logger`, which writes each message in one call.
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

/// Cut to one row, or it could not be erased. The last column stays empty: some terminals wrap after
/// it.
fn fitted(line: &str) -> String {
    line.chars().take(usize::from(Screen::columns()) - 1).collect()
}
