//! Each new connection as one line on standard output: time, direction, protocol, ends, and what came of it
//! if that is known already. On a terminal the live line stays below.

use std::{
    io::{IsTerminal as _, stdout},
    time::SystemTime,
};

use super::{
    Screen,
    output::{Output, Stream},
};
use crate::{
    connection::{Sighting, Whose},
    local_time::Local,
    print::ends::Ends,
    tree::{direction_directory, protocol_directory},
};

/// Octets that are written at once; a pipe takes them whole or not (pipe(7)).
const AT_ONCE: usize = 4096;

/// Octets of a line at most, most of them the name of a unit.
const LONGEST_LINE: usize = 600;

/// Where the lines go.
#[derive(Debug)]
pub struct Lines(To);

#[derive(Debug)]
enum To {
    Screen(Screen),
    Output {
        output: Output,
        /// It was said that nobody reads.
        warned: bool,
    },
}

impl Lines {
    /// Standard output; the screen where it is one.
    pub fn new(screen: &Screen) -> Self {
        if stdout().is_terminal() {
            return Self(To::Screen(screen.clone()));
        }
        Self(To::Output { output: Output::nonblocking(Stream::Output), warned: false })
    }

    /// Prints connections that are new.
    pub(super) fn tell(&mut self, new: &[Sighting], seen: SystemTime) {
        let mut text = String::new();
        for sighting in new {
            text += &line(sighting, seen);
            text.push('\n');
            if text.len() > AT_ONCE - LONGEST_LINE {
                self.write(&std::mem::take(&mut text));
            }
        }
        if !text.is_empty() {
            self.write(&text);
        }
    }

    fn write(&mut self, text: &str) {
        match &mut self.0 {
            To::Screen(screen) => screen.say(text.trim_end()),
            To::Output { output, warned } => {
                let dropped = output.dropped();
                output.write(text);
                if output.dropped() == dropped {
                    *warned = false;
                } else if !std::mem::replace(warned, true) {
                    log::warn!("standard output is not read: new connections are in the tree only");
                }
            }
        }
    }
}

fn line(sighting: &Sighting, seen: SystemTime) -> String {
    let Sighting { connection, evidence, whose, .. } = sighting;
    let time = Local { time: seen, with_seconds: true };
    let direction = direction_directory(connection.direction);
    let protocol = protocol_directory(connection.protocol);
    let evidence = evidence.map(|it| format!(" {}", it.as_str())).unwrap_or_default();
    let unit = match whose {
        Whose::Unit(unit) => format!(" {unit}"),
        _ => String::new(),
    };
    format!("{time} {direction:<4} {protocol} {}{evidence}{unit}", Ends(connection))
}
