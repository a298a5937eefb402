//! nftables: a file for `nft -f`. One table of our own, made anew in one transaction; no other
//! table is touched. Knows nothing of how rules come about.

use std::{collections::BTreeMap, fmt};

use super::header;
use crate::{
    connection::{Direction, Protocol},
    rules::{
        addresses::{AddressSet, Family, Interval},
        internet::folded_groups,
        rule_set::{Chain, Rule, RuleSet, Side},
    },
};

/// The table that all of it is in.
pub const TABLE: &str = "inet conntrack_learned";

const INTERNET_SETS: [(Family, &str); 2] =
    [(Family::V4, "internet_v4"), (Family::V6, "internet_v6")];
const FOLDED_GROUPS_SET: &str = "multicast_broadcast_v4";

/// What a host dies without: errors with path MTU discovery, who listens to multicast, and of IPv6
/// neighbours and routers (RFC 4890 sections 4.3 and 4.4). No recording shows them.
const ESSENTIALS: [&str; 5] = [
    "icmp type { destination-unreachable, time-exceeded, parameter-problem, echo-request } \
     counter accept",
    "ip protocol igmp counter accept",
    "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, \
     echo-request } counter accept",
    "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } \
     counter accept",
    "icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, \
     mld2-listener-report } counter accept",
];
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
    /// Puts a rule set into the words of nftables.
    pub fn of(rule_set: &'a RuleSet) -> Self {
        let mut sets = Sets { list: common_sets(rule_set), names: BTreeMap::new() };
        let chains = rule_set.chains.iter().map(|chain| {
            let rules = chain.rules.iter().map(|it| rule(chain.direction, it, &mut sets)).collect();
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
            write_lines(f, ESSENTIALS)?;
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
        let options = &self.rule_set.options;
        let name = hook(chain.direction);
        let policy = if options.enforce { "drop" } else { "accept" };
        writeln!(f, "    chain {name} {{")?;
        writeln!(f, "        type filter hook {name} priority filter; policy {policy};")?;
        write_lines(f, opening(chain.direction, options.device.as_deref(), options.enforce))?;
        writeln!(f)?;
        write_lines(f, rules)?;
        writeln!(f)?;
        write_lines(f, closing(name, options.enforce))?;
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

/// What comes before the rules: what is not looked at, and what belongs to a connection.
fn opening(direction: Direction, device: Option<&str>, enforce: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(device) = device {
        lines.push(match direction {
            Direction::In => format!("iifname != \"{device}\" accept"),
            Direction::Out => format!("oifname != \"{device}\" accept"),
            Direction::Else => format!("iifname != \"{device}\" oifname != \"{device}\" accept"),
        });
    }
    match direction {
        Direction::In => lines.push("iif \"lo\" accept".to_owned()),
        Direction::Out => lines.push("oif \"lo\" accept".to_owned()),
        Direction::Else => {}
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

/// What no rule accepts: logged, but not every packet, and counted. The policy decides about it.
fn closing(chain: &str, enforce: bool) -> [String; 2] {
    let (log, count) =
        if enforce { ("drops", "dropped") } else { ("would drop", "would be dropped") };
    [
        format!("limit rate 10/minute burst 20 packets log prefix \"conntrack {log} {chain}: \""),
        format!("counter comment \"{count}\""),
    ]
}

/// The chain's name is that of its hook.
pub(crate) const fn hook(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "input",
        Direction::Out => "output",
        Direction::Else => "forward",
    }
}

/// The sets that rules share, as far as one does.
fn common_sets(rule_set: &RuleSet) -> Vec<Set> {
    let internet =
        INTERNET_SETS.into_iter().filter(|(family, _)| rule_set.uses(&Side::Internet, *family));
    let internet = internet
        .map(|(family, name)| Set::of_addresses(name, family, rule_set.internet.addresses(family)));
    let groups = rule_set
        .uses(&Side::FoldedGroups, Family::V4)
        .then(|| Set::of_addresses(FOLDED_GROUPS_SET, Family::V4, &folded_groups()));
    internet.chain(groups).collect()
}

fn rule(direction: Direction, rule: &Rule, sets: &mut Sets) -> String {
    let protocol = protocol(rule.protocol);
    let ip = match rule.family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    };
    let name = set_name(direction, rule);
    let hosts = (format!("{name}_hosts"), HOSTS_IN_RULE);
    let peers = (name.clone(), PEERS_IN_RULE);
    let (sources, destinations) =
        if direction == Direction::Out { (hosts, peers) } else { (peers, hosts) };
    let source = addresses(&rule.source, rule.family, &sources, sets);
    let destination = addresses(&rule.destination, rule.family, &destinations, sets);
    let ports = rule.ports.iter().map(|range| range.text("-")).collect();
    let ports = operand(ports, &(format!("{name}_ports"), PORTS_IN_RULE), "inet_service", sets);
    let comment = rule.comment();
    format!(
        "{ip} saddr {source} {ip} daddr {destination} {protocol} dport {ports} counter accept \
         comment \"{comment}\""
    )
}

/// What sets of a rule are called: by its chain and its first port.
fn set_name(direction: Direction, rule: &Rule) -> String {
    let first_port = rule.ports.first().map_or(0, |range| range.first);
    let version = if rule.family == Family::V6 { "_v6" } else { "" };
    format!("{}_{}_{first_port}{version}", hook(direction), protocol(rule.protocol))
}

/// A side of a rule.
fn addresses(side: &Side, family: Family, set: &(String, usize), sets: &mut Sets) -> String {
    match side {
        Side::Internet => format!("@{}", internet_set(family)),
        Side::FoldedGroups => format!("@{FOLDED_GROUPS_SET}"),
        Side::Networks(networks) => {
            let elements = networks.iter().map(|it| Interval::of(*it).to_string()).collect();
            operand(elements, set, address_kind(family), sets)
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

const fn internet_set(family: Family) -> &'static str {
    let [(_, v4), (_, v6)] = INTERNET_SETS;
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
    }
}

const fn address_kind(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    }
}

const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

impl Set {
    fn of_addresses(name: &str, family: Family, addresses: &AddressSet) -> Self {
        let elements = addresses.intervals().iter().map(Interval::to_string).collect();
        Self { name: name.to_owned(), kind: address_kind(family), elements }
    }
}

impl fmt::Display for Set {
    /// `auto-merge`, so that whoever adds a network by hand need not look for overlaps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    set {} {{", self.name)?;
        writeln!(f, "        type {}; flags interval; auto-merge;", self.kind)?;
        let line = format!("        elements = {{ {} }}", self.elements.join(", "));
        if self.elements.is_empty() {
            // Braces around nothing are an error.
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
