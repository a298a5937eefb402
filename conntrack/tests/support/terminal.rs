//! A terminal for one test, and what it shows.

use std::{
    fs::File,
    io::Read as _,
    num::NonZero,
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Action, Winsize, tcflow, tcsetwinsize},
};

use super::{PATIENCE, wait_until};

pub const ROWS: NonZero<u16> = NonZero::new(24).expect("more than none");
pub const COLUMNS: NonZero<u16> = NonZero::new(100).expect("more than none");

/// A terminal, and its screen.
pub struct Terminal {
    shown: Arc<Mutex<Shown>>,
    end: OwnedFd,
}

/// What a terminal shows.
struct Shown {
    emulator: vt100::Parser,
    /// Everything that was written to it.
    written: Vec<u8>,
}

impl Terminal {
    pub fn new() -> Self {
        Self::of_columns(COLUMNS)
    }

    /// A terminal of this width.
    pub fn of_columns(columns: NonZero<u16>) -> Self {
        let (controller, end) = ends();
        let emulator = vt100::Parser::new(ROWS, columns, 0);
        let shown = Arc::new(Mutex::new(Shown { emulator, written: Vec::new() }));
        read(controller, Arc::clone(&shown));
        let terminal = Self { shown, end };
        terminal.set_size(columns);
        terminal
    }

    fn set_size(&self, columns: NonZero<u16>) {
        set_size(&self.end, columns);
    }

    /// Changes its width, as most terminals do today: lines that do not fit any more are broken, and the
    /// cursor stays at its character.
    pub fn resize(&self, columns: NonZero<u16>) {
        let mut shown = self.shown.lock().expect("no panic");
        let (row, column) = shown.emulator.screen().cursor_position();
        let rows: Vec<_> = shown.emulator.screen().rows(0, u16::MAX).collect();
        let mut emulator = vt100::Parser::new(ROWS, columns, 0);
        emulator.process(rows[..usize::from(row)].join("\r\n").trim_start().as_bytes());
        let line: Vec<_> = rows[usize::from(row)].chars().collect();
        let (before, behind) = line.split_at(usize::from(column).min(line.len()));
        if row > 0 {
            emulator.process(b"\r\n");
        }
        let [before, behind] = [before, behind].map(|it| it.iter().collect::<String>());
        // DECSC and DECRC, whose place is on the screen: nothing may scroll.
        emulator.process(format!("{before}\x1b7{behind}\x1b8").as_bytes());
        shown.emulator = emulator;
        drop(shown);
        self.set_size(columns);
    }

    /// Starts a command with this as its standard input and error.
    pub fn spawn(&self, command: &mut Command) -> Child {
        self.start(command.stdout(Stdio::null()))
    }

    /// Starts a command with this as all that it reads and writes.
    pub fn spawn_all(&self, command: &mut Command) -> Child {
        self.start(command.stdout(self.end()))
    }

    fn start(&self, command: &mut Command) -> Child {
        let command = command.env("TERM", "xterm").stdin(self.end()).stderr(self.end());
        command.spawn().expect("the command runs")
    }

    fn end(&self) -> Stdio {
        self.end.try_clone().expect("a descriptor").into()
    }

    /// Everything that was written to it, with what drives it.
    pub fn written(&self) -> String {
        let written = self.shown.lock().expect("no panic").written.clone();
        String::from_utf8(written).expect("UTF-8")
    }

    /// Stops its output, as Ctrl-S does.
    pub fn stop_output(&self) {
        tcflow(&self.end, Action::OOff).expect("stopped");
    }

    /// Lets its output go on, as Ctrl-Q does.
    pub fn resume_output(&self) {
        tcflow(&self.end, Action::OOn).expect("resumed");
    }

    /// Its rows now, without trailing blanks and empty rows at the end.
    pub fn shows(&self) -> Vec<String> {
        let shown = self.shown.lock().expect("no panic");
        let screen = shown.emulator.screen();
        let rows = screen.rows(0, u16::MAX).map(|row| row.trim_end().to_owned());
        let mut rows: Vec<_> = rows.collect();
        let used = rows.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1);
        rows.truncate(used);
        rows
    }

    /// The colour of the first character of a row.
    pub fn colour(&self, row: usize) -> vt100::Color {
        let shown = self.shown.lock().expect("no panic");
        let row = u16::try_from(row).expect("a row");
        shown.emulator.screen().cell(row, 0).expect("a cell").fgcolor()
    }

    /// Waits until `is_so` holds of its rows; returns them.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let shown = wait_until(PATIENCE, || is_so(&self.shows()));
        assert!(shown, "{what} expected: {:#?}", self.shows());
        self.shows()
    }
}

/// Reads until all writers have closed it.
fn read(mut controller: File, shown: Arc<Mutex<Shown>>) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = controller.read(&mut buffer) {
            let mut shown = shown.lock().expect("no panic");
            shown.written.extend(&buffer[..length]);
            shown.emulator.process(&buffer[..length]);
        }
    });
}

/// Who shows it, and whoever runs on it.
pub fn ends() -> (File, OwnedFd) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&controller).expect("granted");
    unlockpt(&controller).expect("unlocked");
    let name = ptsname(&controller, Vec::new()).expect("a name");
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let end = openat(CWD, name, flags, Mode::empty()).expect("its other end");
    set_size(&end, COLUMNS);
    (File::from(controller), end)
}

fn set_size(end: &OwnedFd, columns: NonZero<u16>) {
    let size = Winsize { ws_row: ROWS.get(), ws_col: columns.get(), ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(end, size).expect("a size");
}
