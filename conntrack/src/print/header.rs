//! What stands at the top of a file of rules: where it comes from, what it does, and what it
//! cannot know. Every line is a comment, in nftables and iptables alike.

use std::fmt;

use crate::{
    recording::utc::Utc,
    rules::rule_set::{RuleSet, count_of},
};

/// Writes the header; `load` is the command that loads the file.
pub(super) fn write(f: &mut fmt::Formatter<'_>, rule_set: &RuleSet, load: &str) -> fmt::Result {
    let version = env!("CARGO_PKG_VERSION");
    writeln!(f, "# Rules learned by conntrack {version}. Load them with: {load}")?;
    write_origin(f, rule_set)?;
    if rule_set.options.enforce {
        writeln!(f, "# Enforcing: what no rule accepts is dropped, counted and logged.")?;
    } else {
        writeln!(f, "# Learning: nothing is refused. What no rule accepts is counted and logged;")?;
        writeln!(f, "# --enforce drops it.")?;
    }
    writeln!(f, "# A tree holds TCP and UDP. Other protocols (ESP, GRE, SCTP, VRRP) need rules.")?;
    for line in &rule_set.left_out {
        writeln!(f, "# Note: {line}.")?;
    }
    for line in &rule_set.warnings {
        writeln!(f, "# Warning: {line}.")?;
    }
    Ok(())
}

fn write_origin(f: &mut fmt::Formatter<'_>, rule_set: &RuleSet) -> fmt::Result {
    if let Some(window) = rule_set.window {
        let connections = count_of(window.connections, "connection");
        let (first, last) = (Utc(window.first), Utc(window.last));
        writeln!(f, "# From {connections}, each last seen between {first} and {last}.")?;
    }
    if let Some(since) = rule_set.options.since {
        let since = humantime::format_duration(since);
        writeln!(f, "# What had not been seen for {since} was left out.")?;
    }
    match &rule_set.options.device {
        Some(device) => writeln!(f, "# Device: {device}. Others are not filtered.")?,
        None => writeln!(f, "# Device: the tree does not tell; the rules hold for every device.")?,
    }
    writeln!(f, "# Lost while recording: the tree does not tell.")
}
