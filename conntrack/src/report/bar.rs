//! Progress bar on the shared screen. A frame that the terminal does not accept is skipped.

use std::{
    io::{self, IsTerminal as _, stderr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use indicatif::{ProgressDrawTarget, TermLike};

use super::{Screen, screen::is_ours};

const DRAWINGS_PER_SECOND: u8 = 20;

/// The terminal interface that `indicatif` draws on.
#[derive(Debug)]
struct Bar {
    screen: Screen,
    /// Collected until the frame is complete.
    drawing: Mutex<String>,
}

impl Screen {
    /// Draw target for a progress bar; hidden if standard error is no terminal.
    pub fn progress(&self) -> ProgressDrawTarget {
        if !stderr().is_terminal() {
            return ProgressDrawTarget::hidden();
        }
        let bar = Bar { screen: self.clone(), drawing: Mutex::default() };
        ProgressDrawTarget::term_like_with_hz(Box::new(bar), DRAWINGS_PER_SECOND)
    }
}

impl Bar {
    fn drawing(&self) -> MutexGuard<'_, String> {
        self.drawing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::unnecessary_wraps, reason = "what the trait has")]
    fn add(&self, text: &str) -> io::Result<()> {
        self.drawing().push_str(text);
        Ok(())
    }

    /// ECMA-48: CUU, CUD, CUF, CUB. A parameter of 0 would mean 1.
    fn move_by(&self, cells: usize, direction: char) -> io::Result<()> {
        if cells == 0 { Ok(()) } else { self.add(&format!("\x1b[{cells}{direction}")) }
    }
}

impl TermLike for Bar {
    fn width(&self) -> u16 {
        Screen::columns()
    }

    fn move_cursor_up(&self, rows: usize) -> io::Result<()> {
        self.move_by(rows, 'A')
    }

    fn move_cursor_down(&self, rows: usize) -> io::Result<()> {
        self.move_by(rows, 'B')
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.move_by(columns, 'C')
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.move_by(columns, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.add(text)?;
        self.add("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let drawing = std::mem::take(&mut *self.drawing());
        // Not in the background, where it would mix with other programs' output.
        if is_ours() {
            self.screen.shared().output.draw(&drawing);
        }
        Ok(())
    }
}
