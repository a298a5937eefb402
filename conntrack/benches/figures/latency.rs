//! From a flow's first packet to its file, as seen by inotify on the directory.

use std::{
    collections::BTreeSet,
    mem::MaybeUninit,
    path::Path,
    sync::mpsc::{Receiver, Sender as Told, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::inotify;

use super::{
    numbers::quantile,
    sender::{Load, Sender},
    support::{collector::Collector, lab::Lab},
    table::Row,
    traffic,
};

/// Number of flows, each to a port of its own.
const FLOWS: u16 = 500;

/// How much later than an interval a file may appear.
const LATE: Duration = Duration::from_millis(50);

pub(crate) fn measure() -> Vec<Row> {
    let lab = Lab::new(&[traffic::HOST]);
    let intervals = [("1s", 1000, 20), ("100ms", 100, 5)];
    let row = |(name, interval, gap)| {
        row(&lab, name, Duration::from_millis(interval), Duration::from_millis(gap))
    };
    intervals.into_iter().map(row).collect()
}

/// Average gap between flows: many within an interval.
fn row(lab: &Lab, name: &str, interval: Duration, gap: Duration) -> Row {
    let collector = Collector::start(&lab.host, &["--mode", "ebpf", "--interval", name]);
    let made = watch(&collector.path().join("in/udp"));
    let sent = send(lab, gap);
    let delays = delays(&sent, &made);
    let [p50, p99] = [0.5, 0.99].map(|share| quantile(delays.clone(), share));
    Row {
        what: format!("first packet to file, `--interval {name}`, {FLOWS} flows"),
        measured: format!("p50 {:.0} ms, p99 {:.0} ms", p50 * 1e3, p99 * 1e3),
        baseline: format!("{} ms (interval)", interval.as_millis()),
        compared: format!("p99 {:+.0} ms", (p99 - interval.as_secs_f64()) * 1e3),
        target: "p50 ≤ interval, p99 ≤ interval + 50 ms".into(),
        met: Some(p50 <= interval.as_secs_f64() && p99 <= (interval + LATE).as_secs_f64()),
    }
}

/// Sends a packet to each port from 1 on at irregular times; returns when each was sent.
fn send(lab: &Lab, gap: Duration) -> Vec<Instant> {
    let sender = Sender::of(lab);
    let mut template = traffic::request();
    let mut sent = Vec::new();
    for port in 1..=FLOWS {
        // Between zero and twice the gap.
        thread::sleep(gap * u32::from(port.wrapping_mul(40_503) >> 8) / 128);
        traffic::to_port(port.into(), &mut template);
        sent.push(Instant::now());
        let make = &traffic::the_same;
        sender.send(Load { template: &template, make, frames: 1, rate: None });
    }
    sent
}

/// Seconds from each packet to its file.
fn delays(sent: &[Instant], made: &Receiver<(u16, Instant)>) -> Vec<f64> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let mut delays = Vec::new();
    let mut ports = BTreeSet::new();
    while delays.len() < sent.len() {
        let (port, made) = made.recv_timeout(PATIENCE).expect("a file for each flow");
        if ports.insert(port) {
            let sent = sent[usize::from(port) - 1];
            delays.push(made.duration_since(sent).as_secs_f64());
        }
    }
    delays
}

/// Sends the port at the end of the name of each file that is made in this directory.
fn watch(directory: &Path) -> Receiver<(u16, Instant)> {
    let (told, made) = channel();
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).expect("inotify");
    let flags = inotify::WatchFlags::CREATE;
    inotify::add_watch(&watch, directory, flags).expect("a directory");
    // It ends with the first file that nobody waits for, or with this process.
    thread::spawn(move || tell(&watch, &told));
    made
}

fn tell(watch: &impl std::os::fd::AsFd, told: &Told<(u16, Instant)>) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    while let Ok(event) = events.next() {
        let now = Instant::now();
        let name = event.file_name().and_then(|name| name.to_str().ok());
        let port = name.and_then(|name| name.rsplit('-').next()?.parse().ok());
        if let Some(port) = port
            && told.send((port, now)).is_err()
        {
            return;
        }
    }
}
