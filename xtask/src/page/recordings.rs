//! The recordings that pages are made of.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{folder::start_anew, fresh::step::Log, workspace::Workspace};

pub(super) const NAMES: [&str; 5] = ["seed", "usual", "empty", "hostile", "large"];

/// Makes one of them; where it is.
pub(super) fn make(
    workspace: &Workspace,
    conntrack: &Path,
    folder: &Path,
    name: &str,
    log: &Log,
) -> Result<PathBuf> {
    if name == "seed" {
        return seed(workspace, conntrack, &folder.join("seed"), log);
    }
    let (head, lines) = match name {
        "usual" => (head("web1", "eth0"), usual()),
        "hostile" => (hostile_head(), hostile()),
        "large" => (head("gateway", "eth0"), large()),
        _ => (head("web1", "eth0"), Vec::new()),
    };
    let mut text = String::new();
    let head = with(head, "connections", json!(lines.len()));
    for line in [head].iter().chain(&lines) {
        writeln!(text, "{line}")?;
    }
    let path = folder.join(format!("{name}.jsonl"));
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// The capture that the README's tree is of.
fn seed(workspace: &Workspace, conntrack: &Path, tree: &Path, log: &Log) -> Result<PathBuf> {
    start_anew(tree)?;
    let mut program = workspace.program(&conntrack.display().to_string());
    program.arg("-r").arg(workspace.root.join("testdata/seed.pcap"));
    log.run(program.args(["--local", "192.168.200.230", "-q", "-p"]).arg(tree))?;
    Ok(tree.to_owned())
}

fn with(mut object: Value, field: &str, value: Value) -> Value {
    object[field] = value;
    object
}

fn head(host: &str, device: &str) -> Value {
    json!({
        "type": "recording", "version": 1, "written_by": "conntrack", "host": host, "device": device,
        "addresses": [], "window": null, "since": "2026-01-01T00:00:00Z", "mode": "ebpf",
        "hook": "tc (tcx)", "flags": ["--udp-direction", "pairs"],
        "ip_local_port_range": [32_768, 60_999], "udp_in": [51_820], "lost": 34, "connections": 0,
        "left_out": 0,
    })
}

/// Everything that may be text, as somebody would write it who wants to be more.
fn hostile_head() -> Value {
    let device =
        "\"><script>alert(1)</script><img src=http://192.0.2.1/x onerror=alert(1)>\u{202e}";
    let head = head("</title><script>alert(2)</script><!--", device);
    let head = with(head, "mode", json!("</style><script>console.log(3)</script>"));
    let head = with(head, "hook", json!("&lt;b&gt; <b> \u{1b}[31m \u{0}"));
    let flags = json!(["x".repeat(5_000), "'><svg onload=alert(4)>", "<!--", "]]>"]);
    with(with(head, "flags", flags), "lost", json!(u64::MAX))
}

/// Direction, protocol, source, destination, port, evidence.
fn line(direction: &str, protocol: &str, ends: [&str; 2], port: u32, evidence: &str) -> Value {
    let units = match (direction, port) {
        ("in", 80 | 443) => vec!["nginx.service"],
        ("in", 5_432) => vec!["postgresql@15-main.service"],
        ("out", 9_200) => vec!["filebeat.service", "user@1000.service/run-r1.scope"],
        _ => Vec::new(),
    };
    let source_port = if direction == "else" { json!(port) } else { Value::Null };
    json!({
        "type": "connection", "host": null, "direction": direction, "protocol": protocol,
        "source": ends[0], "source_port": source_port, "destination": ends[1],
        "destination_port": port, "evidence": evidence, "accepted": false,
        "first_seen": "2026-11-01T10:00:00Z", "last_seen": "2026-11-20T10:00:00Z",
        "made": "2026-11-01T10:00:00Z", "units": units,
    })
}

const HOST: &str = "10.20.0.5";

/// What a server of a company sees.
fn usual() -> Vec<Value> {
    let mut lines = Vec::new();
    for port in [25, 80, 443] {
        lines.push(line("in", "tcp", ["INTERNET", HOST], port, "answered"));
    }
    for number in 1..=60 {
        let word = if number % 9 == 0 { "refused" } else { "answered" };
        lines.push(line("in", "tcp", [&format!("10.20.1.{number}"), HOST], 5_432, word));
    }
    for number in 1..=12 {
        let peer = format!("10.20.2.{number}");
        lines.push(line("in", "tcp", [&peer, HOST], 22, "answered"));
        lines.push(line("else", "udp", [&peer, "224.0.0.251"], 5_353, "none"));
    }
    let v6 = ["2001:db8:aaaa:bbbb:cccc:dddd:eeee:1", "2001:db8:1111:2222:3333:4444:5555:6666"];
    lines.push(line("in", "tcp", v6, 443, "answered"));
    lines.push(line("in", "udp", ["10.20.0.3", HOST], 514, "served"));
    lines.push(line("in", "tcp", ["10.20.0.4", HOST], 6_379, "refused"));
    for port in 1..=90 {
        let word = if port % 3 == 0 { "none" } else { "refused" };
        lines.push(line("in", "tcp", ["10.20.9.77", HOST], port * 7, word));
    }
    for number in 1..=30 {
        let word = if number % 5 == 0 { "none" } else { "answered" };
        lines.push(line("out", "tcp", [HOST, &format!("10.20.4.{number}")], 9_200, word));
    }
    for (protocol, port, word) in [("tcp", 443, "answered"), ("udp", 123, "unknown")] {
        lines.push(line("out", protocol, [HOST, "INTERNET"], port, word));
    }
    lines
}

/// Addresses and ports as long as they can be.
fn hostile() -> Vec<Value> {
    let longest = "2001:db8:1111:2222:3333:4444:5555:6666";
    let others =
        ["2001:db8:ffff:ffff:ffff:ffff:ffff:fffe", "fe80:1111:2222:3333:4444:5555:6666:7777"];
    vec![
        line("in", "tcp", [others[0], longest], 65_535, "answered"),
        line("in", "tcp", [others[1], longest], 65_535, "unknown"),
        line("out", "udp", [longest, others[1]], 0, "none"),
        line("else", "udp", [others[0], "ff02::fb"], 65_535, "none"),
    ]
}

/// A hundred thousand connections: services with ten thousand peers, a scan, and much between others.
fn large() -> Vec<Value> {
    let mut lines = Vec::new();
    let words = ["answered", "refused", "none", "unknown"];
    for number in 0..10_000_usize {
        let address = |second: usize| format!("10.{second}.{}.{}", number / 250, number % 250 + 1);
        for (index, port) in [22, 80, 443, 5_432].into_iter().enumerate() {
            let word = words[(number + index) % words.len()];
            lines.push(line("in", "tcp", [&address(1), HOST], port, word));
        }
        let port = [443, 9_200, 25, 8_080][number % 4];
        lines.push(line("out", "tcp", [HOST, &address(2)], port, "answered"));
    }
    for port in 0..20_000 {
        lines.push(line("in", "tcp", ["INTERNET", HOST], port + 1_024, "none"));
    }
    for number in 0..30_000_u32 {
        let ends = [
            format!("10.3.{}.{}", number / 250, number % 250),
            format!("239.1.1.{}", number % 200),
        ];
        lines.push(line("else", "udp", [&ends[0], &ends[1]], 1_024 + number % 3_000, "none"));
    }
    lines
}
