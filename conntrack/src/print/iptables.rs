//! iptables: one file for both `iptables-restore` and `ip6tables-restore`; each skips the lines of the
//! other, which have `-4` or `-6`. It replaces the filter table: iptables has no tables of one's own.
//! Knows nothing of how rules are made.

use std::fmt;

use super::{header, words};
use crate::{
    connection::{IpVersion, Protocol},
    rules::{
        addresses::{AddressSet, Interval},
        essentials::{ESSENTIALS, Essential, Icmp},
        internet::folded_groups,
        rule_set::RuleSet,
        vocabulary::{BaseChain, Chain, PortRange, Rule, Side},
    },
};

const LOAD: &str = "iptables-restore FILE; ip6tables-restore FILE";

const ESSENTIALS_CHAIN: &str = "essentials";
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
        for base in BaseChain::ALL {
            writeln!(f, ":{} {} [0:0]", name(base), self.policy(base))?;
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
    fn policy(&self, base: BaseChain) -> &'static str {
        if self.0.filters(base) && self.0.request.enforce { "DROP" } else { "ACCEPT" }
    }

    fn write_internet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for version in [IpVersion::V4, IpVersion::V6] {
            for interval in self.0.internet(version).iter().flat_map(AddressSet::intervals) {
                let [source, destination] = address_matches(interval);
                let option = option(version);
                writeln!(f, "-A {FROM_INTERNET} {option} {source} -j ACCEPT")?;
                writeln!(f, "-A {TO_INTERNET} {option} {destination} -j ACCEPT")?;
            }
        }
        Ok(())
    }

    fn write_chain(&self, f: &mut fmt::Formatter<'_>, chain: &Chain) -> fmt::Result {
        let name = name(chain.base);
        let request = &self.0.request;
        writeln!(f)?;
        if let Some(device) = &request.device {
            writeln!(f, "-A {name} {} -j ACCEPT", other_devices(chain.base, device))?;
        }
        match chain.base {
            BaseChain::Input => writeln!(f, "-A {name} -i lo -j ACCEPT")?,
            BaseChain::Output => writeln!(f, "-A {name} -o lo -j ACCEPT")?,
            BaseChain::Forward => {}
        }
        let invalid = if request.enforce { "DROP" } else { "ACCEPT" };
        writeln!(f, "-A {name} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")?;
        writeln!(f, "-A {name} -m conntrack --ctstate INVALID -j {invalid}")?;
        writeln!(f, "-A {name} -j {ESSENTIALS_CHAIN}")?;
        for rule in &chain.rules {
            write_rule(f, name, rule)?;
        }
        write_closing(f, name, request.enforce)
    }
}

/// An interval as source and as destination.
fn address_matches(interval: Interval) -> [String; 2] {
    match interval.network() {
        Some(_) => [format!("-s {interval}"), format!("-d {interval}")],
        None => [
            format!("-m iprange --src-range {interval}"),
            format!("-m iprange --dst-range {interval}"),
        ],
    }
}

fn write_essentials(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for essential in ESSENTIALS {
        match essential {
            Essential::Igmp => writeln!(f, "-A {ESSENTIALS_CHAIN} -4 -p igmp -j ACCEPT")?,
            Essential::IcmpV4(messages) => {
                write_icmp(f, "-4 -p icmp -m icmp --icmp-type", messages)?;
            }
            Essential::IcmpV6(messages) => {
                write_icmp(f, "-6 -p ipv6-icmp -m icmp6 --icmpv6-type", messages)?;
            }
        }
    }
    Ok(())
}

fn write_icmp(f: &mut fmt::Formatter<'_>, matching: &str, messages: &[Icmp]) -> fmt::Result {
    messages.iter().try_for_each(|message| {
        writeln!(f, "-A {ESSENTIALS_CHAIN} {matching} {} -j ACCEPT", icmp_type(*message))
    })
}

/// Multicast listener discovery has no names here.
const fn icmp_type(message: Icmp) -> &'static str {
    match message {
        Icmp::DestinationUnreachable => "destination-unreachable",
        Icmp::PacketTooBig => "packet-too-big",
        Icmp::TimeExceeded => "time-exceeded",
        Icmp::ParameterProblem => "parameter-problem",
        Icmp::EchoRequest => "echo-request",
        Icmp::RouterSolicitation => "router-solicitation",
        Icmp::RouterAdvertisement => "router-advertisement",
        Icmp::NeighborSolicitation => "neighbour-solicitation",
        Icmp::NeighborAdvertisement => "neighbour-advertisement",
        Icmp::ListenerQuery => "130",
        Icmp::ListenerReport => "131",
        Icmp::ListenerDone => "132",
        Icmp::ListenerReportV2 => "143",
    }
}

/// Packets that no rule accepts: counted, and logged up to a limit. The policy decides about them.
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
    let sources = matches("-s", &rule.source);
    let destinations = matches("-d", &rule.destination);
    let protocol = match rule.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let target = match (&rule.source, &rule.destination) {
        (Side::Internet, _) => FROM_INTERNET,
        (_, Side::Internet) => TO_INTERNET,
        _ => "ACCEPT",
    };
    let version = option(rule.version);
    let comment = words::comment(rule);
    for source in &sources {
        for destination in &destinations {
            for ports in ports(&rule.ports) {
                writeln!(
                    f,
                    "-A {chain} {version}{source}{destination} -p {protocol} {ports} \
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
        Side::FoldedGroups => lines(folded_groups().intervals().map(|it| it.to_string()).collect()),
        Side::Networks(networks) => {
            lines(networks.iter().map(|it| Interval::from(*it).to_string()).collect())
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

fn other_devices(base: BaseChain, device: &str) -> String {
    match base {
        BaseChain::Input => format!("! -i {device}"),
        BaseChain::Output => format!("! -o {device}"),
        BaseChain::Forward => format!("! -i {device} ! -o {device}"),
    }
}

const fn name(base: BaseChain) -> &'static str {
    match base {
        BaseChain::Input => "INPUT",
        BaseChain::Output => "OUTPUT",
        BaseChain::Forward => "FORWARD",
    }
}

const fn option(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "-4",
        IpVersion::V6 => "-6",
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
