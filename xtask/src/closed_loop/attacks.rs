//! The attacks: ports that were scanned while it was recorded and that nobody served then. Later something
//! listens there, and an attacker who gets through to it has broken in.

use std::{
    fmt::Write as _,
    fs,
    process::{Child, ExitStatus},
};

use anyhow::{Context as _, Result, ensure};

use super::place::{
    Place,
    Who::{self, Intruder, Server, Stranger},
};

/// Nobody serves these.
const TCP: [u16; 16] = [
    23, 111, 139, 445, 1_433, 2_049, 3_306, 3_389, 4_444, 5_900, 6_379, 8_080, 11_211, 27_017,
    31_337, 50_000,
];
const UDP: [u16; 8] = [111, 1_434, 5_060, 11_211, 27_015, 31_337, 40_000, 50_000];
/// Served in the LAN alone.
const TCP_OF_LAN: u16 = 5_432;
/// A packet from such a port looks like an answer, or like the data connection of FTP.
const TCP_SOURCES: [u16; 2] = [20, 80];
const UDP_SOURCES: [u16; 3] = [53, 67, 123];

/// The server's addresses that an attacker can reach.
const fn targets(attacker: Who) -> [&'static str; 2] {
    match attacker {
        Intruder => ["192.168.77.2", "fd77::2"],
        _ => ["192.0.2.2", "2001:db8:77::2"],
    }
}

const ATTACKERS: [Who; 2] = [Intruder, Stranger];

/// Scans all that is attacked later, and all that is served: both protocols and families.
pub(super) fn scan(place: &Place) -> Result<Vec<Child>> {
    let mut scans = Vec::new();
    for attacker in ATTACKERS {
        for target in targets(attacker) {
            for (flag, ports) in [("-sS", scanned_tcp()), ("-sU", list(&UDP))] {
                let family = if target.contains(':') { "-6" } else { "-4" };
                let script = format!(
                    "exec timeout 60 nmap {family} {flag} -n -Pn --max-retries 1 -p {ports} {target}"
                );
                let name = format!("scan-{}-{target}{flag}", attacker.name());
                scans.push(place.start(&name, &mut place.inside(attacker, &script))?);
            }
        }
    }
    Ok(scans)
}

fn scanned_tcp() -> String {
    format!("1-1024,{},{TCP_OF_LAN}", list(&TCP))
}

/// The ends of scans or attacks.
pub(super) fn wait(running: Vec<Child>) -> Result<Vec<ExitStatus>> {
    running.into_iter().map(|mut child| child.wait().context("a scan or attack")).collect()
}

fn list(ports: &[u16]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// What reaches a backdoor is written here.
const BREAK_INS: &str = "break-ins";

/// Has something listen on each of the ports that are attacked.
pub(super) fn open_backdoors(place: &Place) -> Result<Child> {
    let mut script = String::from("ulimit -n 1024; umask 0; : > /loop/break-ins\n");
    let mut listen =
        |address: String| writeln!(script, "socat -u {address},fork OPEN:/loop/break-ins,append &");
    for port in TCP {
        listen(format!("TCP6-LISTEN:{port},ipv6only=0,reuseaddr"))?;
    }
    for (family, target) in [4, 6].into_iter().zip(targets(Stranger)) {
        let target = in_brackets(target);
        listen(format!("TCP{family}-LISTEN:{TCP_OF_LAN},bind={target},reuseaddr"))?;
    }
    for port in UDP {
        listen(format!("UDP6-RECVFROM:{port},ipv6only=0"))?;
    }
    script.push_str("wait");
    place.start("backdoors", &mut place.inside(Server, &script))
}

/// A port, and the port that it is tried from if it matters.
type Way = (&'static str, u16, Option<u16>);

/// The ways of an attacker.
fn ways(by: Who) -> impl Iterator<Item = Way> {
    let tcp = TCP.map(|port| ("tcp", port, None));
    let udp = UDP.map(|port| ("udp", port, None));
    let as_if_answers = TCP_SOURCES
        .map(|from| ("tcp", 4_444, Some(from)))
        .into_iter()
        .chain(UDP_SOURCES.map(|from| ("udp", 40_000, Some(from))));
    let from_outside = (by == Stranger).then_some(("tcp", TCP_OF_LAN, None));
    tcp.into_iter().chain(udp).chain(as_if_answers).chain(from_outside)
}

/// An attempt, which sends its name.
struct Attempt {
    name: String,
    by: Who,
    command: String,
}

impl Attempt {
    fn new(by: Who, (family, target): (u8, &str), (protocol, port, source): Way) -> Self {
        let from = source.map(|it| format!(",sourceport={it}")).unwrap_or_default();
        let to = format!("{}:{port}{from}", in_brackets(target));
        let address = match protocol {
            "tcp" => format!("TCP{family}:{to},connect-timeout=2,reuseaddr"),
            _ => format!("UDP{family}-SENDTO:{to},reuseaddr"),
        };
        let name = format!("{} {protocol} {to}", by.name());
        let command = format!("echo '{name}' | socat -u - {address} 2>/dev/null &");
        Self { name, by, command }
    }
}

/// All that is tried.
fn attempts() -> Vec<Attempt> {
    let by_attacker = |by: Who| {
        let targets = [4, 6].into_iter().zip(targets(by));
        targets.flat_map(move |target| ways(by).map(move |way| Attempt::new(by, target, way)))
    };
    ATTACKERS.into_iter().flat_map(by_attacker).collect()
}

fn in_brackets(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// How many there are, and the names of those that got through.
pub(super) struct Attacked {
    pub(super) tried: usize,
    pub(super) let_in: Vec<String>,
}

/// Tries all of them at once.
pub(super) fn run(place: &Place) -> Result<Attacked> {
    let path = place.home(BREAK_INS);
    let at_path = || path.display().to_string();
    fs::write(&path, "").with_context(at_path)?;
    let attempts = attempts();
    let mut attacks = Vec::new();
    for attacker in ATTACKERS {
        let own = attempts.iter().filter(|attempt| attempt.by == attacker);
        let commands: Vec<_> = own.map(|it| it.command.as_str()).collect();
        // What got through is written soon after.
        let script = format!("{}\nwait; sleep 0.5", commands.join("\n"));
        let name = format!("attack-{}", attacker.name());
        attacks.push(place.start(&name, &mut place.inside(attacker, &script))?);
    }
    for status in wait(attacks)? {
        ensure!(status.success(), "an attack ended: {status}");
    }
    let written = fs::read_to_string(&path).with_context(at_path)?;
    let tried = attempts.len();
    let got_through = |it: &Attempt| written.lines().any(|line| line == it.name);
    let let_in = attempts.into_iter().filter(got_through).map(|it| it.name).collect();
    Ok(Attacked { tried, let_in })
}
