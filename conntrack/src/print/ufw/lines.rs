//! The lines that are rules, in blocks: one for each network of the internet, or as they are.

use std::{collections::BTreeSet, iter::once};

use super::shell;
use crate::{
    connection::IpVersion,
    print::{
        multiport,
        networks::{networks, without_0},
        words,
    },
    rules::{
        addresses::AddressSet,
        answers::{DHCP_CLIENT, DHCP_SERVER, GroupRequests},
        essentials::{DHCPV6, Dhcpv6},
        rule_set::RuleSet,
        vocabulary::{BaseChain, Chain, PortRange, Rule, Side},
    },
};

const GROUPS: &str = "multicast groups";
const ANSWERS: &str = "answers to multicast and broadcast";
const DHCP: &str = "DHCP";

/// A network of the internet, in a block that is for each.
const EACH: &str = "\"$net\"";

/// Lines that belong together.
#[derive(Debug)]
pub(super) struct Block {
    /// They are for each network of the internet.
    pub(super) for_internet: Option<IpVersion>,
    pub(super) lines: Vec<String>,
}

impl Block {
    const fn of(lines: Vec<String>) -> Self {
        Self { for_internet: None, lines }
    }
}

/// The blocks of a chain.
pub(super) fn blocks(rule_set: &RuleSet, chain: &Chain) -> Vec<Block> {
    let verbs = verbs(chain.base, &rule_set.request.devices);
    let rules = chain.rules.iter().map(|rule| block(&verbs, rule));
    let besides = Block::of(besides(rule_set, chain, &verbs));
    rules.chain(once(besides)).filter(|block| !block.lines.is_empty()).collect()
}

/// How a line of a chain begins: what passes through has to go by the device on either side.
fn verbs(base: BaseChain, devices: &[String]) -> Vec<String> {
    let (verb, sides): (_, &[&str]) = match base {
        BaseChain::Input => ("ufw allow", &["in"]),
        BaseChain::Output => ("ufw allow", &["out"]),
        BaseChain::Forward => ("ufw route allow", &["in", "out"]),
    };
    if devices.is_empty() {
        let side =
            if base == BaseChain::Forward { String::new() } else { format!(" {}", sides[0]) };
        return vec![format!("{verb}{side}")];
    }
    let on = |device: &String| {
        let device = shell::device(device);
        sides.iter().map(move |side| format!("{verb} {side} on {device}"))
    };
    devices.iter().flat_map(on).collect()
}

fn block(verbs: &[String], rule: &Rule) -> Block {
    let is_of_internet = [&rule.source, &rule.destination].contains(&&Side::Internet);
    let protocol = words::protocol(rule.protocol);
    let comment = shell::comment(&words::comment(rule));
    let sources = ends(rule.version, &rule.source);
    let destinations = ends(rule.version, &rule.destination);
    let ports = multiport::lists(&without_0(&rule.ports));
    let mut lines = Vec::new();
    for (from, to) in pairs(&sources, &destinations) {
        for (ports, verb) in pairs(&ports, verbs) {
            lines.push(format!(
                "{verb} proto {protocol} from {from} to {to} port {ports} {comment}"
            ));
        }
    }
    Block { for_internet: is_of_internet.then_some(rule.version), lines }
}

/// One end as ufw has it, a line for each.
fn ends(version: IpVersion, side: &Side) -> Vec<String> {
    match side {
        Side::Any => vec![any(version).to_owned()],
        // Rules have one end in the internet, never both.
        Side::Internet => vec![EACH.to_owned()],
        Side::Networks(_) | Side::FoldedGroups => {
            networks(side.intervals().unwrap_or_default().into_iter())
        }
    }
}

/// Says the version, too.
const fn any(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "0.0.0.0/0",
        IpVersion::V6 => "::/0",
    }
}

fn pairs<'a>(
    ones: &'a [String],
    others: &'a [String],
) -> impl Iterator<Item = (&'a String, &'a String)> {
    ones.iter().flat_map(move |one| others.iter().map(move |other| (one, other)))
}

/// What no connection of the tree shows: who is in which group, and answers that come from elsewhere.
fn besides(rule_set: &RuleSet, chain: &Chain, verbs: &[String]) -> Vec<String> {
    if chain.base == BaseChain::Forward {
        return Vec::new();
    }
    let comment = shell::comment(GROUPS);
    let all = any(IpVersion::V4);
    let mut ends = vec![format!("proto igmp from {all} to {all} {comment}")];
    if chain.rules.iter().any(|rule| rule.version == IpVersion::V6) {
        ends.push(dhcpv6(chain.base));
    }
    ends.extend(rule_set.answered_requests().flat_map(|it| answers(chain.base, it)));
    ends.iter().flat_map(|ends| verbs.iter().map(move |verb| format!("{verb} {ends}"))).collect()
}

fn dhcpv6(base: BaseChain) -> String {
    let Dhcpv6 { network, client, server } = DHCPV6;
    let (from, to) = if base == BaseChain::Input { (server, client) } else { (client, server) };
    udp((network, &from.to_string()), (any(IpVersion::V6), Some(&to.to_string())), DHCP)
}

/// As with iptables, which cannot remember who was asked either.
fn answers(base: BaseChain, requests: &GroupRequests) -> Vec<String> {
    let GroupRequests { version, asked, served } = requests;
    let ports = |ranges: &[PortRange]| multiport::lists(&without_0(ranges));
    let among = |hosts: &BTreeSet<_>| networks(AddressSet::of(hosts.iter().copied()).intervals());
    let mut lines = Vec::new();
    if base == BaseChain::Input {
        let to = asked.ephemeral.map(|range| range.text(":"));
        let (by, locals) = (among(&asked.answered_by), among(&asked.locals));
        for (by, local) in pairs(&by, &locals) {
            for port in ports(&asked.ports) {
                lines.push(udp((by, &port), (local, to.as_deref()), ANSWERS));
            }
        }
    } else {
        for by in among(&served.by) {
            for port in ports(&served.ports) {
                lines.push(udp((any(*version), &port), (&by, None), ANSWERS));
            }
        }
    }
    if served.has_dhcp {
        let (from, to) = match base {
            BaseChain::Input => (DHCP_CLIENT, DHCP_SERVER),
            BaseChain::Output | BaseChain::Forward => (DHCP_SERVER, DHCP_CLIENT),
        };
        let all = any(IpVersion::V4);
        lines.push(udp((all, &from.to_string()), (all, Some(&to.to_string())), DHCP));
    }
    lines
}

fn udp(from: (&str, &str), to: (&str, Option<&str>), about: &str) -> String {
    let (from, source_port) = from;
    let (to, port) = to;
    let port = port.map(|port| format!(" port {port}")).unwrap_or_default();
    let comment = shell::comment(about);
    format!("proto udp from {from} port {source_port} to {to}{port} {comment}")
}
