//! nftables: a file for `nft -f`. One table of our own, replaced in one transaction; no other table is
//! touched. Knows nothing of how rules are made.

use std::{collections::BTreeMap, fmt};

use super::{
    header,
    words::{self, Closing},
};
use crate::{
    connection::IpVersion,
    rules::{
        addresses::AddressSet,
        essentials::{ESSENTIALS, Essential, Icmp},
        internet::folded_groups,
        rule_set::RuleSet,
        vocabulary::{BaseChain, Chain, Rule, Side},
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
/// Of a line of elements.
const WIDTH: usize = 100;

/// A rule set as a file.
pub struct File<'a> {
    rule_set: &'a RuleSet,
    sets: Sets,
    chains: Vec<(&'a Chain, Vec<String>)>,
}

/// Sets that rules refer to by name, and how many have asked for each name.
struct Sets {
    list: Vec<Set>,
    names: BTreeMap<String, usize>,
}

struct Set {
    name: String,
    kind: &'static str,
    elements: Vec<String>,
}

impl<'a> File<'a> {
    /// The file for a rule set.
    pub fn of(rule_set: &'a RuleSet) -> Self {
        let mut sets = Sets { list: common_sets(rule_set), names: BTreeMap::new() };
        let chains = rule_set.chains.iter().map(|chain| {
            let rules = chain.rules.iter().map(|it| rule(chain.base, it, &mut sets)).collect();
            (chain, rules)
        });
        let chains = chains.collect();
        Self { rule_set, sets, chains }
    }
}

impl fmt::Display for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        header::write(f, self.rule_set, "nft -f FILE")?;
        writeln!(f, "\ntable {TABLE}\ndelete table {TABLE}\n\ntable {TABLE} {{")?;
        for set in &self.sets.list {
            writeln!(f, "{set}")?;
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
        writeln!(f, "        type filter hook {name} priority filter; policy {policy};")?;
        write_lines(f, opening(chain.base, request.device.as_deref(), request.enforce))?;
        if !rules.is_empty() {
            writeln!(f)?;
            write_lines(f, rules)?;
        }
        writeln!(f)?;
        write_lines(f, closing(name, request.enforce))?;
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
fn opening(base: BaseChain, device: Option<&str>, enforce: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(device) = device {
        lines.push(match base {
            BaseChain::Input => format!("iifname != \"{device}\" accept"),
            BaseChain::Output => format!("oifname != \"{device}\" accept"),
            BaseChain::Forward => format!("iifname != \"{device}\" oifname != \"{device}\" accept"),
        });
    }
    match base {
        BaseChain::Input => lines.push("iif \"lo\" accept".to_owned()),
        BaseChain::Output => lines.push("oif \"lo\" accept".to_owned()),
        BaseChain::Forward => {}
    }
    lines.push("ct state established,related counter accept".to_owned());
    lines.push(if enforce {
        "ct state invalid counter drop".to_owned()
    } else {
        "ct state invalid counter accept comment \"--enforce drops it\"".to_owned()
    });
    lines.push(format!("jump {ESSENTIALS_CHAIN}"));
    lines
}

/// Packets that no rule accepts: counted, and logged up to a limit. The policy decides about them.
fn closing(chain: &str, enforce: bool) -> [String; 2] {
    let Closing { log, count } = Closing::of(enforce);
    [
        format!("limit rate 10/minute burst 20 packets log prefix \"conntrack {log} {chain}: \""),
        format!("counter comment \"{count}\""),
    ]
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

/// The sets that rules share, as far as a rule refers to them.
fn common_sets(rule_set: &RuleSet) -> Vec<Set> {
    let internet = [IpVersion::V4, IpVersion::V6].into_iter().filter_map(|version| {
        let addresses = rule_set.internet(version)?;
        Some(Set::of_addresses(internet_set(version), version, &addresses))
    });
    let groups = rule_set
        .uses(&Side::FoldedGroups, IpVersion::V4)
        .then(|| Set::of_addresses(FOLDED_GROUPS_SET, IpVersion::V4, &folded_groups()));
    internet.chain(groups).collect()
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
    format!(
        "{ip} saddr {source} {ip} daddr {destination} {protocol} dport {ports} counter accept \
         comment \"{comment}\""
    )
}

/// The name of a rule's sets: its chain, protocol and first port.
fn set_name(base: BaseChain, rule: &Rule) -> String {
    let first_port = rule.ports.first().map_or(0, |range| range.first);
    let version = if rule.version == IpVersion::V6 { "_v6" } else { "" };
    format!("{}_{}_{first_port}{version}", name(base), words::protocol(rule.protocol))
}

/// A side of a rule.
fn addresses(side: &Side, version: IpVersion, set: &(String, usize), sets: &mut Sets) -> String {
    match side {
        Side::Internet => format!("@{}", internet_set(version)),
        Side::FoldedGroups => format!("@{FOLDED_GROUPS_SET}"),
        Side::Networks(_) => {
            let intervals = side.intervals().unwrap_or_default();
            let elements = intervals.iter().map(ToString::to_string).collect();
            operand(elements, set, address_kind(version), sets)
        }
    }
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

impl Sets {
    /// Adds a set; its name, with a number if another one has it.
    fn add(&mut self, name: &str, kind: &'static str, elements: Vec<String>) -> String {
        let count = self.names.entry(name.to_owned()).or_default();
        *count += 1;
        let name = if *count == 1 { name.to_owned() } else { format!("{name}_{count}") };
        self.list.push(Set { name: name.clone(), kind, elements });
        name
    }
}

const fn internet_set(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "internet_v4",
        IpVersion::V6 => "internet_v6",
    }
}

const fn address_kind(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "ipv4_addr",
        IpVersion::V6 => "ipv6_addr",
    }
}

impl Set {
    fn of_addresses(name: &str, version: IpVersion, addresses: &AddressSet) -> Self {
        let elements = addresses.intervals().map(|it| it.to_string()).collect();
        Self { name: name.to_owned(), kind: address_kind(version), elements }
    }
}

impl fmt::Display for Set {
    /// With `auto-merge`, networks that are added by hand may overlap.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    set {} {{", self.name)?;
        writeln!(f, "        type {}; flags interval; auto-merge;", self.kind)?;
        let line = format!("        elements = {{ {} }}", self.elements.join(", "));
        if self.elements.is_empty() {
            // nft takes no empty braces.
        } else if line.len() <= WIDTH {
            writeln!(f, "{line}")?;
        } else {
            writeln!(f, "        elements = {{")?;
            write_wrapped(f, &self.elements)?;
            writeln!(f, "        }}")?;
        }
        writeln!(f, "    }}")
    }
}

fn write_wrapped(f: &mut fmt::Formatter<'_>, elements: &[String]) -> fmt::Result {
    const INDENT: usize = 12;
    let mut column = 0;
    for (index, element) in elements.iter().enumerate() {
        let comma = if index + 1 < elements.len() { "," } else { "" };
        let width = element.len() + comma.len();
        if column > 0 && column + 1 + width > WIDTH {
            writeln!(f)?;
            column = 0;
        }
        if column == 0 {
            write!(f, "{:INDENT$}{element}{comma}", "")?;
            column = INDENT + width;
        } else {
            write!(f, " {element}{comma}")?;
            column += 1 + width;
        }
    }
    writeln!(f)
}
