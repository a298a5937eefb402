//! The cost of a packet in the kernel: the programs that a collector has attached, run by
//! `BPF_PROG_TEST_RUN`, in turns with an empty program.
//!
//! The minimum of many short rounds counts: other work of the machine makes a round longer, never
//! shorter. A round has all programs and packets in turns, so that a slow phase of the machine affects
//! all of them.

use std::{
    net::SocketAddr,
    os::fd::{AsFd as _, OwnedFd},
};

use super::{
    bpf, held,
    support::{
        bpf::{Hook, Verdict, load},
        collector::Collector,
        frames::{Tcp, tcp, udp},
        lab::Lab,
    },
    table::Row,
};

const ROUNDS: usize = 80;
const RUNS_PER_ROUND: u32 = 50_000;

/// Nanoseconds by which two equal differences may differ: each of their four times is rounded.
const ROUNDING: u32 = 2;

/// Addresses of the watched device, and of another host.
const ENDS: [(&str, [&str; 2]); 2] = [
    ("IPv4", ["192.168.200.230:8000", "203.0.113.5:45000"]),
    ("IPv6", ["[2001:db8:200::230]:8000", "[2a00:1::5]:45000"]),
];

/// A packet to measure, and what it may cost above an empty program.
struct Case {
    what: String,
    packet: Vec<u8>,
    target: &'static str,
    at_most: u32,
}

/// Nanoseconds.
#[derive(Clone, Copy)]
struct Cost {
    program: u32,
    empty: u32,
}

impl Cost {
    const fn difference(self) -> u32 {
        self.program.saturating_sub(self.empty)
    }
}

pub(crate) fn measure() -> Vec<Row> {
    let lab = Lab::new(&["192.168.200.230", "2001:db8:200::230"]);
    let cases = cases();
    let [tc, xdp] = costs(&[Hook::Ingress, Hook::Xdp].map(|hook| Subject::new(&lab, hook)), &cases);
    let tc_rows = cases.iter().zip(&tc).map(|(case, &cost)| {
        let target = (case.target.to_owned(), case.at_most);
        row(&format!("TC, {}", case.what), cost, target)
    });
    let xdp_rows = cases.iter().zip(tc.iter().zip(xdp)).map(|(case, (tc, cost))| {
        let target =
            (format!("≤ {} ns (TC) + {ROUNDING}", tc.difference()), tc.difference() + ROUNDING);
        row(&format!("XDP, {}", case.what), cost, target)
    });
    tc_rows.chain(xdp_rows).collect()
}

fn cases() -> Vec<Case> {
    let cases = ENDS.map(|(family, ends)| {
        let [host, stranger] = ends.map(|end| end.parse::<SocketAddr>().expect("an address"));
        let case = |what: &str, packet, target, at_most| Case {
            what: format!("{what}, {family}"),
            packet,
            target,
            at_most,
        };
        [
            case("TCP packet that is no SYN", tcp(stranger, host, Tcp::Ack), "≤ 10 ns", 10),
            case("repeated UDP packet", udp(stranger, host), "≤ 80 ns, at best 30", 80),
        ]
    });
    cases.into_iter().flatten().collect()
}

/// A hook's programs.
struct Subject {
    /// Keeps the maps alive.
    _collector: Collector,
    program: OwnedFd,
    empty: OwnedFd,
}

impl Subject {
    fn new(lab: &Lab, hook: Hook) -> Self {
        let at_hook: &[&str] = if hook == Hook::Xdp { &["--hook", "xdp"] } else { &[] };
        // A flow stays in the map.
        let never_drained = ["--mode", "ebpf", "--interval", "1h"];
        let collector = Collector::start(&lab.host, &[&never_drained, at_hook].concat());
        let program = held::program(collector.id(), hook);
        Self { _collector: collector, program, empty: load(hook, Verdict::Next) }
    }

    /// One round with this packet.
    fn cost(&self, packet: &[u8]) -> Cost {
        let run =
            |program: &OwnedFd, repeat| bpf::nanoseconds_per_run(program.as_fd(), packet, repeat);
        let empty = run(&self.empty, RUNS_PER_ROUND);
        // Warms caches and puts the flow into the map.
        run(&self.program, 1);
        Cost { program: run(&self.program, RUNS_PER_ROUND), empty }
    }
}

/// The cost of each packet in each program.
fn costs<const N: usize>(subjects: &[Subject; N], cases: &[Case]) -> [Vec<Cost>; N] {
    let mut least =
        [(); N].map(|()| vec![Cost { program: u32::MAX, empty: u32::MAX }; cases.len()]);
    for _ in 0..ROUNDS {
        for (subject, least) in subjects.iter().zip(&mut least) {
            for (case, least) in cases.iter().zip(least) {
                let cost = subject.cost(&case.packet);
                least.program = least.program.min(cost.program);
                least.empty = least.empty.min(cost.empty);
            }
        }
    }
    least.map(with_one_baseline)
}

/// To the empty program of a hook all packets are the same.
fn with_one_baseline(costs: Vec<Cost>) -> Vec<Cost> {
    let empty = costs.iter().map(|cost| cost.empty).min().unwrap_or_default();
    costs.into_iter().map(|cost| Cost { empty, ..cost }).collect()
}

fn row(what: &str, cost: Cost, (target, at_most): (String, u32)) -> Row {
    Row {
        what: what.to_owned(),
        measured: format!("{} ns", cost.program),
        baseline: format!("{} ns (empty program)", cost.empty),
        compared: format!("+{} ns", cost.difference()),
        target,
        met: Some(cost.difference() <= at_most),
    }
}
