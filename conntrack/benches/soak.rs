//! A soak: collectors under traffic for minutes, while their device goes and comes, addresses change
//! and the tree is deleted under them. Prints a table; fails if anything is lost or grows. Needs root;
//! everything is sent inside network namespaces of its own.
//!
//! The argument is how many minutes each mode takes, 3 without.

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    env, fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use support::{
    Files, PATIENCE,
    bpf::{Hook, detach_first, number_on},
    collector::Collector,
    frames::{Tcp, Wire, tcp, udp},
    lab::{DEVICE, Lab},
    slow::Slowed,
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
        "| mode | time | rounds | device gone and back | address changes | standard error blocked | \
         slow file system | connections seen again | lost | memory, anonymous | descriptors |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for (name, arguments) in MODES {
        eprintln!("soaking: {name}");
        println!("{}", soak(name, arguments, Duration::from_mins(minutes)));
    }
}

/// Memory and descriptors at one moment.
#[derive(Clone, Copy)]
struct Held {
    /// KiB.
    anonymous: u64,
    descriptors: usize,
}

impl Held {
    fn by(collector: &Collector) -> Self {
        let proc = format!("/proc/{}", collector.id());
        let status = fs::read_to_string(format!("{proc}/status")).expect("a running process");
        let field = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = field.and_then(|field| field.split_ascii_whitespace().next()?.parse().ok());
        let descriptors = fs::read_dir(format!("{proc}/fd")).expect("a running process").count();
        Self { anonymous: kib.expect("a number"), descriptors }
    }
}

fn soak(name: &str, arguments: &[&str], time: Duration) -> String {
    let lab = Lab::new(&HOST);
    let mut collector = Collector::start(&lab.host, &[arguments, &SETTINGS].concat());
    let mut wire = Wire::of(&lab);
    let mut rounds = 0_u16;
    let mut flaps = 0;
    let mut changes = 0;
    let mut blocked = 0;
    let mut slowed = 0;
    let mut seen = 0;
    let mut detached = 0;
    let mut settled: Option<Held> = None;
    let start = Instant::now();
    while start.elapsed() < time {
        rounds = rounds.wrapping_add(1);
        seen += round(&mut wire, &collector, rounds);
        if rounds.is_multiple_of(3) {
            let verb = if changes % 2 == 0 { "add" } else { "delete" };
            let address = format!("{PASSING}/24");
            lab.host.run("ip", &["address", verb, &address, "dev", DEVICE]);
            changes += 1;
        }
        if rounds.is_multiple_of(7) {
            let part = ["in", "out/udp", "else"][usize::from(rounds) % 3];
            fs::remove_dir_all(collector.path().join(part)).expect("removed");
        }
        if rounds.is_multiple_of(4) {
            detached += u32::from(detach(&lab, arguments));
        }
        if rounds.is_multiple_of(11) {
            storm(&lab);
            changes += 2;
        }
        if rounds.is_multiple_of(13) {
            rename_and_back(&lab, &mut collector);
            flaps += 1;
        }
        if rounds.is_multiple_of(10) {
            wire = gone_and_back(&lab, &mut collector);
            (flaps, changes) = (flaps + 1, changes + changes % 2);
        }
        if rounds % 20 == 5 {
            seen += collector.unread(|collector| round(&mut wire, collector, rounds + 1));
            collector.ask_until("standard error was not read");
            blocked += 1;
        }
        if rounds % 20 == 15 {
            let _slowed = Slowed::down(collector.id());
            seen += round(&mut wire, &collector, rounds + 1);
            slowed += 1;
        }
        if settled.is_none() && start.elapsed() > time / 5 {
            settled = Some(Held::by(&collector));
        }
    }
    let settled = settled.expect("a fifth has passed");
    let now = Held::by(&collector);
    let ended = collector.stop();
    assert!(ended.status.success(), "{}", ended.said);
    let lost = ended.reported("lost");
    assert_eq!(lost, 0, "{}", ended.said);
    assert!(now.anonymous <= settled.anonymous + MAY_GROW, "memory grows");
    assert_eq!(now.descriptors, settled.descriptors, "descriptors grow");
    eprintln!("programs were taken away and came back {detached} times");
    let minutes = time.as_secs() / 60;
    format!(
        "| {name} | {minutes} min | {rounds} | {flaps} | {changes} | {blocked} | {slowed} | {seen} | \
         {lost} | \
         {} KiB, at the end {} KiB | {}, at the end {} |",
        settled.anonymous, now.anonymous, settled.descriptors, now.descriptors
    )
}

/// Takes our program off arriving packets, and waits until it is back; whether there is one.
fn detach(lab: &Lab, arguments: &[&str]) -> bool {
    if arguments.contains(&"pcap") {
        return false;
    }
    let hook = if arguments.contains(&"xdp") { Hook::Xdp } else { Hook::Ingress };
    detach_first(&lab.host, DEVICE, hook);
    let is_back = wait_until(PATIENCE, || match hook {
        Hook::Xdp => lab.xdp(),
        _ => number_on(&lab.host, DEVICE, hook) == 1,
    });
    assert!(is_back, "{hook:?} stays away");
    true
}

/// Addresses come all at once, as on a container host, and go again.
fn storm(lab: &Lab) {
    const ADDRESSES: u8 = 200;
    for verb in ["add", "delete"] {
        let lines =
            (1..=ADDRESSES).map(|last| format!("address {verb} 10.77.0.{last}/32 dev {DEVICE}\n"));
        let script: String = lines.collect();
        lab.host.run("sh", &["-c", &format!("printf '{script}' | ip -batch -")]);
    }
}

/// Gives the device another name, so that there is none of its own, and gives it back.
fn rename_and_back(lab: &Lab, collector: &mut Collector) {
    const OTHER: &str = "ct-lan";
    lab.host.run("ip", &["link", "set", DEVICE, "name", OTHER]);
    collector.wait_for_line("is gone");
    lab.host.run("ip", &["link", "set", OTHER, "name", DEVICE]);
    collector.wait_for_line("is back");
}

/// Deletes the device and makes it again.
fn gone_and_back(lab: &Lab, collector: &mut Collector) -> Wire {
    lab.unplug();
    collector.wait_for_line("is gone");
    lab.plug_in(&HOST);
    collector.wait_for_line("is back");
    Wire::of(lab)
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
