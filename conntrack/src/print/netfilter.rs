//! What files for nftables and iptables have in common: the header, where each line is a comment, and
//! the words for warnings, for what is left out and for what a rule was made from. Both know chains.

use std::fmt;

use super::utc::Utc;
use crate::{
    connection::{Direction, IpVersion},
    rules::{
        choosing::Omission,
        rule_set::RuleSet,
        vocabulary::{Facts, Rule, Side},
        warnings::Warning,
    },
};

/// Writes the header; `load` is the command that loads the file.
pub(super) fn write_header(
    f: &mut fmt::Formatter<'_>,
    rule_set: &RuleSet,
    load: &str,
) -> fmt::Result {
    let version = env!("CARGO_PKG_VERSION");
    writeln!(f, "# Rules learned by conntrack {version}. Load them with: {load}")?;
    write_origin(f, rule_set)?;
    if rule_set.request.enforce {
        writeln!(f, "# Enforcing: what no rule accepts is dropped, counted and logged.")?;
    } else {
        writeln!(f, "# Learning: nothing is refused. What no rule accepts is counted and logged;")?;
        writeln!(f, "# --enforce drops it.")?;
    }
    writeln!(f, "# A tree holds TCP and UDP. Other protocols (ESP, GRE, SCTP, VRRP) need rules.")?;
    for it in &rule_set.omissions {
        writeln!(f, "# Note: {}.", omission(it))?;
    }
    for it in &rule_set.warnings {
        writeln!(f, "# Warning: {}.", warning(it))?;
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
    if let Some(since) = rule_set.request.since {
        let since = humantime::format_duration(since);
        writeln!(f, "# What had not been seen for {since} was left out.")?;
    }
    match &rule_set.request.device {
        Some(device) => writeln!(f, "# Device: {device}. Others are not filtered.")?,
        None => writeln!(f, "# Device: the tree does not tell; the rules hold for every device.")?,
    }
    writeln!(f, "# Lost while recording: the tree does not tell.")
}

/// "1 connection", "2 connections".
pub(crate) fn count_of(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// What a rule was made from, in words that fit into a comment of either firewall.
pub(super) fn comment(rule: &Rule) -> String {
    let Facts { connections, last_seen } = rule.facts;
    match &rule.destination {
        Side::FoldedGroups => "INTERNET may have been multicast or broadcast".to_owned(),
        _ => format!("{}, last seen {}", count_of(connections, "connection"), Utc(last_seen)),
    }
}

/// What is left out, and why.
pub(crate) fn omission(omission: &Omission) -> String {
    let (count, why) = match omission {
        Omission::Else(count) => {
            (count, "of others (else) left out; rules --forward makes a chain of them")
        }
        Omission::Groups(count) => {
            (count, "of others to multicast or broadcast left out: not forwarded")
        }
        Omission::Answers(count) => (count, "of others left out: UDP answers to others of them"),
    };
    format!("{} {why}", count_of(*count, "connection"))
}

/// What the user has to know.
pub(crate) fn warning(warning: &Warning) -> String {
    match *warning {
        Warning::NoConnection => "no connection to make a rule of: no chain".to_owned(),
        Warning::NoneOf(direction) => none_of(direction),
        Warning::NoSsh => "no incoming ssh (TCP port 22) seen: it would be refused".to_owned(),
        Warning::NoDnsOverTcp { incoming, outgoing } => no_dns_over_tcp(incoming, outgoing),
        Warning::NoneOver(version) => none_over(version),
        Warning::Ephemeral(direction, count) => ephemeral(direction, count),
        Warning::GroupListeners(count) => format!(
            "{} to multicast or broadcast (else) would be refused: if a program here listens to \
             it, add a rule",
            count_of(count, "connection")
        ),
        Warning::GroupRequests(count) => format!(
            "{} to multicast or broadcast: answers come from other addresses and need rules of \
             their own",
            count_of(count, "outgoing connection")
        ),
        Warning::EveryDevice => {
            "the rules hold for every device; --device limits them to one".to_owned()
        }
    }
}

fn none_of(direction: Direction) -> String {
    let missing = match direction {
        Direction::In => "no incoming connection seen: no input chain",
        Direction::Out => "no outgoing connection seen: no output chain",
        Direction::Else => "no connection of others seen: no forward chain",
    };
    format!("{missing}, so nothing is refused there")
}

fn no_dns_over_tcp(incoming: bool, outgoing: bool) -> String {
    let seen = match (incoming, outgoing) {
        (true, true) => "incoming and outgoing",
        (true, false) => "incoming",
        (false, _) => "outgoing",
    };
    format!("{seen} DNS over UDP but not over TCP (port 53): long answers need TCP")
}

fn none_over(version: IpVersion) -> String {
    let missing = match version {
        IpVersion::V4 => "IPv4",
        IpVersion::V6 => "IPv6",
    };
    format!("no {missing} connection seen: all of {missing} would be refused")
}

fn ephemeral(direction: Direction, count: usize) -> String {
    let advice = match direction {
        Direction::In => "incoming UDP to an ephemeral port may be answers, which need no rule",
        Direction::Out | Direction::Else => {
            "outgoing UDP to an ephemeral port may be answers; record with -u PORT of the server"
        }
    };
    format!("{}: {advice}", count_of(count, "connection"))
}
