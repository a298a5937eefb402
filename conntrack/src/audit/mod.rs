//! The audit: which recorded connections the rules of a file would accept, and which not. Rules are
//! judged as if they were enforced: a policy that accepts what no rule does proves nothing.

mod rules;
mod syntax;

use std::{collections::BTreeMap, fmt, net::IpAddr};

use self::rules::{Chain, Rule, Rules};
use crate::{
    connection::{Direction, Host, IpVersion},
    record::Record,
    recording::Recording,
    rules::{
        addresses::{AddressSet, version},
        choosing::choose,
        internet::Internet,
        omissions::Omission,
        vocabulary::{BaseChain, PortRange, Request},
    },
    tree,
    utc::Utc,
};

/// What came of an audit.
#[derive(Debug)]
pub struct Audit {
    accepted: usize,
    refused: Vec<Record>,
    /// Lines of the rules that are not understood, by their numbers.
    pub not_understood: Vec<(usize, String)>,
    /// Directions that no chain filters, each with how many records there are.
    pub unfiltered: Vec<(Direction, usize)>,
    /// Records that are not judged because they need no rule.
    pub omissions: Vec<Omission>,
}

impl Audit {
    /// Holds a recording against the text of a file of rules; `None` if there is no chain in it.
    pub fn of(recording: &Recording, text: &str, internet: &Internet) -> Option<Self> {
        let rules = Rules::read(text);
        if rules.chains.is_empty() {
            return None;
        }
        let mut accepted = 0;
        let mut refused = Vec::new();
        let mut unfiltered = BTreeMap::<Direction, usize>::new();
        let forward = rules.chains.contains_key(&BaseChain::Forward);
        let choice = choose(recording, &Request { forward, ..Request::default() });
        for (base, record) in choice.chosen {
            match rules.chains.get(&base) {
                Some(chain) if accepts(chain, record, internet) => accepted += 1,
                Some(_) => refused.push(*record),
                None => *unfiltered.entry(record.connection.direction).or_default() += 1,
            }
        }
        let unfiltered = unfiltered.into_iter().collect();
        let not_understood = rules.not_understood;
        Some(Self { accepted, refused, not_understood, unfiltered, omissions: choice.omissions })
    }

    /// Whether all that was judged is accepted.
    pub fn is_covered(&self) -> bool {
        self.refused.is_empty()
    }
}

/// Whether the rules accept everything that the record stands for: with `INTERNET`, all of it.
fn accepts(chain: &Chain, record: &Record, internet: &Internet) -> bool {
    let Some(mut undecided) = Undecided::of(record, internet) else { return false };
    let family = undecided.family;
    let rules = chain.for_port(record.connection.destination_port);
    for rule in rules.filter(|rule| is_about(rule, record, family)) {
        if undecided.decide(rule) && !rule.accepts {
            return false;
        }
    }
    undecided.rest.is_empty()
}

/// What of a record no rule has decided yet. At most one of its sides has several addresses.
struct Undecided {
    family: IpVersion,
    fixed: IpAddr,
    fixed_is_source: bool,
    rest: AddressSet,
}

impl Undecided {
    fn of(record: &Record, internet: &Internet) -> Option<Self> {
        let source = record.connection.source;
        let (fixed, other) = match (source, record.connection.destination) {
            (Host::Address(source), other) => (source, other),
            (Host::Internet, Host::Address(destination)) => (destination, Host::Internet),
            (Host::Internet, Host::Internet) => return None,
        };
        let family = version(fixed);
        let rest = match other {
            Host::Address(address) => AddressSet::from(address),
            Host::Internet => internet.addresses(family),
        };
        Some(Self { family, fixed, fixed_is_source: source == Host::Address(fixed), rest })
    }

    /// Takes out what the rule matches; whether it matches anything.
    fn decide(&mut self, rule: &Rule) -> bool {
        let (fixed, other) = if self.fixed_is_source {
            (&rule.source, &rule.destination)
        } else {
            (&rule.destination, &rule.source)
        };
        if fixed.as_ref().is_some_and(|addresses| !addresses.contains(self.fixed)) {
            return false;
        }
        let rest = match other {
            Some(addresses) => self.rest.without(addresses),
            None => AddressSet::default(),
        };
        let matches = rest != self.rest;
        self.rest = rest;
        matches
    }
}

/// Whether a rule has to do with the record's protocol, family and port.
fn is_about(rule: &Rule, record: &Record, family: IpVersion) -> bool {
    let port = record.connection.destination_port;
    let on_port = |ranges: &Vec<PortRange>| ranges.iter().any(|range| range.contains(port));
    rule.protocol.is_none_or(|it| it == record.connection.protocol)
        && rule.family.is_none_or(|it| it == family)
        && rule.ports.as_ref().is_none_or(on_port)
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for record in &self.refused {
            writeln!(f, "- {}  {}", tree::path(&record.connection), Utc(record.last_seen))?;
        }
        let judged = self.accepted + self.refused.len();
        write!(f, "{} of {judged} recorded connections accepted", self.accepted)?;
        // Rounded down: 100.0 % is all of them.
        if let Some(per_mille) = (self.accepted * 1000).checked_div(judged) {
            write!(f, " ({}.{} %)", per_mille / 10, per_mille % 10)?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::{
        connection::{Connection, Protocol, SourcePort},
        record::Outcome,
    };

    const LOCAL: &str = "10.0.0.2";

    fn host(text: &str) -> Host {
        text.parse().map_or(Host::Internet, Host::Address)
    }

    /// An incoming connection over TCP to port 22.
    fn from(peer: &str) -> Recording {
        let connection = Connection {
            direction: Direction::In,
            protocol: Protocol::Tcp,
            source: host(peer),
            source_port: SourcePort::Any,
            destination: host(LOCAL),
            destination_port: 22,
        };
        let records = vec![Record {
            connection,
            outcome: Outcome::Unknown,
            made: None,
            last_seen: UNIX_EPOCH,
        }];
        Recording { records, ..Recording::default() }
    }

    /// The audit of rules in an input chain.
    fn audit(peer: &str, rules: &str) -> Audit {
        let text = format!(
            "table inet conntrack_learned {{\nset s {{ type ipv4_addr; elements = {{ 10.0.0.8/30,\n\
             10.0.0.1 }} }}\nchain input {{\n{rules}\n}}\n}}"
        );
        Audit::of(&from(peer), &text, &Internet::without(&[])).expect("a chain")
    }

    fn is_accepted(peer: &str, rules: &str) -> bool {
        let audit = audit(peer, rules);
        assert_eq!(audit.not_understood, []);
        audit.is_covered()
    }

    #[test]
    fn every_part_of_a_rule_counts() {
        for accepting in [
            "accept",
            "ct state new tcp dport 22 accept",
            "ip saddr 10.0.0.1 ip daddr 10.0.0.2 tcp dport 22 counter accept comment \"x\"",
            "ip saddr @s tcp dport { 21, 22 } counter packets 1 bytes 2 accept",
            "ip saddr 10.0.0.0-10.0.0.1 tcp dport 1-1000 accept",
            "udp dport 22 drop\nip daddr { 10.0.0.0/8, 192.168.0.1 } accept\ndrop",
        ] {
            assert!(is_accepted("10.0.0.1", accepting), "{accepting}");
        }
        for refusing in [
            "",
            "tcp dport 23 accept",
            "udp dport 22 accept",
            "ip saddr 10.0.0.3 accept",
            "ip daddr 10.0.0.3 accept",
            "ip6 saddr ::/0 accept",
            "ip saddr @s drop\naccept",
            "ct state established,related accept\njump essentials\niif \"lo\" accept",
            "iifname != \"eth0\" accept\ncounter comment \"dropped\"",
        ] {
            assert!(!is_accepted("10.0.0.1", refusing), "{refusing}");
        }
    }

    #[test]
    fn the_internet_is_accepted_as_a_whole_or_not() {
        assert!(is_accepted("INTERNET", "ip saddr 0.0.0.0/0 accept"));
        assert!(is_accepted("INTERNET", "ip saddr 0.0.0.0/1 accept\nip saddr 128.0.0.0/1 accept"));
        assert!(!is_accepted("INTERNET", "ip saddr 0.0.0.0/1 accept"));
        assert!(!is_accepted("INTERNET", "ip saddr 203.0.113.9 drop\naccept"));
        assert!(is_accepted("INTERNET", "ip saddr 10.0.0.0/8 drop\naccept"));
    }

    #[test]
    fn lines_of_another_form_are_named() {
        let other = "tcp dport 22 meta skuid 0 accept\nip saddr @nothing accept\nmap x { }";
        let audit = audit("10.0.0.1", &format!("accept\n{other}"));
        let lines: Vec<_> = audit.not_understood.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [6, 7, 8]);
        assert_eq!(audit.not_understood[0].1, "tcp dport 22 meta skuid 0 accept");
    }

    #[test]
    fn a_line_that_only_begins_like_ours_is_not_taken_for_it() {
        for other in [
            "ct state { new } drop",
            "ct state established,new mark 1 drop",
            "limit rate 1/second accept",
            "counter drop log",
            "tcp dport 22 drop log",
            "ip saddr 10.0.0.1 ip6 daddr ::1 accept",
            "ip saddr 10.0.0.9-10.0.0.1 accept",
            "tcp sport 22 accept",
        ] {
            let audit = audit("10.0.0.1", other);
            assert_eq!(audit.not_understood.len(), 1, "{other}");
        }
    }

    #[test]
    fn a_direction_without_a_chain_is_not_judged() {
        let text = "table inet conntrack_learned { chain output { accept\n} }";
        let audit = Audit::of(&from("10.0.0.1"), text, &Internet::without(&[])).expect("a chain");
        assert_eq!(audit.unfiltered, [(Direction::In, 1)]);
        assert!(Audit::of(&from("10.0.0.1"), "*filter", &Internet::without(&[])).is_none());
    }
}
