//! Repeated packets of one flow at full speed: CPU time against tcpdump's.
//!
//! tcpdump writes to `/dev/null`, with the filter that one would type for the same packets, without
//! promiscuous mode, and with the buffer size of our libpcap mode.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    numbers::{grouped, median},
    sender::{Load, Sender},
    support::{
        collector::Collector,
        lab::{DEVICE, Lab},
    },
    table::Row,
    traffic, usage,
};

const PACKETS: u64 = 5_000_000;
const ROUNDS: usize = 3;

/// Time for the watching process to get to the last packets.
const AFTERWARDS: Duration = Duration::from_millis(300);

const FILTER: &str =
    "udp or (tcp and tcp[13] & 0x12 == 2) or (ip6[6] == 6 and ip6[53] & 0x12 == 2)";

/// The result of all rounds.
struct Cost {
    /// Seconds on a CPU, the median.
    process: f64,
    /// Seconds that all CPUs were busy, including the sender: the minimum, because other work of the
    /// machine adds to it.
    machine: f64,
    lost: u64,
}

/// One round.
struct Sample {
    process: f64,
    machine: f64,
    lost: u64,
}

pub(crate) fn measure() -> Vec<Row> {
    let lab = Lab::new(&[traffic::HOST]);
    let sender = Sender::of(&lab);
    let mut tcpdump = Vec::new();
    let mut ebpf = Vec::new();
    let mut pcap = Vec::new();
    for _ in 0..ROUNDS {
        tcpdump.push(beside_tcpdump(&lab, &sender));
        ebpf.push(beside_collector(&lab, &sender, "ebpf"));
        pcap.push(beside_collector(&lab, &sender, "pcap"));
    }
    let [tcpdump, ebpf, pcap] = [tcpdump, ebpf, pcap].map(|samples| Cost::of(&samples));
    vec![
        process("eBPF", &ebpf, &tcpdump, ("≤ 1/20", 1.0 / 20.0)),
        machine(&ebpf, &tcpdump),
        process("libpcap", &pcap, &tcpdump, ("≤ 3", 3.0)),
        losses(&pcap, &tcpdump),
    ]
}

impl Cost {
    fn of(samples: &[Sample]) -> Self {
        Self {
            process: median(samples.iter().map(|sample| sample.process)),
            machine: samples.iter().map(|sample| sample.machine).fold(f64::INFINITY, f64::min),
            lost: samples.iter().map(|sample| sample.lost).sum(),
        }
    }
}

fn what(mode: &str) -> String {
    format!("{} repeated UDP packets, {mode}", grouped(PACKETS))
}

fn process(mode: &str, ours: &Cost, tcpdump: &Cost, (target, at_most): (&str, f64)) -> Row {
    let ratio = ours.process / tcpdump.process;
    Row {
        what: format!("{}: CPU time of the agent", what(mode)),
        measured: format!("{:.1} ms", ours.process * 1e3),
        baseline: format!("{:.1} ms (tcpdump)", tcpdump.process * 1e3),
        compared: if ratio < 0.1 {
            format!("1/{:.0}", 1.0 / ratio)
        } else {
            format!("{ratio:.2} ×")
        },
        target: target.to_owned(),
        met: Some(ratio <= at_most),
    }
}

fn machine(ours: &Cost, tcpdump: &Cost) -> Row {
    let ratio = ours.machine / tcpdump.machine;
    Row {
        what: format!("{}: busy time of the machine, sender included", what("eBPF")),
        measured: format!("{:.2} s", ours.machine),
        baseline: format!("{:.2} s (tcpdump)", tcpdump.machine),
        compared: format!("{ratio:.2} ×"),
        target: "≤ 1".into(),
        met: Some(ratio <= 1.0),
    }
}

fn losses(ours: &Cost, tcpdump: &Cost) -> Row {
    Row {
        what: format!("{}, {ROUNDS} rounds: lost packets", what("libpcap")),
        measured: grouped(ours.lost),
        baseline: format!("{} (tcpdump)", grouped(tcpdump.lost)),
        compared: format!("{:+}", ours.lost.cast_signed() - tcpdump.lost.cast_signed()),
        target: "none where tcpdump loses none".into(),
        met: Some(ours.lost == 0 || tcpdump.lost > 0),
    }
}

/// Sends all packets while a process watches; returns the time used.
fn watched_by(process: u32, sender: &Sender) -> (f64, f64) {
    let template = traffic::request();
    let load = Load { template: &template, make: &traffic::the_same, frames: PACKETS, rate: None };
    let before = (usage::cpu_time(process), usage::machine_busy());
    sender.send(load);
    thread::sleep(AFTERWARDS);
    (usage::cpu_time(process) - before.0, usage::machine_busy() - before.1)
}

fn beside_collector(lab: &Lab, sender: &Sender, mode: &str) -> Sample {
    let collector = Collector::start(&lab.host, &["--mode", mode, "--interval", "1s"]);
    let (process, machine) = watched_by(collector.id(), sender);
    let lost = collector.stop().reported("lost");
    eprintln!("  {mode}: {process:.3} s of {machine:.2} s, {lost} lost");
    Sample { process, machine, lost }
}

fn beside_tcpdump(lab: &Lab, sender: &Sender) -> Sample {
    let tcpdump = Tcpdump::start(lab);
    let (process, machine) = watched_by(tcpdump.child.id(), sender);
    let lost = tcpdump.stop();
    eprintln!("  tcpdump: {process:.3} s of {machine:.2} s, {lost} lost");
    Sample { process, machine, lost }
}

/// A running tcpdump; killed when it goes out of scope.
struct Tcpdump {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Tcpdump {
    /// Starts it and waits until it watches.
    fn start(lab: &Lab) -> Self {
        let mut tcpdump = lab.host.command("tcpdump");
        // Without changing the user, which is not what is measured.
        tcpdump.args(["-i", DEVICE, "-p", "-n", "-Z", "root", "-B", "16384", "-w", "/dev/null"]);
        let started = tcpdump.arg(FILTER).stderr(Stdio::piped()).spawn();
        let mut child = started.expect("tcpdump, which `cargo xtask setup --for bench` installs");
        let said = BufReader::new(child.stderr.take().expect("piped"));
        let mut tcpdump = Self { child, said };
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            let read = tcpdump.said.read_line(&mut line).expect("a line");
            assert!(read > 0, "tcpdump does not listen");
        }
        tcpdump
    }

    /// Ends it; returns how many packets it dropped.
    fn stop(mut self) -> u64 {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, Signal::INT).expect("signalled");
        let mut report = String::new();
        self.said.read_to_string(&mut report).expect("a report");
        let dropped = report.lines().find(|line| line.contains("dropped by kernel"));
        let number = dropped.and_then(|line| line.split(' ').next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no drops in {report}"))
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
