//! The header of a file of rules, where each line is a comment: where the rules come
//! from, what they do, what has no rule, and what to know before loading them.

use std::fmt;

use super::words::{count_of, how_to_take_in, machines_of, omissions, warning};
use crate::{
    recording::one_word,
    rules::{rule_set::RuleSet, warnings::Warning},
    utc::Utc,
};

/// What becomes of what no rule accepts, a line for each sentence.
pub(super) struct Manner(pub(super) &'static [&'static str]);

/// Where warnings about certain rules are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Above the rule, with its connections.
    Beside,
    /// With the others.
    Head,
}

impl Manner {
    /// Of a firewall that counts and logs it.
    pub(super) const fn counting(enforce: bool) -> Self {
        if enforce {
            return Self(&["Enforcing: what no rule accepts is dropped, counted and logged."]);
        }
        Self(&[
            "Learning: nothing is refused. What no rule accepts is counted and logged;",
            "--enforce drops it.",
        ])
    }
}

/// Writes the header; `load` is the command that loads the file.
pub(super) fn write(
    f: &mut fmt::Formatter<'_>,
    rule_set: &RuleSet,
    load: &str,
    manner: &Manner,
    place: Place,
) -> fmt::Result {
    let version = env!("CARGO_PKG_VERSION");
    writeln!(f, "# Rules learned by conntrack {version}. Load them with: {load}")?;
    write_origin(f, rule_set)?;
    manner.0.iter().try_for_each(|line| writeln!(f, "# {line}"))?;
    writeln!(f, "# A tree holds TCP and UDP. Other protocols (ESP, GRE, SCTP, VRRP) need rules.")?;
    for line in omissions(&rule_set.omissions) {
        writeln!(f, "# Left out: {line}")?;
    }
    if let Some(hint) = how_to_take_in(&rule_set.omissions) {
        writeln!(f, "# {hint}.")?;
    }
    let is_here = |it: &&Warning| place == Place::Head || !it.is_about_rules();
    for it in rule_set.warnings.iter().filter(is_here) {
        writeln!(f, "# Warning: {}.", warning(it))?;
    }
    let rules = rule_set.chains.iter().flat_map(|chain| &chain.rules);
    let doubtful = rules.filter(|rule| !rule.facts.doubts.is_empty()).count();
    if place == Place::Beside && doubtful > 0 {
        writeln!(f, "# Warning: {} below, each with its own.", count_of(doubtful, "rule"))?;
    }
    Ok(())
}

fn write_origin(f: &mut fmt::Formatter<'_>, rule_set: &RuleSet) -> fmt::Result {
    if let Some(window) = rule_set.window {
        let connections = count_of(window.connections, "connection");
        let first = Utc(window.first);
        let last = Utc(window.last);
        writeln!(f, "# From {connections}, each last seen between {first} and {last}.")?;
    }
    if let Some(several) = &rule_set.several {
        let machines = machines_of(&several.machines);
        writeln!(f, "# From {} recordings of {machines}.", several.recordings)?;
    }
    if let Some(since) = rule_set.request.since {
        let since = humantime::format_duration(since);
        writeln!(f, "# What had not been seen for {since} was left out.")?;
    }
    match (&rule_set.request.devices[..], recorded_on(rule_set)) {
        (devices @ [_, ..], _) => {
            writeln!(f, "# Device: {}. Others are not filtered.", devices.join(", "))?;
        }
        ([], Some(recorded)) => {
            writeln!(f, "# Device: recorded on {recorded}; the rules hold for every device.")?;
        }
        ([], None) => {
            writeln!(f, "# Device: the tree does not tell; the rules hold for every device.")?;
        }
    }
    let provenance = rule_set.provenance.as_ref();
    match provenance.and_then(|it| it.lost) {
        Some(0) => writeln!(f, "# Lost while recording: nothing."),
        Some(lost) => writeln!(f, "# Lost while recording: {lost}."),
        None => writeln!(f, "# Lost while recording: the tree does not tell."),
    }
}

/// Devices whose names cannot leave their line; anybody may have written them.
fn recorded_on(rule_set: &RuleSet) -> Option<String> {
    let devices = match &rule_set.several {
        Some(several) => &several.devices,
        None => &rule_set.provenance.as_ref()?.devices,
    };
    let is_told = !devices.is_empty() && devices.iter().all(|it| one_word(it).is_some());
    is_told.then(|| devices.join(", "))
}
