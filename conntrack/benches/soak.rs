//! A soak: collectors under traffic for minutes, while their device goes and comes, addresses change
//! and the tree is deleted under them. Prints a table; fails if anything is lost or grows. Needs root;
//! everything is sent inside network namespaces of its own.
//!
//! Arguments are how many minutes each mode takes, 3 without, and parts of the names of modes, which run alone.

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    env, fmt, fs,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use support::{
    Files, PATIENCE,
    bpf::{Hook, detach_first, number_on},
    collector::Collector,
    exposition::Exposition,
    frames::{Tcp, Wire, tcp, udp},
    lab::{DEVICE, Lab},
    slow::slowed,
    wait_until,
};

const HOST: [&str; 2] = ["192.168.200.230", "2001:db8:200::230"];
/// An address that is added and removed.
const PASSING: &str = "192.168.201.7";

/// Each in another place of the pool.
const ROUND: u16 = 100;
const POOL: u16 = 2_000;

/// Less than four times what a round sends.
const SETTINGS: [&str; 4] = ["--interval", "200ms", "--max-flows", "1024"];
const MODES: [(&str, &[&str]); 3] = [
    ("eBPF, TC", &["--mode", "ebpf"]),
    ("eBPF, XDP and TC", &["--mode", "ebpf", "--hook", "xdp"]),
    ("libpcap", &["--mode", "pcap"]),
];

/// KiB.
const MAY_GROW: u64 = 1024;

fn main() {
    let minutes = env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(3);
    let scratch = "/dev/shm";
    if fs::metadata(scratch).is_ok() {
        tempfile::env::override_temp_dir(scratch.as_ref()).expect("it is not yet set");
    }
    println!(
        "| mode | time | rounds | device gone and back | program taken away | address changes | \
         standard error blocked | slow file system | connections seen again | lost | \
         memory, anonymous | descriptors |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let wanted: Vec<_> = env::args().skip(1).filter(|word| is_name(word)).collect();
    for (name, arguments) in MODES {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        eprintln!("soaking: {name}");
        println!("{}", soak(name, arguments, Duration::from_mins(minutes)));
    }
}

/// Cargo adds flags.
fn is_name(word: &str) -> bool {
    !word.starts_with('-') && word.parse::<u64>().is_err()
}

/// Memory and descriptors at one moment.
#[derive(Clone, Copy)]
struct Held {
    /// KiB.
    anonymous: u64,
    descriptors: usize,
}

impl Held {
    /// The least within a few intervals: some descriptors are there for a moment only.
    fn by(collector: &Collector) -> Self {
        const LOOKS: usize = 100;
        let looks = (0..LOOKS).map(|_| {
            thread::sleep(Duration::from_millis(10));
            Self::at_once(collector)
        });
        looks.min_by_key(|held| held.descriptors).expect("a look")
    }

    fn at_once(collector: &Collector) -> Self {
        let proc = format!("/proc/{}", collector.id());
        let status = fs::read_to_string(format!("{proc}/status")).expect("a running process");
        let field = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = field.and_then(|field| field.split_ascii_whitespace().next()?.parse().ok());
        let descriptors = fs::read_dir(format!("{proc}/fd")).expect("a running process").count();
        Self { anonymous: kib.expect("a number"), descriptors }
    }
}

fn soak(name: &str, arguments: &'static [&'static str], time: Duration) -> String {
    let mut soak = Soak::start(arguments);
    let mut settled: Option<Held> = None;
    let start = Instant::now();
    while start.elapsed() < time {
        soak.go_on();
        if settled.is_none() && start.elapsed() > time / 5 {
            settled = Some(Held::by(&soak.collector));
        }
    }
    let settled = settled.expect("a fifth has passed");
    let now = Held::by(&soak.collector);
    let Soak { collector, done, .. } = soak;
    let ended = collector.stop();
    assert!(ended.status.success(), "{}", ended.said);
    let lost = ended.reported("lost");
    assert_eq!(lost, 0, "{}", ended.said);
    assert!(now.anonymous <= settled.anonymous + MAY_GROW, "memory grows");
    assert_eq!(now.descriptors, settled.descriptors, "descriptors grow");
    let minutes = time.as_secs() / 60;
    format!(
        "| {name} | {minutes} min | {done} | {lost} | {} KiB, at the end {} KiB | {}, at the end {} |",
        settled.anonymous, now.anonymous, settled.descriptors, now.descriptors
    )
}

/// What was done to a collector.
#[derive(Default)]
struct Done {
    rounds: u16,
    /// The device was deleted and made again, or renamed and renamed back.
    flaps: u32,
    detached: u32,
    changes: u32,
    blocked: u32,
    slowed: u32,
    seen: usize,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, flaps, detached, changes, blocked, slowed, seen } = self;
        write!(f, "{rounds} | {flaps} | {detached} | {changes} | {blocked} | {slowed} | {seen}")
    }
}

/// A collector, and what is done to it.
struct Soak {
    arguments: &'static [&'static str],
    collector: Collector,
    metrics: TempDir,
    wire: Wire,
    done: Done,
    /// Last, so that the collector ends before its device.
    lab: Lab,
}

const METRICS: &str = "soak.prom";

impl Soak {
    fn start(arguments: &'static [&'static str]) -> Self {
        let lab = Lab::new(&HOST);
        let metrics = tempfile::tempdir().expect("a scratch directory");
        let path = metrics.path().join(METRICS);
        let path = path.to_str().expect("UTF-8");
        let all = [arguments, &SETTINGS, &["--metrics-file", path]].concat();
        let collector = Collector::start(&lab.host, &all);
        let wire = Wire::of(&lab);
        Self { arguments, collector, metrics, wire, done: Done::default(), lab }
    }

    fn go_on(&mut self) {
        let number = self.done.rounds.wrapping_add(1);
        self.done.rounds = number;
        self.done.seen += round(&mut self.wire, &self.collector, number);
        if number.is_multiple_of(3) {
            self.change_address();
        }
        if number.is_multiple_of(4) {
            self.detach();
        }
        if number.is_multiple_of(7) {
            let part = ["in", "out/udp", "else"][usize::from(number) % 3];
            fs::remove_dir_all(self.collector.path().join(part)).expect("removed");
        }
        if number.is_multiple_of(10) {
            self.device_goes_and_comes_back();
        }
        if number.is_multiple_of(11) {
            self.storm();
        }
        if number.is_multiple_of(13) {
            self.rename_and_back();
        }
        match number % 20 {
            5 => self.block_standard_error(),
            15 => self.slow_files_down(),
            _ => {}
        }
    }

    fn change_address(&mut self) {
        let verb = if self.done.changes.is_multiple_of(2) { "add" } else { "delete" };
        let address = format!("{PASSING}/24");
        self.lab.host.run("ip", &["address", verb, &address, "dev", DEVICE]);
        self.done.changes += 1;
    }

    /// Takes our program off arriving packets, and waits until it is back.
    fn detach(&mut self) {
        if self.arguments.contains(&"pcap") {
            return;
        }
        let hook = if self.arguments.contains(&"xdp") { Hook::Xdp } else { Hook::Ingress };
        detach_first(&self.lab.host, DEVICE, hook);
        let is_back = wait_until(PATIENCE, || match hook {
            Hook::Xdp => self.lab.xdp(),
            _ => number_on(&self.lab.host, DEVICE, hook) == 1,
        });
        assert!(is_back, "{hook:?} stays away");
        self.done.detached += 1;
    }

    /// Addresses come all at once, as on a container host, and go again.
    fn storm(&mut self) {
        const ADDRESSES: u8 = 200;
        for verb in ["add", "delete"] {
            let lines = (1..=ADDRESSES)
                .map(|last| format!("address {verb} 10.77.0.{last}/32 dev {DEVICE}\n"));
            let script: String = lines.collect();
            self.lab.host.run("sh", &["-c", &format!("printf '{script}' | ip -batch -")]);
        }
        self.done.changes += 2;
    }

    /// Gives the device another name, so that there is none of its own, and gives it back.
    fn rename_and_back(&mut self) {
        const OTHER: &str = "ct-lan";
        let rename =
            |from: &str, to: &str| self.lab.host.run("ip", &["link", "set", from, "name", to]);
        rename(DEVICE, OTHER);
        self.collector.wait_for_line("is gone");
        rename(OTHER, DEVICE);
        self.collector.wait_for_line("is back and watched again");
        self.done.flaps += 1;
    }

    /// Deletes the device and makes it again.
    fn device_goes_and_comes_back(&mut self) {
        self.lab.unplug();
        self.collector.wait_for_line("is gone");
        self.lab.plug_in(&HOST);
        self.collector.wait_for_line("is back and watched again");
        self.wire = Wire::of(&self.lab);
        self.done.flaps += 1;
        // The passing address went with it.
        self.done.changes += self.done.changes % 2;
    }

    /// Nobody reads standard error for a round, in which messages are dropped.
    fn block_standard_error(&mut self) {
        let Self { collector, metrics, wire, done, .. } = self;
        let metrics = metrics.path().join(METRICS);
        let dropped = || {
            let text = fs::read_to_string(&metrics).expect("metrics");
            Exposition::parse(&text).value("conntrack_messages_dropped_total", None)
        };
        let before = dropped();
        let is_dropping = || dropped() > before;
        done.seen += collector.unread(is_dropping, |it| round(wire, it, done.rounds + 1));
        collector.ask_until("standard error was not read");
        done.blocked += 1;
    }

    fn slow_files_down(&mut self) {
        let _traced = slowed(self.collector.id());
        self.done.seen += round(&mut self.wire, &self.collector, self.done.rounds + 1);
        self.done.slowed += 1;
    }
}

/// Sends connections without files, and waits for their files; returns how many.
fn round(wire: &mut Wire, collector: &Collector, number: u16) -> usize {
    let first = number.wrapping_mul(ROUND) % POOL;
    let mut expected = Files::new();
    for place in first..first + ROUND {
        for (leaves, frame, path) in connections(place) {
            // On the first pass through the pool it does not exist yet.
            let _missing = fs::remove_file(collector.path().join(&path));
            expected.insert(path);
            if leaves { wire.leave(&frame) } else { wire.arrive(&frame) }
        }
    }
    collector.wait_for_files(&expected);
    expected.len()
}

type Sent = (bool, Vec<u8>, String);

/// One of each direction, alternating between families and protocols.
fn connections(place: u16) -> [Sent; 3] {
    let port = 1_024 + place;
    let v6 = place % 2 == 1;
    let end = |address: &str, port| SocketAddr::new(address.parse().expect("an address"), port);
    let (host, near) = if v6 { (HOST[1], "fd00::1") } else { (HOST[0], "10.0.0.1") };
    let other = if v6 { "fd00::2" } else { "10.0.0.2" };
    let is_tcp = place % 4 < 2;
    let frame = |src, dst| if is_tcp { tcp(src, dst, Tcp::Syn) } else { udp(src, dst) };
    let protocol = if is_tcp { "tcp" } else { "udp" };
    [
        (
            true,
            frame(end(host, 40_000), end(near, port)),
            format!("out/{protocol}/{host}-PORT-{near}-{port}"),
        ),
        (
            false,
            frame(end(near, 40_000), end(host, port)),
            format!("in/{protocol}/{near}-PORT-{host}-{port}"),
        ),
        (
            false,
            frame(end(near, 40_000), end(other, port)),
            format!("else/{protocol}/{near}-40000-{other}-{port}"),
        ),
    ]
}
