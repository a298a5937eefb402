//! Measures what is promised about speed and prints a table. Needs root; everything is sent inside
//! network namespaces of its own.
//!
//! Each figure has a baseline that was measured in the same run, in turns with it, so that both had
//! the same machine. A missed target is shown; it is not a failure.
//!
//! Trees are made in `/dev/shm` if it exists, else in `TMPDIR`: on a disk, the time for making a file
//! varies by a factor of 100.
//!
//! Arguments are the names of [`SUBJECTS`] to measure; the default is all.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "what is counted here is positive and far below 2^32"
)]

mod bpf;
mod drain;
mod files;
mod flood;
mod held;
mod interrupt;
mod kernel;
mod latency;
mod machine;
mod memory;
mod numbers;
mod pairs;
mod repeated;
mod scan;
mod sender;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod throughput;
mod traffic;
mod usage;

use std::{env, process::ExitCode};

use table::{HEADER, Row};

/// A name, and the function that measures it.
type Subject = (&'static str, fn() -> Vec<Row>);

/// What can be measured.
const SUBJECTS: [Subject; 11] = [
    ("kernel", kernel::measure),
    ("pairs", pairs::measure),
    ("syns", flood::syns),
    ("others", flood::others),
    ("scan", scan::measure),
    ("repeated", repeated::measure),
    ("latency", latency::measure),
    ("throughput", throughput::measure),
    ("drain", drain::measure),
    ("files", files::measure),
    ("memory", memory::measure),
];

fn main() -> ExitCode {
    // Cargo adds options of its own.
    let wanted: Vec<_> = env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let is_subject = |word: &&String| SUBJECTS.iter().any(|(name, _)| name == word);
    if let Some(word) = wanted.iter().find(|word| !is_subject(word)) {
        eprintln!("no such subject: {word}; there are: {}", SUBJECTS.map(|it| it.0).join(", "));
        return ExitCode::from(2);
    }
    interrupt::handle();
    machine::use_scratch_in_memory();
    println!("{}\n\n{HEADER}", machine::description());
    for (name, measure) in SUBJECTS {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            eprintln!("measuring: {name}");
            for row in measure() {
                println!("{row}");
            }
        }
    }
    ExitCode::SUCCESS
}
