//! The table of UDP pairs: datagrams of which each has a 5-tuple of its own, against SYNs of the same
//! addresses and ports, which the programs treat alike but for the pairs. The kernel's own run-time statistics of
//! the attached program.

use aya::sys::{Stats, enable_stats};
use conntrack_common::pairs::{BUCKETS, Bucket};

use super::{
    held,
    numbers::grouped,
    sender::{Load, Sender},
    support::{bpf::Hook, collector::Collector, lab::Lab},
    table::Row,
    traffic,
};

const PACKETS: u64 = 500_000;
const ROUNDS: usize = 5;
const AT_MOST: f64 = 250.0;

pub(crate) fn measure() -> Vec<Row> {
    let lab = Lab::new(&[traffic::HOST]);
    let sender = Sender::of(&lab);
    let _counting = enable_stats(Stats::RunTime).expect("run-time statistics (Linux 5.8)");
    let [mut with, mut without] = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        with = with.min(nanoseconds(&lab, &sender, &traffic::request()));
        without = without.min(nanoseconds(&lab, &sender, &traffic::syn()));
    }
    let more = with - without;
    let memory = u64::from(BUCKETS) * size_of::<Bucket>() as u64;
    vec![Row {
        what: format!(
            "UDP, every packet a new 5-tuple to one port; pairs take {} octets",
            grouped(memory)
        ),
        measured: format!("{with:.0} ns"),
        baseline: format!("{without:.0} ns (SYNs, no pairs)"),
        compared: format!("{more:+.0} ns"),
        target: format!("≤ {AT_MOST} ns more"),
        met: Some(more <= AT_MOST),
    }]
}

/// Of each packet, in a new collector.
fn nanoseconds(lab: &Lab, sender: &Sender, template: &[u8]) -> f64 {
    let collector = Collector::start(&lab.host, &["--mode", "ebpf", "--interval", "1h"]);
    let before = held::run_time(collector.id(), Hook::Ingress);
    let make = &traffic::from_anywhere;
    sender.send(Load { template, make, frames: PACKETS, rate: None });
    let after = held::run_time(collector.id(), Hook::Ingress);
    let runs = after.1 - before.1;
    assert!(runs * 10 >= PACKETS * 9, "{runs} runs of {PACKETS}");
    after.0.saturating_sub(before.0).as_nanos() as f64 / runs as f64
}
