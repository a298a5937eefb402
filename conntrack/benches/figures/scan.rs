//! A SYN scan of every port, of which none is open: what it costs the agent to keep that each was
//! refused at once, against the same SYNs that nobody answers.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    numbers::{grouped, median},
    sender::{Load, Make, Sender},
    support::{
        collector::Collector,
        frames::{Tcp, tcp},
        lab::Lab,
    },
    table::Row,
    traffic, usage,
};

const PORTS: u64 = 65_535;
const ROUNDS: usize = 5;
const AT_MOST: f64 = 1.3;

/// Longer than any batch takes.
const PATIENCE: Duration = Duration::from_mins(2);

/// One collector during one scan.
struct Sample {
    /// CPU time of the agent, in seconds.
    agent: f64,
    files: u64,
    lost: u64,
}

pub(crate) fn measure() -> Vec<Row> {
    let lab = Lab::new(&[traffic::HOST]);
    let sender = Sender::of(&lab);
    let mut refused = Vec::new();
    let mut silent = Vec::new();
    for _ in 0..ROUNDS {
        silent.push(watched(&lab, &sender, false));
        refused.push(watched(&lab, &sender, true));
    }
    let [with, without] = [&refused, &silent].map(|samples| {
        let of_agents = samples.iter().map(|sample| sample.agent);
        median(of_agents)
    });
    let ratio = with / without;
    let files = refused.iter().chain(&silent).map(|sample| sample.files).min().unwrap_or(0);
    let lost: u64 = refused.iter().chain(&silent).map(|sample| sample.lost).sum();
    vec![Row {
        what: format!("SYN scan of {} ports, each refused: CPU time of the agent", grouped(PORTS)),
        measured: format!("{:.0} ms; files: {}, lost: {lost}", with * 1e3, grouped(files)),
        baseline: format!("{:.0} ms (not answered)", without * 1e3),
        compared: format!("{ratio:.2} ×"),
        target: format!("≤ {AT_MOST}, a file for each port"),
        met: Some(ratio <= AT_MOST && files == PORTS && lost == 0),
    }]
}

fn watched(lab: &Lab, sender: &Sender, is_refused: bool) -> Sample {
    let collector = Collector::start(&lab.host, &["--mode", "ebpf", "--interval", "1s"]);
    let before = usage::cpu_time(collector.id());
    let scanner = traffic::end("203.0.113.5:45000");
    let host = traffic::end(&format!("{}:0", traffic::HOST));
    let syn = tcp(scanner, host, Tcp::Syn);
    let reset = tcp(host, scanner, Tcp::Reset);
    let to_each = |number, frame: &mut [u8]| traffic::to_port(number + 1, frame);
    let to_and_from_each = |number: u64, frame: &mut [u8]| {
        let port = number / 2 + 1;
        if number.is_multiple_of(2) {
            frame.copy_from_slice(&syn);
            traffic::to_port(port, frame);
        } else {
            frame.copy_from_slice(&reset);
            traffic::from_port(port, frame);
        }
    };
    let (make, frames): (&Make<'_>, _) =
        if is_refused { (&to_and_from_each, 2 * PORTS) } else { (&to_each, PORTS) };
    sender.send(Load { template: &syn, make, frames, rate: None });
    let agent = at_rest(&collector) - before;
    let ended = collector.stop();
    Sample { agent, files: ended.files.len() as u64, lost: ended.reported("lost") }
}

/// The CPU time of a collector that has done what there was to do.
fn at_rest(collector: &Collector) -> f64 {
    /// Of one core: what an agent uses that only drains an empty map.
    const IDLE: f64 = 0.02;
    const WHILE: Duration = Duration::from_secs(2);
    let deadline = Instant::now() + PATIENCE;
    let mut before = usage::cpu_time(collector.id());
    loop {
        thread::sleep(WHILE);
        let now = usage::cpu_time(collector.id());
        if now - before < IDLE * WHILE.as_secs_f64() {
            return now;
        }
        before = now;
        assert!(Instant::now() < deadline, "the collector does not come to rest");
    }
}
