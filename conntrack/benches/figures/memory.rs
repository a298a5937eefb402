//! Memory of the agent, at rest and after many connections.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    numbers::grouped,
    sender::{Load, Sender},
    support::{collector::Collector, lab::Lab},
    table::Row,
    traffic,
    usage::Memory,
};

const CONNECTIONS: u64 = 100_000;

/// Slow enough that every flow gets a file.
const RATE: u64 = 20_000;

const AT_MOST: u64 = 8 << 10;

pub(crate) fn measure() -> Vec<Row> {
    let lab = Lab::new(&[traffic::HOST]);
    let sender = Sender::of(&lab);
    let mut collector = Collector::start(&lab.host, &["--mode", "ebpf", "--interval", "1s"]);
    // Until the first interval is over.
    thread::sleep(Duration::from_secs(2));
    let idle = Memory::of(collector.id());
    let template = traffic::of_others();
    let make = &traffic::from_each_other;
    let load = Load { template: &template, make, frames: CONNECTIONS, rate: Some(RATE) };
    sender.send(load);
    wait_for_files(&mut collector);
    let after = Memory::of(collector.id());
    vec![at_rest(idle), after_connections(idle, after)]
}

fn at_rest(idle: Memory) -> Row {
    Row {
        what: "memory of the agent, idle".into(),
        measured: told(idle),
        baseline: "–".into(),
        compared: "–".into(),
        target: format!("≤ {} MiB", AT_MOST >> 10),
        met: Some(idle.resident <= AT_MOST),
    }
}

fn after_connections(idle: Memory, after: Memory) -> Row {
    let more = after.resident.saturating_sub(idle.resident) << 10;
    Row {
        what: format!("memory of the agent after {} connections", grouped(CONNECTIONS)),
        measured: told(after),
        baseline: format!("{} (idle)", told(idle)),
        compared: format!("+{} octets a connection", more / CONNECTIONS),
        target: "told".into(),
        met: None,
    }
}

fn told(memory: Memory) -> String {
    let mebibytes = |kibibytes: u64| kibibytes as f64 / 1024.0;
    let Memory { resident, anonymous } = memory;
    format!("{:.1} MiB, {:.1} of it anonymous", mebibytes(resident), mebibytes(anonymous))
}

/// Waits until the agent reports all of them.
fn wait_for_files(collector: &mut Collector) {
    const PATIENCE: Duration = Duration::from_secs(30);
    let start = Instant::now();
    let mut line = String::new();
    while !line.starts_with(&format!("files made: {CONNECTIONS} ")) {
        assert!(start.elapsed() < PATIENCE, "only {line}");
        thread::sleep(Duration::from_millis(100));
        collector.signal(Signal::USR1);
        line = collector.wait_for_line("files made: ");
    }
}
