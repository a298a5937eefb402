//! nftables: a file for `nft -f`. One table of our own, replaced in one transaction; no other table is
//! touched. Knows nothing of how rules are made.

mod dropped;
mod sets;
mod standing;
mod unrecorded;

use std::fmt;

use self::sets::{Set, Sets, address_kind, internet_set};
use super::{
    header::{self, Manner, Place},
    words,
};
use crate::{
    connection::IpVersion,
    rules::{
        addresses::AddressSet,
        answers::GroupRequests,
        essentials::{ESSENTIALS, Essential, Icmp},
        internet::folded_groups,
        rule_set::RuleSet,
        vocabulary::{BaseChain, Chain, Request, Rule, Side},
    },
};

/// A base chain has the name of its hook.
pub(crate) use super::words::hook as name;

/// The table that holds all of it.
pub const TABLE: &str = "inet conntrack_learned";

const FOLDED_GROUPS_SET: &str = "multicast_broadcast_v4";
pub(crate) const ESSENTIALS_CHAIN: &str = "essentials";

/// Up to so many are written into the rule; more become a set with a name.
const PEERS_IN_RULE: usize = 1;
const HOSTS_IN_RULE: usize = 2;
const PORTS_IN_RULE: usize = 8;

/// A rule set as a file.
pub struct File<'a> {
    rule_set: &'a RuleSet,
    sets: Sets,
    chains: Vec<(&'a Chain, Vec<String>)>,
}

impl<'a> File<'a> {
    /// The file for a rule set.
    pub fn of(rule_set: &'a RuleSet) -> Self {
        let mut sets = Sets::of(common_sets(rule_set));
        let chains = rule_set.chains.iter().map(|chain| {
            let mut rules = Vec::new();
            for (index, it) in chain.rules.iter().enumerate() {
                let is_first = index == 0 || chain.rules[index - 1].units != it.units;
                if rule_set.request.by_unit && is_first {
                    rules.push(format!("# {}", words::heading(it)));
                }
                rules.extend(words::doubts(it).map(|it| format!("# Warning: {it}")));
                rules.push(rule(chain.base, it, &mut sets));
            }
            (chain, rules)
        });
        let chains = chains.collect();
        Self { rule_set, sets, chains }
    }
}

impl fmt::Display for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manner = Manner::counting(self.rule_set.request.enforce);
        header::write(f, self.rule_set, "nft -f FILE", &manner, Place::Beside)?;
        writeln!(f, "\ntable {TABLE}\ndelete table {TABLE}\n\ntable {TABLE} {{")?;
        for set in &self.sets.list {
            writeln!(f, "{set}")?;
        }
        for helper in unrecorded::helpers(self.rule_set) {
            writeln!(f, "    {helper}\n")?;
        }
        if !self.chains.is_empty() {
            writeln!(f, "    chain {ESSENTIALS_CHAIN} {{")?;
            write_lines(f, ESSENTIALS.iter().map(essential))?;
            writeln!(f, "    }}")?;
        }
        for (chain, rules) in &self.chains {
            writeln!(f)?;
            self.write_chain(f, chain, rules)?;
        }
        writeln!(f, "}}")
    }
}

impl File<'_> {
    fn write_chain(
        &self,
        f: &mut fmt::Formatter<'_>,
        chain: &Chain,
        rules: &[String],
    ) -> fmt::Result {
        let request = &self.rule_set.request;
        let name = name(chain.base);
        let policy = if request.enforce { "drop" } else { "accept" };
        writeln!(f, "    chain {name} {{")?;
        let hook = standing::hook(chain.base, request.standing);
        writeln!(f, "        type filter {hook}; policy {policy};")?;
        write_lines(f, opening(chain.base, request))?;
        write_lines(f, unrecorded::lines(self.rule_set, chain.base))?;
        if !rules.is_empty() {
            writeln!(f)?;
            write_lines(f, rules)?;
        }
        writeln!(f)?;
        write_lines(f, dropped::lines(chain.base, request.enforce))?;
        writeln!(f, "    }}")
    }
}

/// Lines of a chain.
fn write_lines(
    f: &mut fmt::Formatter<'_>,
    lines: impl IntoIterator<Item = impl fmt::Display>,
) -> fmt::Result {
    lines.into_iter().try_for_each(|line| writeln!(f, "        {line}"))
}

/// Before the rules: traffic that is not judged, and packets of connections that are open.
fn opening(base: BaseChain, request: &Request) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(devices) = names(&request.devices) {
        lines.push(match base {
            BaseChain::Input => format!("iifname != {devices} accept"),
            BaseChain::Output => format!("oifname != {devices} accept"),
            BaseChain::Forward => format!("iifname != {devices} oifname != {devices} accept"),
        });
    }
    match base {
        BaseChain::Input => lines.push("iif \"lo\" accept".to_owned()),
        BaseChain::Output => lines.push("oif \"lo\" accept".to_owned()),
        BaseChain::Forward => {}
    }
    lines.extend(standing::passing(base, request.standing).iter().map(|&line| line.to_owned()));
    lines.push("ct state established,related counter accept".to_owned());
    lines.push(if request.enforce {
        "ct state invalid counter drop".to_owned()
    } else {
        "ct state invalid counter accept comment \"--enforce drops it\"".to_owned()
    });
    lines.push(format!("jump {ESSENTIALS_CHAIN}"));
    lines
}

/// What a device's name is compared with.
fn names(devices: &[String]) -> Option<String> {
    let quoted: Vec<_> = devices.iter().map(|device| format!("\"{device}\"")).collect();
    match &quoted[..] {
        [] => None,
        [device] => Some(device.clone()),
        several => Some(format!("{{ {} }}", several.join(", "))),
    }
}

fn essential(essential: &Essential) -> String {
    let (protocol, messages) = match essential {
        Essential::Igmp => return "ip protocol igmp counter accept".to_owned(),
        Essential::IcmpV4(messages) => ("icmp", messages),
        Essential::IcmpV6(messages) => ("icmpv6", messages),
    };
    let types: Vec<_> = messages.iter().map(|it| icmp_type(*it)).collect();
    format!("{protocol} type {{ {} }} counter accept", types.join(", "))
}

const fn icmp_type(message: Icmp) -> &'static str {
    match message {
        Icmp::DestinationUnreachable => "destination-unreachable",
        Icmp::PacketTooBig => "packet-too-big",
        Icmp::TimeExceeded => "time-exceeded",
        Icmp::ParameterProblem => "parameter-problem",
        Icmp::EchoRequest => "echo-request",
        Icmp::RouterSolicitation => "nd-router-solicit",
        Icmp::RouterAdvertisement => "nd-router-advert",
        Icmp::NeighborSolicitation => "nd-neighbor-solicit",
        Icmp::NeighborAdvertisement => "nd-neighbor-advert",
        Icmp::ListenerQuery => "mld-listener-query",
        Icmp::ListenerReport => "mld-listener-report",
        Icmp::ListenerDone => "mld-listener-done",
        Icmp::ListenerReportV2 => "mld2-listener-report",
    }
}

/// What `INTERNET` matches, if a line of this version is about it.
fn internet(rule_set: &RuleSet, version: IpVersion) -> Option<AddressSet> {
    let is_asked = |it: &GroupRequests| it.version == version && !it.asked.ports.is_empty();
    let is_used =
        rule_set.uses(&Side::Internet, version) || rule_set.answered_requests().any(is_asked);
    is_used.then(|| rule_set.internet(version))
}

/// The sets that rules share, as far as a rule refers to them.
fn common_sets(rule_set: &RuleSet) -> Vec<Set> {
    let internet = [IpVersion::V4, IpVersion::V6].into_iter().filter_map(|version| {
        let addresses = internet(rule_set, version)?;
        Some(Set::of_addresses(internet_set(version), version, &addresses))
    });
    let groups = rule_set
        .uses(&Side::FoldedGroups, IpVersion::V4)
        .then(|| Set::of_addresses(FOLDED_GROUPS_SET, IpVersion::V4, &folded_groups()));
    let filled = unrecorded::sets(rule_set).into_iter().chain(dropped::sets(rule_set));
    internet.chain(groups).chain(filled).collect()
}

fn rule(base: BaseChain, rule: &Rule, sets: &mut Sets) -> String {
    let protocol = words::protocol(rule.protocol);
    let ip = match rule.version {
        IpVersion::V4 => "ip",
        IpVersion::V6 => "ip6",
    };
    let name = set_name(base, rule);
    let hosts = (format!("{name}_hosts"), HOSTS_IN_RULE);
    let peers = (name.clone(), PEERS_IN_RULE);
    let (sources, destinations) =
        if base == BaseChain::Output { (hosts, peers) } else { (peers, hosts) };
    let source = addresses(&rule.source, rule.version, &sources, sets);
    let destination = addresses(&rule.destination, rule.version, &destinations, sets);
    let ports = rule.ports.iter().map(|range| range.text("-")).collect();
    let ports = operand(ports, &(format!("{name}_ports"), PORTS_IN_RULE), "inet_service", sets);
    let comment = words::comment(rule);
    let ends = [("saddr", source), ("daddr", destination)].into_iter().filter_map(|(end, it)| {
        let addresses = it?;
        Some(format!("{ip} {end} {addresses} "))
    });
    let ends: String = ends.collect();
    // The port first: it is cheap to compare, and a packet is mostly not for it.
    format!("{protocol} dport {ports} {ends}counter accept comment \"{comment}\"")
}

/// The name of a rule's sets: its chain, protocol and first port.
fn set_name(base: BaseChain, rule: &Rule) -> String {
    let first_port = rule.ports.first().map_or(0, |range| range.first);
    let version = if rule.version == IpVersion::V6 { "_v6" } else { "" };
    format!("{}_{}_{first_port}{version}", name(base), words::protocol(rule.protocol))
}

/// A side of a rule; none for any.
fn addresses(
    side: &Side,
    version: IpVersion,
    set: &(String, usize),
    sets: &mut Sets,
) -> Option<String> {
    Some(match side {
        Side::Any => return None,
        Side::Internet => format!("@{}", internet_set(version)),
        Side::FoldedGroups => format!("@{FOLDED_GROUPS_SET}"),
        Side::Networks(_) => {
            let intervals = side.intervals().unwrap_or_default();
            let elements = intervals.iter().map(ToString::to_string).collect();
            operand(elements, set, address_kind(version), sets)
        }
    })
}

/// One element, a few in braces, or a set that holds them: its name, and how many are few.
fn operand(
    elements: Vec<String>,
    (name, few): &(String, usize),
    kind: &'static str,
    sets: &mut Sets,
) -> String {
    match elements.as_slice() {
        [element] => element.clone(),
        elements if elements.len() <= *few => format!("{{ {} }}", elements.join(", ")),
        _ => format!("@{}", sets.add(name, kind, elements)),
    }
}
