//! Floods: every packet a new flow, as fast as the machine can send.

use std::time::Duration;

use super::{
    held,
    numbers::{grouped, rate},
    sender::{Load, Sender},
    support::{
        collector::{Collector, Ended},
        lab::Lab,
    },
    table::Row,
    traffic,
};

const FLOWS: u64 = 1_000_000;

/// Flows of one trial of a rate: many times the capacity of the flow map.
const FLOWS_OF_TRIAL: u64 = 300_000;

/// Rates to try, in flows a second.
const RATES: [u64; 12] = [
    10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 80_000, 100_000, 125_000, 150_000, 200_000,
    300_000,
];

/// SYNs from the whole internet to one port.
pub(crate) fn syns() -> Vec<Row> {
    let lab = Lab::new(&[traffic::HOST]);
    let sender = Sender::of(&lab);
    let syn = traffic::syn();
    let load = Load { template: &syn, make: &traffic::from_anywhere, frames: FLOWS, rate: None };
    let alone = sender.send(load);
    // Nothing is drained: at the end the map holds all that the flood put into it.
    let collector = Collector::start(&lab.host, &["--mode", "ebpf", "--interval", "1h"]);
    let watched = sender.send(load);
    let entries = held::flows(collector.id());
    let ended = collector.stop();
    let files = ended.files.len();
    let lost = ended.reported("lost");
    vec![Row {
        what: format!("{} SYNs from random addresses and ports to one port", grouped(FLOWS)),
        measured: format!(
            "files: {files}, map entries: {}, lost: {}",
            grouped(entries),
            grouped(lost)
        ),
        baseline: format!("unwatched {}/s", grouped(per_second(alone))),
        compared: format!("watched {}/s", grouped(per_second(watched))),
        target: "1 file, ≤ 2 map entries, 0 lost".into(),
        met: Some(files == 1 && entries <= 2 && lost == 0),
    }]
}

fn per_second(duration: Duration) -> u64 {
    rate(FLOWS, duration.as_secs_f64())
}

/// Flows between others, of which nothing folds.
pub(crate) fn others() -> Vec<Row> {
    let lab = Lab::new(&[traffic::HOST]);
    let sender = Sender::of(&lab);
    vec![at_full_speed(&lab, &sender), sustained(&lab, &sender)]
}

fn at_full_speed(lab: &Lab, sender: &Sender) -> Row {
    let (ended, took) = flood(lab, sender, FLOWS, None);
    let files = ended.files.len() as u64;
    let lost = ended.reported("lost");
    let unaccounted = FLOWS.abs_diff(files + lost);
    Row {
        what: format!("{} distinct `else` flows, full speed", grouped(FLOWS)),
        measured: format!("{} files + {} lost", grouped(files), grouped(lost)),
        baseline: format!("{} sent, {}/s", grouped(FLOWS), grouped(per_second(took))),
        compared: format!("{} unaccounted for", grouped(unaccounted)),
        target: "0: every loss is counted".into(),
        met: Some(unaccounted == 0),
    }
}

/// The highest rate without loss: bisected with short trials, then held for longer.
fn sustained(lab: &Lab, sender: &Sender) -> Row {
    let mut lossy = Vec::new();
    let mut is_lossless = |flows, rate| {
        let lost = flood(lab, sender, flows, Some(rate)).0.reported("lost");
        lossy.extend((lost > 0).then_some((rate, lost)));
        lost == 0
    };
    let mut good = RATES.partition_point(|&rate| is_lossless(FLOWS_OF_TRIAL, rate));
    while good > 0 && !is_lossless(FLOWS, RATES[good - 1]) {
        good -= 1;
    }
    let best = good.checked_sub(1).map_or(0, |at| RATES[at]);
    let lowest = lossy
        .into_iter()
        .min()
        .map(|(rate, lost)| format!("{} lost at {}/s", grouped(lost), grouped(rate)));
    Row {
        what: format!("{} distinct `else` flows, paced", grouped(FLOWS)),
        measured: format!("0 lost at {}/s", grouped(best)),
        baseline: lowest.unwrap_or_else(|| "–".into()),
        compared: "–".into(),
        target: "0 lost up to the rate named".into(),
        met: Some(best > 0),
    }
}

/// Sends this many flows to a collector with default settings; returns what it left, and how long
/// sending took.
fn flood(lab: &Lab, sender: &Sender, flows: u64, pace: Option<u64>) -> (Ended, Duration) {
    let collector = Collector::start(&lab.host, &["--mode", "ebpf", "--interval", "1s"]);
    let template = traffic::of_others();
    let make = &traffic::from_each_other;
    let took = sender.send(Load { template: &template, make, frames: flows, rate: pace });
    let ended = collector.stop();
    eprintln!(
        "  {flows} flows, {}/s: {} files, {} lost",
        rate(flows, took.as_secs_f64()),
        ended.files.len(),
        ended.reported("lost")
    );
    (ended, took)
}
