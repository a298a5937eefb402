//! What firewalld's files are made of: sets of addresses, rules of its rich language, and their XML.

use std::{collections::BTreeMap, fmt};

use crate::{
    connection::IpVersion,
    print::{
        networks::{internet, networks, without_0},
        words,
    },
    rules::{
        rule_set::RuleSet,
        vocabulary::{BaseChain, Rule, Side},
    },
};

/// In each file: by it the script knows its own.
pub(super) const ABOUT: &str = "  <short>conntrack</short>\n  <description>Made by conntrack; what is changed here is \
                     lost when it is made anew.</description>\n";

/// What firewalld takes for a set without being told.
const USUAL_ENTRIES: usize = 65_536;

/// What a policy is called.
pub(super) const fn policy(base: BaseChain) -> &'static str {
    match base {
        BaseChain::Input => "in",
        BaseChain::Output => "out",
        BaseChain::Forward => "forward",
    }
}

/// What cannot end a comment of XML.
pub(super) fn comment(text: &str) -> String {
    let text: String = text.chars().filter(|it| !it.is_control() && *it != '>').collect();
    // The second time for what the first one leaves of three.
    let words = text.replace("--", "- -").replace("--", "- -");
    format!("  <!-- {words} -->\n")
}

/// Sets by what is in them: rules that are about the same addresses share one.
#[derive(Debug, Default)]
pub(super) struct Sets(BTreeMap<(IpVersion, Vec<String>), String>);

impl Sets {
    /// The set that has these entries, called so if there is none yet.
    fn name(&mut self, version: IpVersion, entries: Vec<String>, new: String) -> String {
        self.0.entry((version, entries)).or_insert(new).clone()
    }

    /// Each as a file: its name and what is in it.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, String)> {
        let mut sets: Vec<_> = self.0.iter().map(|(key, name)| (name.as_str(), key)).collect();
        sets.sort_unstable();
        sets.into_iter().map(|(name, (version, entries))| (name, set(*version, entries)))
    }
}

fn set(version: IpVersion, entries: &[String]) -> String {
    let family = match version {
        IpVersion::V4 => "inet",
        IpVersion::V6 => "inet6",
    };
    let limit = (entries.len() > USUAL_ENTRIES).then_some(entries.len());
    let limit = limit.map(|limit| format!("  <option name=\"maxelem\" value=\"{limit}\"/>\n"));
    let mut text = format!(
        "<ipset type=\"hash:net\">\n{ABOUT}  <option name=\"family\" value=\"{family}\"/>\n{}",
        limit.unwrap_or_default()
    );
    text.extend(entries.iter().map(|entry| format!("  <entry>{entry}</entry>\n")));
    text + "</ipset>\n"
}

/// An element of a rich rule, and what it is about.
pub(super) struct RichRule {
    pub(super) version: IpVersion,
    /// Its `source` and `destination`.
    pub(super) ends: String,
    /// What is accepted.
    pub(super) what: String,
}

impl fmt::Display for RichRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, ends, what } = self;
        let family = family(*version);
        write!(f, "  <rule family=\"{family}\">\n{ends}    {what}\n    <accept/>\n  </rule>\n")
    }
}

const fn family(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "ipv4",
        IpVersion::V6 => "ipv6",
    }
}

/// An address or network as an end.
pub(super) fn address(end: &str, address: &str) -> String {
    format!("    <{end} address=\"{address}\"/>\n")
}

/// The rules for a rule, one for each range of ports.
pub(super) fn rich_rules(
    rule_set: &RuleSet,
    base: BaseChain,
    rule: &Rule,
    sets: &mut Sets,
) -> Vec<RichRule> {
    let source = end(rule_set, base, rule, &rule.source, "source", sets);
    let destination = end(rule_set, base, rule, &rule.destination, "destination", sets);
    let protocol = words::protocol(rule.protocol);
    let ports = without_0(&rule.ports).into_iter().map(|range| range.text("-"));
    let rule = |port| RichRule {
        version: rule.version,
        ends: format!("{source}{destination}"),
        what: format!("<port protocol=\"{protocol}\" port=\"{port}\"/>"),
    };
    ports.map(rule).collect()
}

fn end(
    rule_set: &RuleSet,
    base: BaseChain,
    rule: &Rule,
    side: &Side,
    end: &str,
    sets: &mut Sets,
) -> String {
    let version = rule.version;
    let suffix = if version == IpVersion::V6 { "6" } else { "4" };
    let (entries, new) = match side {
        Side::Any => return String::new(),
        Side::Internet => (internet(rule_set, version), format!("conntrack-internet-{suffix}")),
        Side::FoldedGroups | Side::Networks(_) => {
            let number = sets.0.len() + 1;
            let entries = networks(side.intervals().unwrap_or_default().into_iter());
            (entries, format!("conntrack-{}-{number}", policy(base)))
        }
    };
    match entries.as_slice() {
        [only] => address(end, only),
        _ => format!("    <{end} ipset=\"{}\"/>\n", sets.name(version, entries, new)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_ends_where_it_ends() {
        for hostile in ["a--><x>\n--->-", "-", "-----", "->->->"] {
            let comment = comment(hostile);
            let inside = comment.strip_prefix("  <!-- ").and_then(|it| it.strip_suffix(" -->\n"));
            let inside = inside.expect("a comment");
            assert!(!inside.contains("--") && !inside.contains('>'), "{comment}");
        }
    }
}
