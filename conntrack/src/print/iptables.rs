//! iptables: one file for both `iptables-restore` and `ip6tables-restore`. Lines with `-4` or `-6`
//! are passed over by the other one. It replaces the filter table: iptables has no table of one's
//! own. Knows nothing of how rules come about.

use std::fmt;

use ipnet::IpNet;

use super::header;
use crate::{
    connection::{Direction, Protocol},
    rules::{
        addresses::{Family, Interval},
        internet::folded_groups,
        rule_set::{Chain, PortRange, Rule, RuleSet, Side},
    },
};

const LOAD: &str = "iptables-restore FILE; ip6tables-restore FILE";

/// What a host dies without, as in [`super::nftables`].
const ESSENTIALS_CHAIN: &str = "essentials";
const ICMP: [&str; 4] =
    ["destination-unreachable", "time-exceeded", "parameter-problem", "echo-request"];
/// The listeners' messages (MLD, RFC 2710 and RFC 9777) have no names here.
const ICMPV6: [&str; 13] = [
    "destination-unreachable",
    "packet-too-big",
    "time-exceeded",
    "parameter-problem",
    "echo-request",
    "router-solicitation",
    "router-advertisement",
    "neighbour-solicitation",
    "neighbour-advertisement",
    "130",
    "131",
    "132",
    "143",
];

/// Chains that accept what comes from the internet or goes to it.
const FROM_INTERNET: &str = "from_internet";
const TO_INTERNET: &str = "to_internet";

/// Addresses in one line; iptables makes a rule of each.
const ADDRESSES_IN_LINE: usize = 8;
/// What the multiport match takes; a range counts as two.
const PORTS_IN_LINE: usize = 15;

/// A rule set as a file.
pub struct File<'a>(pub &'a RuleSet);

impl fmt::Display for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        header::write(f, self.0, LOAD)?;
        writeln!(f, "# They replace all that is in the filter table.\n\n*filter")?;
        for direction in Direction::ALL {
            writeln!(f, ":{} {} [0:0]", hook(direction), self.policy(direction))?;
        }
        for chain in [ESSENTIALS_CHAIN, FROM_INTERNET, TO_INTERNET] {
            writeln!(f, ":{chain} - [0:0]")?;
        }
        write_essentials(f)?;
        self.write_internet(f)?;
        for chain in &self.0.chains {
            self.write_chain(f, chain)?;
        }
        writeln!(f, "COMMIT")
    }
}

impl File<'_> {
    fn policy(&self, direction: Direction) -> &'static str {
        let is_filtered = self.0.chains.iter().any(|chain| chain.direction == direction);
        if is_filtered && self.0.options.enforce { "DROP" } else { "ACCEPT" }
    }

    fn write_internet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for family in Family::ALL.into_iter().filter(|it| self.0.uses(&Side::Internet, *it)) {
            for interval in self.0.internet.addresses(family).intervals() {
                let number = option(family);
                let (source, destination) = match interval.prefix_length() {
                    Some(_) => (format!("-s {interval}"), format!("-d {interval}")),
                    None => (
                        format!("-m iprange --src-range {interval}"),
                        format!("-m iprange --dst-range {interval}"),
                    ),
                };
                writeln!(f, "-A {FROM_INTERNET} {number} {source} -j ACCEPT")?;
                writeln!(f, "-A {TO_INTERNET} {number} {destination} -j ACCEPT")?;
            }
        }
        Ok(())
    }

    fn write_chain(&self, f: &mut fmt::Formatter<'_>, chain: &Chain) -> fmt::Result {
        let (name, options) = (hook(chain.direction), &self.0.options);
        writeln!(f)?;
        if let Some(device) = &options.device {
            writeln!(f, "-A {name} {} -j ACCEPT", other_devices(chain.direction, device))?;
        }
        match chain.direction {
            Direction::In => writeln!(f, "-A {name} -i lo -j ACCEPT")?,
            Direction::Out => writeln!(f, "-A {name} -o lo -j ACCEPT")?,
            Direction::Else => {}
        }
        let invalid = if options.enforce { "DROP" } else { "ACCEPT" };
        writeln!(f, "-A {name} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")?;
        writeln!(f, "-A {name} -m conntrack --ctstate INVALID -j {invalid}")?;
        writeln!(f, "-A {name} -j {ESSENTIALS_CHAIN}")?;
        for rule in &chain.rules {
            write_rule(f, name, rule)?;
        }
        write_closing(f, name, options.enforce)
    }
}

fn write_essentials(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for kind in ICMP {
        writeln!(f, "-A {ESSENTIALS_CHAIN} -4 -p icmp -m icmp --icmp-type {kind} -j ACCEPT")?;
    }
    writeln!(f, "-A {ESSENTIALS_CHAIN} -4 -p igmp -j ACCEPT")?;
    for kind in ICMPV6 {
        let kind = format_args!("-p ipv6-icmp -m icmp6 --icmpv6-type {kind}");
        writeln!(f, "-A {ESSENTIALS_CHAIN} -6 {kind} -j ACCEPT")?;
    }
    Ok(())
}

/// What no rule accepts: logged, but not every packet, and counted. The policy decides about it.
fn write_closing(f: &mut fmt::Formatter<'_>, name: &str, enforce: bool) -> fmt::Result {
    let (log, count) =
        if enforce { ("drops", "dropped") } else { ("would drop", "would be dropped") };
    // iptables takes 29 characters.
    let prefix = format_args!("conntrack {log} {name} ");
    let limit = "-m limit --limit 10/minute --limit-burst 20";
    writeln!(f, "-A {name} {limit} -j LOG --log-prefix \"{prefix}\"")?;
    writeln!(f, "-A {name} -m comment --comment \"{count}\"")
}

/// One line, or more where a line cannot hold it.
fn write_rule(f: &mut fmt::Formatter<'_>, chain: &str, rule: &Rule) -> fmt::Result {
    let (source, destination) = (matches("-s", &rule.source), matches("-d", &rule.destination));
    let protocol = match rule.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let target = match (&rule.source, &rule.destination) {
        (Side::Internet, _) => FROM_INTERNET,
        (_, Side::Internet) => TO_INTERNET,
        _ => "ACCEPT",
    };
    let (family, comment) = (option(rule.family), rule.comment());
    for source in &source {
        for destination in &destination {
            for ports in ports(&rule.ports) {
                writeln!(
                    f,
                    "-A {chain} {family}{source}{destination} -p {protocol} {ports} \
                     -m comment --comment \"{comment}\" -j {target}"
                )?;
            }
        }
    }
    Ok(())
}

/// A side as matches, one for each line. The internet is no match but a chain.
fn matches(flag: &str, side: &Side) -> Vec<String> {
    let lines = |elements: Vec<String>| {
        let lines = elements.chunks(ADDRESSES_IN_LINE);
        lines.map(|line| format!(" {flag} {}", line.join(","))).collect()
    };
    match side {
        Side::Internet => vec![String::new()],
        Side::FoldedGroups => {
            lines(folded_groups().intervals().iter().map(Interval::to_string).collect())
        }
        Side::Networks(networks) => {
            lines(networks.iter().map(|it: &IpNet| Interval::of(*it).to_string()).collect())
        }
    }
}

/// Ports as matches, one for each line.
fn ports(ranges: &[PortRange]) -> Vec<String> {
    if let [range] = ranges {
        return vec![format!("--dport {}", range.text(":"))];
    }
    let mut lines = Vec::new();
    let mut rest = ranges;
    while !rest.is_empty() {
        let (line, later) = rest.split_at(in_one_line(rest));
        let ports: Vec<_> = line.iter().map(|range| range.text(":")).collect();
        lines.push(format!("-m multiport --dports {}", ports.join(",")));
        rest = later;
    }
    lines
}

/// How many of these ranges the multiport match takes.
fn in_one_line(ranges: &[PortRange]) -> usize {
    let taken = ranges.iter().scan(0, |taken, range| {
        *taken += if range.first == range.last { 1 } else { 2 };
        Some(*taken)
    });
    taken.take_while(|taken| *taken <= PORTS_IN_LINE).count()
}

fn other_devices(direction: Direction, device: &str) -> String {
    match direction {
        Direction::In => format!("! -i {device}"),
        Direction::Out => format!("! -o {device}"),
        Direction::Else => format!("! -i {device} ! -o {device}"),
    }
}

const fn hook(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "INPUT",
        Direction::Out => "OUTPUT",
        Direction::Else => "FORWARD",
    }
}

const fn option(family: Family) -> &'static str {
    match family {
        Family::V4 => "-4",
        Family::V6 => "-6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_counts_as_two_ports() {
        let range = |first| PortRange { first, last: first + 1 };
        let ranges: Vec<_> = (0..9).map(|number| range(number * 10)).collect();
        let lines = ports(&ranges);
        let counts: Vec<_> = lines.iter().map(|line| line.matches(':').count()).collect();
        assert_eq!(counts, [7, 2]);
        assert_eq!(ports(&ranges[..1]), ["--dport 0:1"]);
    }
}
