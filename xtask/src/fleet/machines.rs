//! A made-up fleet: three web servers, a database, and an old machine that was recorded without evidence. Its
//! records are what the program prints once it has read them.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::places::Places;
use crate::{command, folder::start_anew, fresh::step::Log};

struct Machine {
    host: &'static str,
    address: &'static str,
    /// Since when there is evidence.
    since: Option<&'static str>,
    lost: u64,
    /// Direction, protocol, the other end, the port, evidence, the days of November 2026 on which it was seen first
    /// and last; 0 is in August.
    connections: &'static [&'static str],
}

const MACHINES: [Machine; 5] = [
    Machine {
        host: "web1",
        address: "10.0.1.1",
        since: SINCE,
        lost: 0,
        connections: &[
            "in tcp INTERNET 443 answered 1 20",
            "in tcp 10.0.9.9 22 answered 1 19",
            "in udp 10.0.9.9 161 served 1 20",
            "out tcp 10.0.2.1 5432 answered 1 20",
            "out udp 10.0.0.53 53 answered 1 20",
        ],
    },
    Machine {
        host: "web2",
        address: "10.0.1.2",
        since: SINCE,
        lost: 0,
        connections: &[
            "in tcp INTERNET 443 answered 1 20",
            "in tcp 10.0.9.9 22 answered 1 18",
            "out tcp 10.0.2.1 5432 answered 1 20",
            "out tcp 10.0.2.1 6379 refused 2 20",
            "out tcp 10.0.2.9 25 none 3 20",
        ],
    },
    Machine {
        host: "web3",
        address: "10.0.1.3",
        since: SINCE,
        lost: 0,
        connections: &[
            "in tcp INTERNET 443 answered 1 20",
            "in tcp INTERNET 8080 answered 18 20",
            "in udp 10.0.9.9 161 served 1 20",
            "out tcp 10.0.2.1 5432 answered 1 20",
        ],
    },
    Machine {
        host: "db1",
        address: "10.0.2.1",
        since: SINCE,
        lost: 3,
        connections: &[
            "in tcp 10.0.1.1 5432 answered 1 20",
            "in tcp 10.0.1.2 5432 answered 1 20",
            "in tcp 10.0.1.3 5432 answered 1 20",
            "in tcp 10.0.9.9 5432 none 17 17",
            "in tcp 10.0.1.2 6379 refused 2 20",
            "in tcp 10.0.7.7 3306 answered 0 0",
            "in tcp 10.0.6.6 21 refused 5 5",
            "in tcp 10.0.6.6 22 none 5 5",
            "in tcp 10.0.6.6 23 refused 5 5",
            "in tcp 10.0.6.6 25 refused 5 5",
            "in tcp 10.0.6.6 80 refused 5 5",
            "in tcp 10.0.6.6 110 refused 5 5",
            "in tcp 10.0.6.6 143 refused 5 5",
            "in tcp 10.0.6.6 443 refused 5 5",
            "in tcp 10.0.6.6 445 refused 5 5",
            "in tcp 10.0.6.6 3389 refused 6 6",
            "in tcp 10.0.6.6 5432 none 6 6",
        ],
    },
    Machine {
        host: "old1",
        address: "10.0.5.1",
        since: None,
        lost: 0,
        connections: &["in tcp INTERNET 80 unknown 1 10", "out tcp 10.0.1.1 443 unknown 1 10"],
    },
];

const SINCE: Option<&str> = Some("2026-08-01T00:00:00Z");

/// Writes a file for each machine into `folder`.
pub(super) fn write(places: &Places, folder: &Path, log: &Log) -> Result<()> {
    let typed = places.own.join("typed");
    start_anew(&typed)?;
    for machine in &MACHINES {
        let name = format!("{}.jsonl", machine.host);
        let (from, to) = (typed.join(&name), folder.join(&name));
        fs::write(&from, machine.lines()).with_context(|| from.display().to_string())?;
        let mut conntrack = Command::new(&places.conntrack);
        conntrack.args(["rules", "--format", "jsonl", "--output"]).arg(&to).arg(&from);
        log.run(&mut conntrack)?;
    }
    // All of them are a role's, as far as the program is concerned.
    let mut rules = Command::new(&places.conntrack);
    rules.args(["rules", "--any-local-address", "--quiet"]);
    rules.args(MACHINES.iter().map(|it| folder.join(format!("{}.jsonl", it.host))));
    command::output(&mut rules).map(drop)
}

impl Machine {
    fn lines(&self) -> String {
        let head = json!({
            "type": "recording", "version": 1, "host": self.host, "device": "eth0", "since": self.since,
            "flags": ["--learn"], "lost": self.lost, "connections": self.connections.len(), "left_out": 0,
        });
        let lines = self.connections.iter().map(|it| self.line(it));
        lines.fold(format!("{head}\n"), |text, line| text + &line + "\n")
    }

    fn line(&self, connection: &str) -> String {
        let words: Vec<_> = connection.split(' ').collect();
        let [direction, protocol, peer, port, evidence, first, last] = words[..] else {
            return String::new();
        };
        let (source, destination) =
            if direction == "in" { (peer, self.address) } else { (self.address, peer) };
        json!({
            "type": "connection", "host": self.host, "direction": direction, "protocol": protocol,
            "source": source, "source_port": null, "destination": destination,
            "destination_port": port.parse::<u16>().ok(), "evidence": evidence, "accepted": false,
            "last_seen": time(last), "made": time(first),
        })
        .to_string()
    }
}

fn time(day: &str) -> String {
    match day {
        "0" => "2026-08-20T12:00:00Z".to_owned(),
        day => format!("2026-11-{day:0>2}T12:00:00.123456789Z"),
    }
}
