//! Traffic that no rule of a recorded connection accepts: `DHCPv6`, what helpers let through, answers to
//! multicast and broadcast.

use std::net::SocketAddr;

use super::sets::{Set, internet_set};
use crate::{
    connection::IpVersion,
    print::words,
    rules::{
        answers::{DHCP_CLIENT, DHCP_SERVER, GroupRequests},
        data::Helper,
        essentials::{DHCPV6, Dhcpv6},
        rule_set::RuleSet,
        vocabulary::{BaseChain, PortRange},
    },
};

/// As long as netfilter waits for an answer over UDP.
const ANSWERED_WITHIN: &str = "30s";

/// The helpers that chains refer to.
pub(super) fn helpers(rule_set: &RuleSet) -> Vec<String> {
    let is_used = |helper: &Helper| rule_set.helpers.iter().any(|(it, _)| it == helper);
    Helper::ALL.into_iter().filter(is_used).map(declaration).collect()
}

fn declaration(helper: Helper) -> String {
    let (protocol, _) = helper.control();
    let name = helper.name();
    format!("ct helper {name} {{ type \"{name}\" protocol {}; }}", words::protocol(protocol))
}

/// The sets that packets fill, for requests that are answered from another address.
pub(super) fn sets(rule_set: &RuleSet) -> Vec<Set> {
    let sets = rule_set.answered_requests().flat_map(|requests| {
        let Names { asked, askers, .. } = Names::of(requests.version);
        let asked = (!requests.asked.ports.is_empty())
            .then(|| Set::dynamic(asked, triple(requests.version), ANSWERED_WITHIN));
        let askers = (!requests.served.ports.is_empty())
            .then(|| Set::dynamic(askers, pair(requests.version), ANSWERED_WITHIN));
        [asked, askers]
    });
    sets.flatten().collect()
}

/// What a chain has besides its rules.
pub(super) fn lines(rule_set: &RuleSet, base: BaseChain) -> Vec<String> {
    let mut lines: Vec<_> = dhcpv6(base).into_iter().collect();
    let own = rule_set.helpers.iter().filter(|(_, chain)| *chain == base);
    lines.extend(own.map(|(helper, _)| follow(*helper)));
    if base == BaseChain::Input {
        lines.extend(rule_set.request.joined.iter().map(joined));
    }
    for requests in rule_set.answered_requests() {
        match base {
            BaseChain::Input => lines.extend(arriving(requests)),
            BaseChain::Output => lines.extend(leaving(requests)),
            BaseChain::Forward => {}
        }
    }
    lines
}

fn dhcpv6(base: BaseChain) -> Option<String> {
    let Dhcpv6 { network, client, server } = DHCPV6;
    let (from, to) = match base {
        BaseChain::Input => (server, client),
        BaseChain::Output => (client, server),
        BaseChain::Forward => return None,
    };
    Some(format!(
        "ip6 saddr {network} udp sport {from} udp dport {to} counter accept comment \"DHCPv6\""
    ))
}

/// What is sent to many, and a program here takes.
fn joined(group: &SocketAddr) -> String {
    let (address, port) = (group.ip(), group.port());
    let ip = if address.is_ipv4() { "ip" } else { "ip6" };
    format!("{ip} daddr {address} udp dport {port} counter accept comment \"{}\"", words::JOINED)
}

/// Data connections become related to their control connection.
fn follow(helper: Helper) -> String {
    let (protocol, port) = helper.control();
    let protocol = words::protocol(protocol);
    format!("ct state new {protocol} dport {port} ct helper set \"{}\"", helper.name())
}

/// Requests of others, to be answered; and answers to ours.
fn arriving(requests: &GroupRequests) -> Vec<String> {
    let Names { ip, family, asked, askers } = Names::of(requests.version);
    let mut lines = Vec::new();
    if !requests.served.ports.is_empty() {
        let who = format!("{ip} saddr . udp sport");
        lines.push(remember(family, &requests.served.ports, &askers, &who));
    }
    if requests.served.has_dhcp {
        lines.push(dhcp(DHCP_CLIENT, DHCP_SERVER));
    }
    if !requests.asked.ports.is_empty() {
        let internet = internet_set(requests.version);
        lines.push(format!(
            "{ip} daddr . udp dport . udp sport @{asked} {ip} saddr != @{internet} counter accept \
             comment \"answers to multicast and broadcast\""
        ));
    }
    lines
}

/// Requests of ours that are answered from another address; and our answers.
fn leaving(requests: &GroupRequests) -> Vec<String> {
    let Names { ip, family, asked, askers } = Names::of(requests.version);
    let mut lines = Vec::new();
    if !requests.asked.ports.is_empty() {
        let who = format!("{ip} saddr . udp sport . udp dport");
        lines.push(remember(family, &requests.asked.ports, &asked, &who));
    }
    if requests.served.has_dhcp {
        lines.push(dhcp(DHCP_SERVER, DHCP_CLIENT));
    }
    if !requests.served.ports.is_empty() {
        lines.push(format!(
            "{ip} daddr . udp dport @{askers} counter accept \
             comment \"answers to multicast and broadcast\""
        ));
    }
    lines
}

/// A request to many: who asked is put into a set.
fn remember(family: &str, ports: &[PortRange], set: &str, who: &str) -> String {
    let ports = braced(ports);
    format!(
        "meta nfproto {family} fib daddr type {{ broadcast, multicast }} udp dport {ports} \
         update @{set} {{ {who} }}"
    )
}

fn dhcp(from: u16, to: u16) -> String {
    format!("meta nfproto ipv4 udp sport {from} udp dport {to} counter accept comment \"DHCP\"")
}

fn braced(ports: &[PortRange]) -> String {
    let ports: Vec<_> = ports.iter().map(|range| range.text("-")).collect();
    format!("{{ {} }}", ports.join(", "))
}

/// What a version's lines are made of.
struct Names {
    ip: &'static str,
    family: &'static str,
    asked: String,
    askers: String,
}

impl Names {
    fn of(version: IpVersion) -> Self {
        let (ip, family, suffix) = match version {
            IpVersion::V4 => ("ip", "ipv4", "v4"),
            IpVersion::V6 => ("ip6", "ipv6", "v6"),
        };
        let [asked, askers] = ["asked", "askers"].map(|set| format!("{set}_{suffix}"));
        Self { ip, family, asked, askers }
    }
}

const fn pair(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "ipv4_addr . inet_service",
        IpVersion::V6 => "ipv6_addr . inet_service",
    }
}

const fn triple(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "ipv4_addr . inet_service . inet_service",
        IpVersion::V6 => "ipv6_addr . inet_service . inet_service",
    }
}
