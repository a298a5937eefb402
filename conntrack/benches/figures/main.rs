//! Measures what is promised about speed and prints it as a table. Needs root; everything is sent
//! inside network namespaces of its own.
//!
//! Each figure stands beside a baseline that was measured in the same run, in turns with it, so that
//! what is compared had the same machine under it. A missed target is shown, and is no failure.
//!
//! Trees are made in memory where there is a `/dev/shm`, else in `TMPDIR`: what a disk's file system
//! takes for a file differs by a factor of 100 from one moment to the next.
//!
//! Arguments are the names of [`SUBJECTS`] to measure; without any, all are.
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
mod repeated;
mod sender;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod throughput;
mod traffic;
mod usage;

use std::{env, process::ExitCode};

use table::{HEADER, Row};

/// A name to ask for, and what measures it.
type Subject = (&'static str, fn() -> Vec<Row>);

/// What can be measured.
const SUBJECTS: [Subject; 9] = [
    ("kernel", kernel::measure),
    ("syns", flood::syns),
    ("others", flood::others),
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
