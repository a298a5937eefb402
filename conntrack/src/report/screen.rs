//! Standard error, shared by messages and a live line: the line stays below the messages and is redrawn
//! in place, each second and when the terminal's size changes. No live line without a terminal or in the
//! background.

use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal as _, Write, stderr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use log::Level;
use rustix::{
    process::getpgrp,
    termios::{tcgetpgrp, tcgetwinsize},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::interval,
};

use super::{
    live::Live,
    output::{Output, Stream},
    prefix::priority,
};

/// Carriage return and erase below (ECMA-48: ED). The cursor waits at the line's first character, so this
/// reaches all pieces of a line that a narrower terminal has broken.
const ERASE: &str = "\r\x1b[J";

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
    line: Option<Live>,
}

impl Screen {
    /// Non-blocking, for a run. With a live line if wanted and the terminal can erase it.
    pub fn new(wants_line: bool) -> Self {
        let can_erase = || env::var_os("TERM").is_some_and(|terminal| terminal != "dumb");
        let has_line = wants_line && stderr().is_terminal() && can_erase();
        Self::with(Output::nonblocking(Stream::Error), has_line)
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
    pub(super) fn show(&self, line: Live) {
        if self.has_line && is_ours() {
            let mut shared = self.shared();
            if shared.output.draw(&format!("{ERASE}{}", drawn(&line))) {
                shared.line = Some(line);
            }
        }
    }

    /// Draws the live line again and again: its clock goes on, and the terminal's size changes.
    pub async fn keep_current(self) {
        if !self.has_line {
            return;
        }
        let Ok(mut resized) = signal(SignalKind::window_change()) else { return };
        let mut seconds = interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = seconds.tick() => {}
                resized = resized.recv() => if resized.is_none() { return },
            }
            let line = self.shared().line;
            if let Some(line) = line {
                self.show(line);
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

    /// Prints the counters, each line with its priority in the journal.
    pub(super) fn say_report(&self, lines: &[(Level, String)]) {
        self.say(report(lines));
    }

    /// The same at the end; waits a little longer for a slow reader.
    pub fn say_last_report(&self, lines: &[(Level, String)]) {
        self.say_last(report(lines));
    }

    /// Prints a message of one or more lines.
    pub fn say(&self, text: impl Display) {
        let mut shared = self.shared();
        let message = shared.message(&format!("{text}\n"));
        shared.output.write(&message);
    }

    /// Prints the last message; waits a little longer for a slow reader.
    fn say_last(&self, text: impl Display) {
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
        match self.line.as_ref().filter(|_| is_ours()) {
            Some(line) => format!("{ERASE}{lines}{}", drawn(line)),
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

/// The line, and the cursor at its beginning.
fn drawn(line: &Live) -> String {
    line.drawn(Screen::columns()) + "\r"
}

fn report(lines: &[(Level, String)]) -> String {
    let lines = lines.iter().map(|(level, line)| format!("{}{line}", priority(*level)));
    lines.collect::<Vec<_>>().join("\n")
}
