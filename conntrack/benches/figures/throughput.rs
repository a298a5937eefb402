//! TCP throughput into the watched device: one connection for the whole time, and a collector that is
//! started and stopped; throughput is measured in short windows with and without it. Two connections
//! would differ by more than the collector costs, by the CPUs that their ends happen to run on.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    numbers::{median, quantile},
    support::{
        collector::Collector,
        lab::{DEVICE, Lab, Namespace, PEER_DEVICE},
    },
    table::Row,
    traffic,
};

const PAIRS: usize = 30;
const WINDOW: Duration = Duration::from_millis(500);

/// Pause before a window: loading and unloading programs takes CPU time.
const SETTLE: Duration = Duration::from_millis(150);

pub(crate) fn measure() -> Vec<Row> {
    let lab = lab();
    let _server = Iperf3::start(&lab.host, &["-s"], "listening");
    let _client = Iperf3::start(&lab.peer, &["-c", traffic::HOST, "-t", "300"], "connected to");
    let mut without = Vec::new();
    let mut with = Vec::new();
    for _ in 0..PAIRS {
        without.push(gigabits(&lab));
        let collector = Collector::start(&lab.host, &["--mode", "ebpf", "--interval", "1s"]);
        with.push(gigabits(&lab));
        assert!(collector.stop().reported("packets seen") > 0, "it saw nothing");
    }
    // Each is compared with those before and after it, so that a drift of the machine cancels out.
    let around = |at: usize| (without[at] + without.get(at + 1).unwrap_or(&without[at])) / 2.0;
    let ratios: Vec<_> = with.iter().enumerate().map(|(at, with)| with / around(at)).collect();
    let [low, ratio, high] = [0.25, 0.5, 0.75].map(|share| quantile(ratios.clone(), share));
    vec![Row {
        what: format!("TCP throughput, {PAIRS} pairs of {} ms", WINDOW.as_millis()),
        measured: format!("{:.2} Gbit/s", median(with)),
        baseline: format!("{:.2} Gbit/s (without collector)", median(without)),
        compared: format!(
            "{:.1} %, half of them {:.0} to {:.0} %",
            ratio * 100.0,
            low * 100.0,
            high * 100.0
        ),
        target: "≥ 99 %".into(),
        met: Some(ratio >= 0.99),
    }]
}

/// With packets of the usual size.
fn lab() -> Lab {
    let lab = Lab::new(&[traffic::HOST]);
    lab.peer.add_address(PEER_DEVICE, "192.168.200.1");
    for (end, device) in [(&lab.host, DEVICE), (&lab.peer, PEER_DEVICE)] {
        end.run("ip", &["link", "set", device, "mtu", "1500"]);
    }
    lab
}

/// Gigabits a second that arrive at the watched device, over one window.
fn gigabits(lab: &Lab) -> f64 {
    thread::sleep(SETTLE);
    let start = Instant::now();
    let before = received(lab);
    thread::sleep(WINDOW);
    let octets = received(lab) - before;
    octets as f64 * 8.0 / 1e9 / start.elapsed().as_secs_f64()
}

/// Octets that the watched device has received.
fn received(lab: &Lab) -> u64 {
    let text = lab.host.enter(|| fs::read_to_string("/proc/thread-self/net/dev"));
    let text = text.expect("the devices of the namespace");
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(DEVICE));
    let octets = line.and_then(|line| line.strip_prefix(':')?.split_ascii_whitespace().next());
    octets.and_then(|octets| octets.parse().ok()).expect("octets")
}

/// A running iperf3; killed when it goes out of scope.
struct Iperf3(Child);

impl Iperf3 {
    /// Starts it and waits for a line with this text.
    fn start(namespace: &Namespace, arguments: &[&str], text: &str) -> Self {
        let mut iperf3 = namespace.command("iperf3");
        let started = iperf3.args(arguments).arg("--forceflush");
        let started = started.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut iperf3 = Self(started.expect("`ip netns exec`"));
        let said = BufReader::new(iperf3.0.stdout.take().expect("piped"));
        let mut lines = said.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains(text)), "iperf3 never said {text:?}");
        // The rest of its output is discarded.
        thread::spawn(move || lines.for_each(drop));
        iperf3
    }
}

impl Drop for Iperf3 {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}
