//! Sets for `ipset`, in comments of the file: peers of a rule that are many, and what no rule accepts. The
//! name of a set of peers says what is in it, so it is never changed, and loading it again changes nothing.

use std::{collections::BTreeMap, fmt};

use ipnet::IpNet;

use super::{
    ends::{End, option},
    places::Own,
};
use crate::{
    connection::IpVersion,
    print::words,
    rules::{
        addresses::Interval,
        vocabulary::{BaseChain, Rule},
    },
};

/// What lines of the file begin with that are for `ipset`.
pub(crate) const LINE: &str = "#ipset ";
/// What the names of sets begin with that packets fill.
pub(crate) const DROPPED: &str = "conntrack-dropped-";

/// More addresses and networks of one end are a set.
const FEW: usize = 16;
/// What can be added by hand.
const ROOM: usize = 1 << 16;
/// Longer than what only happens once a week is away: 8 days.
const REMEMBERED: u32 = 691_200;
const DROPPED_SIZE: u32 = 65_535;

const VERSIONS: [IpVersion; 2] = [IpVersion::V4, IpVersion::V6];

/// An end of a rule as a set, if it has many addresses.
pub(super) fn matching(own: Own, end: End, rule: &Rule) -> Option<String> {
    let (name, _) = set(own, end, rule)?;
    let end = if end == End::Source { "src" } else { "dst" };
    Some(format!(" -m set --match-set {name} {end}"))
}

/// How many addresses and networks have a line of their own because they are no set.
pub(super) fn listed<'a>(rules: impl Iterator<Item = &'a Rule>) -> usize {
    let lists = rules.flat_map(|rule| End::ALL.map(|end| end.side(rule).intervals()));
    lists.flatten().map(|it| it.len()).filter(|count| *count > FEW).sum()
}

/// The name and the elements.
fn set(own: Own, end: End, rule: &Rule) -> Option<(String, Vec<IpNet>)> {
    let intervals = end.side(rule).intervals().filter(|it| it.len() > FEW)?;
    let elements: Vec<_> = intervals.into_iter().flat_map(Interval::networks).collect();
    let port = rule.ports.first().map_or(0, |range| range.first);
    let (word, protocol) = (word(own), words::protocol(rule.protocol));
    // ipset takes 31 characters.
    let content = digest(&elements);
    Some((format!("conntrack-{word}-{protocol}-{port}-{content:06x}"), elements))
}

/// As in the tree.
const fn word(own: Own) -> &'static str {
    match own {
        Own::Input => "in",
        Own::Output | Own::Passing => "out",
        Own::Forward => "else",
    }
}

/// FNV-1a of 64 bits, 24 of them.
fn digest(elements: &[IpNet]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes = elements.iter().flat_map(|it| format!("{it},").into_bytes());
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    (hash ^ (hash >> 32)) & 0xff_ffff
}

/// Everything that `ipset` has to know before the rules are loaded.
pub(super) fn write(
    f: &mut fmt::Formatter<'_>,
    bases: &[BaseChain],
    parts: &[(Own, &[Rule])],
) -> fmt::Result {
    writeln!(f)?;
    for (base, version) in bases.iter().flat_map(|base| VERSIONS.map(|version| (*base, version))) {
        let (name, family) = (dropped(base, version), family(version));
        writeln!(
            f,
            "{LINE}create {name} hash:ip,port,ip family {family} timeout {REMEMBERED} maxelem {DROPPED_SIZE}"
        )?;
        writeln!(f, "{LINE}flush {name}")?;
    }
    for (name, (version, elements)) in of_peers(parts) {
        let (family, size) = (family(version), elements.len() + ROOM);
        writeln!(f, "{LINE}create {name} hash:net family {family} maxelem {size}")?;
        for element in elements {
            let is_address = element.prefix_len() == element.max_prefix_len();
            let address = element.addr();
            if is_address {
                writeln!(f, "{LINE}add {name} {address}")?;
            } else {
                writeln!(f, "{LINE}add {name} {element}")?;
            }
        }
    }
    Ok(())
}

fn of_peers(parts: &[(Own, &[Rule])]) -> BTreeMap<String, (IpVersion, Vec<IpNet>)> {
    let rules = parts.iter().flat_map(|(own, rules)| rules.iter().map(move |rule| (*own, rule)));
    let ends = rules.flat_map(|(own, rule)| End::ALL.map(|end| (own, end, rule)));
    let sets = ends.filter_map(|(own, end, rule)| {
        set(own, end, rule).map(|(name, elements)| (name, (rule.version, elements)))
    });
    sets.collect()
}

/// Remembers what no rule accepts; again, so that it is known when it came last.
pub(super) fn write_remembering(
    f: &mut fmt::Formatter<'_>,
    chain: &str,
    base: BaseChain,
) -> fmt::Result {
    for version in VERSIONS {
        for protocol in ["tcp", "udp"] {
            let (option, name) = (option(version), dropped(base, version));
            writeln!(
                f,
                "-A {chain} {option} -p {protocol} -j SET --add-set {name} src,dst,dst --exist"
            )?;
        }
    }
    Ok(())
}

fn dropped(base: BaseChain, version: IpVersion) -> String {
    let version = match version {
        IpVersion::V4 => "v4",
        IpVersion::V6 => "v6",
    };
    format!("{DROPPED}{}-{version}", word(Own::of(base)))
}

const fn family(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "inet",
        IpVersion::V6 => "inet6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        connection::Protocol,
        rules::vocabulary::{Facts, PortRange, Side},
    };

    fn rule(peers: u32) -> Rule {
        let peers = (0..peers).map(|it| std::net::IpAddr::V4((0x0a00_0001 + 2 * it).into()));
        Rule {
            protocol: Protocol::Tcp,
            version: IpVersion::V4,
            source: Side::Networks(peers.map(IpNet::from).collect()),
            destination: Side::Any,
            ports: vec![PortRange { first: u16::MAX, last: u16::MAX }],
            facts: Facts::default(),
            units: Vec::new(),
        }
    }

    #[test]
    fn few_addresses_are_no_set_and_names_are_not_too_long() {
        assert_eq!(set(Own::Forward, End::Source, &rule(16)), None);
        assert_eq!(set(Own::Forward, End::Destination, &rule(17)), None);
        let (name, elements) = set(Own::Forward, End::Source, &rule(17)).expect("a set");
        assert_eq!(elements.len(), 17);
        assert!(name.len() <= 31, "{name}");
        for base in BaseChain::ALL {
            assert!(dropped(base, IpVersion::V6).len() <= 31);
        }
    }

    #[test]
    fn other_elements_have_another_name() {
        let name = |count| set(Own::Input, End::Source, &rule(count)).expect("a set").0;
        assert_eq!(name(17), name(17));
        assert_ne!(name(17), name(18));
    }
}
