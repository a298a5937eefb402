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
    written: Arc<Mutex<Vec<u8>>>,
    end: OwnedFd,
}

impl Terminal {
    pub fn new() -> Self {
        let (controller, end) = ends();
        let written = Arc::default();
        read(controller, Arc::clone(&written));
        Self { written, end }
    }

    /// Starts a command with this as its standard input and error.
    pub fn spawn(&self, command: &mut Command) -> Child {
        let end = || Stdio::from(self.end.try_clone().expect("a descriptor"));
        let command = command.env("TERM", "xterm").stdin(end()).stdout(Stdio::null()).stderr(end());
        command.spawn().expect("the command runs")
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
        let mut emulator = vt100::Parser::new(ROWS, COLUMNS, 0);
        emulator.process(&self.written.lock().expect("no panic"));
        let screen = emulator.screen();
        screen.contents().trim_end().lines().map(|row| row.trim_end().to_owned()).collect()
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
fn read(mut controller: File, written: Arc<Mutex<Vec<u8>>>) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = controller.read(&mut buffer) {
            written.lock().expect("no panic").extend(&buffer[..length]);
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
    let size = Winsize { ws_row: ROWS.get(), ws_col: COLUMNS.get(), ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&end, size).expect("a size");
    (File::from(controller), end)
}
