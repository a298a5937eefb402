//! What a file of rules says, as far as it has the form that [`crate::print::nftables`] prints:
//! its chains with their rules, sets put in. The rest is listed, not guessed.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::syntax::{Item, Statement, parse};
use crate::{
    connection::{IpVersion, Protocol},
    print::nftables::{self, ESSENTIALS_CHAIN, TABLE},
    rules::{
        addresses::{AddressSet, Interval},
        vocabulary::{BaseChain, PortRange},
    },
};

/// A file of rules, as far as it is understood.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) chains: BTreeMap<BaseChain, Chain>,
    /// Lines that are not, by their numbers.
    pub(super) not_understood: Vec<(usize, String)>,
}

/// What matches all of this has the verdict. `None` matches everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) family: Option<IpVersion>,
    pub(super) source: Option<AddressSet>,
    pub(super) destination: Option<AddressSet>,
    pub(super) protocol: Option<Protocol>,
    pub(super) ports: Option<Vec<PortRange>>,
    pub(super) accepts: bool,
}

/// The rules of a chain in their order, and which of them have to do with a port: a tree of a
/// hundred thousand files may need as many rules.
#[derive(Debug, Default)]
pub(super) struct Chain {
    rules: Vec<Rule>,
    /// Places of the rules about few ports.
    of_port: BTreeMap<u16, Vec<usize>>,
    /// Places of the others.
    of_many_ports: Vec<usize>,
}

impl Chain {
    fn push(&mut self, rule: Rule) {
        const FEW: usize = 256;
        let place = self.rules.len();
        let ports = rule.ports.iter().flatten().flat_map(|range| range.first..=range.last);
        if rule.ports.is_some() && ports.clone().nth(FEW).is_none() {
            ports.for_each(|port| self.of_port.entry(port).or_default().push(place));
        } else {
            self.of_many_ports.push(place);
        }
        self.rules.push(rule);
    }

    /// The rules that may be about a port, in their order.
    pub(super) fn for_port(&self, port: u16) -> impl Iterator<Item = &Rule> {
        let few = self.of_port.get(&port).into_iter().flatten();
        let mut places: Vec<usize> = few.chain(&self.of_many_ports).copied().collect();
        places.sort_unstable();
        places.into_iter().map(|place| &self.rules[place])
    }
}

type Sets<'a> = BTreeMap<&'a str, Vec<&'a str>>;

impl Rules {
    pub(super) fn read(text: &str) -> Self {
        let mut rules = Self::default();
        for item in parse(text) {
            match item {
                Item::Block(head, items) if head.words.join(" ") == format!("table {TABLE}") => {
                    rules.read_table(&items);
                }
                Item::Statement(statement) if is_renewal(&statement) => {}
                Item::Statement(head) | Item::Block(head, _) => rules.note(&head),
            }
        }
        rules.not_understood.sort_unstable();
        rules
    }

    fn read_table(&mut self, items: &[Item<'_>]) {
        let mut sets = Sets::new();
        for item in items {
            match item {
                Item::Block(head, items) if head.words.first() == Some(&"set") => {
                    let elements = items.iter().flat_map(elements).collect();
                    sets.insert(head.words.get(1).copied().unwrap_or_default(), elements);
                }
                Item::Block(head, _) if head.words.first() == Some(&"chain") => {}
                Item::Statement(head) | Item::Block(head, _) => self.note(head),
            }
        }
        for item in items {
            if let Item::Block(head, items) = item
                && let ["chain", name] = head.words.as_slice()
            {
                self.read_chain(head, name, items, &sets);
            }
        }
    }

    fn read_chain(&mut self, head: &Statement, name: &str, items: &[Item], sets: &Sets) {
        let Some(base) = BaseChain::ALL.into_iter().find(|it| nftables::name(*it) == name) else {
            if name != ESSENTIALS_CHAIN {
                self.note(head);
            }
            return;
        };
        let mut chain = Chain::default();
        for item in items {
            match item {
                Item::Statement(it) if is_of_chain(it) || never_matches(it) => {}
                Item::Statement(it) => match Cursor::new(it, sets).rule() {
                    Some(rule) => chain.push(rule),
                    None => self.note(it),
                },
                Item::Block(head, _) => self.note(head),
            }
        }
        self.chains.insert(base, chain);
    }

    fn note(&mut self, statement: &Statement) {
        self.not_understood.push((statement.line, statement.words.join(" ")));
    }
}

/// What makes the table anew.
fn is_renewal(statement: &Statement) -> bool {
    let text = statement.words.join(" ");
    [format!("table {TABLE}"), format!("delete table {TABLE}")].contains(&text)
}

/// The words of a set's elements; none of its other statements.
fn elements<'a>(item: &Item<'a>) -> Vec<&'a str> {
    match item {
        Item::Statement(Statement { words, .. }) => match words.as_slice() {
            ["elements", "=", "{", elements @ .., "}"] => listed(elements),
            _ => Vec::new(),
        },
        Item::Block(..) => Vec::new(),
    }
}

fn listed<'a>(words: &[&'a str]) -> Vec<&'a str> {
    words.iter().copied().filter(|word| *word != ",").collect()
}

/// What a chain is, not what it does. Its policy is for what no rule accepts, whatever it is.
fn is_of_chain(statement: &Statement) -> bool {
    matches!(statement.words.as_slice(), ["type", "filter", "hook", ..] | ["policy", _])
}

/// Whether a line that we print says nothing about new connections over the recorded device.
fn never_matches(statement: &Statement) -> bool {
    match statement.words.as_slice() {
        ["iif" | "oif", "lo", ..]
        | ["iifname" | "oifname", "!=", ..]
        | ["icmp" | "icmpv6", "type", ..]
        | ["ip", "protocol", "igmp", ..]
        | ["jump", ESSENTIALS_CHAIN] => true,
        ["ct", "state", state, rest @ ..] => {
            let others = rest.chunks_exact(2).map_while(|pair| match pair {
                [",", state] => Some(state),
                _ => None,
            });
            std::iter::once(state).chain(others).all(|it| OLD_STATES.contains(it))
        }
        ["counter" | "limit", rest @ ..] => !rest.iter().any(|word| VERDICTS.contains(word)),
        _ => false,
    }
}

/// Of packets that open no connection.
const OLD_STATES: [&str; 3] = ["established", "related", "invalid"];
const VERDICTS: [&str; 5] = ["accept", "drop", "reject", "jump", "goto"];

/// Reads a rule word by word.
struct Cursor<'a> {
    words: std::slice::Iter<'a, &'a str>,
    sets: &'a Sets<'a>,
}

impl<'a> Cursor<'a> {
    fn new(statement: &'a Statement<'a>, sets: &'a Sets<'a>) -> Self {
        Self { words: statement.words.iter(), sets }
    }

    fn next(&mut self) -> Option<&'a str> {
        self.words.next().copied()
    }

    /// The rule; `None` if a word of it is not understood.
    fn rule(mut self) -> Option<Rule> {
        let mut rule = Rule::default();
        loop {
            match self.next()? {
                "ip" => self.address(IpVersion::V4, &mut rule)?,
                "ip6" => self.address(IpVersion::V6, &mut rule)?,
                "tcp" => self.port(Protocol::Tcp, &mut rule)?,
                "udp" => self.port(Protocol::Udp, &mut rule)?,
                "ct" => (self.next()? == "state" && self.next()? == "new").then_some(())?,
                "counter" => self.skip_count(),
                "accept" => rule.accepts = true,
                "drop" | "reject" => {}
                _ => return None,
            }
            if self.is_at_end() {
                return Some(rule);
            }
        }
    }

    /// Nothing but a comment follows.
    fn is_at_end(&self) -> bool {
        matches!(self.words.as_slice(), [] | ["comment", _])
    }

    /// `nft list` prints what was counted.
    fn skip_count(&mut self) {
        if let ["packets", _, "bytes", _, ..] = self.words.as_slice() {
            self.words.nth(3);
        }
    }

    fn address(&mut self, family: IpVersion, rule: &mut Rule) -> Option<()> {
        let side = match self.next()? {
            "saddr" => &mut rule.source,
            "daddr" => &mut rule.destination,
            _ => return None,
        };
        let intervals: Option<AddressSet> =
            self.operand()?.into_iter().map(|text| interval(text, family)).collect();
        *side = Some(intervals?);
        rule.family.get_or_insert(family);
        (rule.family == Some(family)).then_some(())
    }

    fn port(&mut self, protocol: Protocol, rule: &mut Rule) -> Option<()> {
        (self.next()? == "dport").then_some(())?;
        let ports: Option<Vec<_>> = self.operand()?.into_iter().map(port_range).collect();
        rule.ports = Some(ports?);
        rule.protocol = Some(protocol);
        Some(())
    }

    /// One element, those in braces, or those of a set.
    fn operand(&mut self) -> Option<Vec<&'a str>> {
        match self.next()? {
            "{" => {
                let words: Vec<_> =
                    self.words.by_ref().copied().take_while(|it| *it != "}").collect();
                Some(listed(&words))
            }
            word => match word.strip_prefix('@') {
                Some(name) => self.sets.get(name).cloned(),
                None => Some(vec![word]),
            },
        }
    }
}

/// An address, a network, or two addresses with a dash between them.
fn interval(text: &str, family: IpVersion) -> Option<Interval> {
    let address = |text: &str| text.parse::<IpAddr>().ok();
    let interval = match text.split_once('-') {
        Some((first, last)) => Interval::new(address(first)?, address(last)?)?,
        None => match text.parse::<IpNet>() {
            Ok(network) => network.into(),
            Err(_) => IpNet::from(address(text)?).into(),
        },
    };
    (interval.version() == family).then_some(interval)
}

fn port_range(text: &str) -> Option<PortRange> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first = first.parse().ok()?;
    let last = last.parse().ok()?;
    (first <= last).then_some(PortRange { first, last })
}
