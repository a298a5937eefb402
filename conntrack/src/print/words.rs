//! Words for warnings, for what has no rule and for what a rule was made from: those of formats that know
//! chains, and of the log.

use std::{collections::BTreeSet, net::IpAddr, time::SystemTime};

use crate::{
    connection::{Direction, IpVersion, Protocol},
    record::Outcome,
    rules::{
        doubts::Doubt,
        omissions::{Omission, Peers, Reason},
        vocabulary::{BaseChain, Facts, PortRange, Rule, Side},
        warnings::Warning,
    },
    tree,
    unit::{Unit, Units},
    utc::Utc,
};

/// More omissions are only counted.
const OMISSIONS_NAMED: usize = 40;
/// Of a list of ports; what does not fit is an ellipsis.
const LIST_WIDTH: usize = 60;
/// More machines are only counted.
const MACHINES_NAMED: usize = 4;
/// More addresses are only counted.
const ADDRESSES_NAMED: usize = 3;

/// What becomes of packets that no rule accepts: in the log, and beside their counter.
pub(super) struct Closing {
    pub(super) log: &'static str,
    pub(super) count: &'static str,
}

impl Closing {
    pub(super) const fn of(enforce: bool) -> Self {
        if enforce {
            Self { log: "drops", count: "dropped" }
        } else {
            Self { log: "would drop", count: "would be dropped" }
        }
    }
}

/// Of a rule for what is sent to many.
pub(super) const JOINED: &str = "this machine has joined this group, and a program listens";

/// The hook that a base chain is named after.
pub(crate) const fn hook(base: BaseChain) -> &'static str {
    match base {
        BaseChain::Input => "input",
        BaseChain::Output => "output",
        BaseChain::Forward => "forward",
    }
}

/// As either firewall has it.
pub(super) const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// "1 connection", "2 connections".
pub(crate) fn count_of(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// What a rule was made from, in words that fit into a comment of either firewall: printable, without
/// quotation marks.
pub(super) fn comment(rule: &Rule) -> String {
    let said = said(rule);
    let room = LONGEST_COMMENT.saturating_sub(said.len());
    said + &by(&rule.facts.units, room)
}

/// Octets of a comment in nftables, without the zero at its end; iptables takes twice as many.
const LONGEST_COMMENT: usize = 127;

/// As many of the units as there is room for.
fn by(units: &Units, room: usize) -> String {
    let names: Vec<_> = units.iter().map(Unit::as_str).collect();
    let text = |named: usize| {
        let others = if named < names.len() || units.are_more() { " and others" } else { "" };
        format!(", by {}{others}", names[..named].join(" "))
    };
    let texts = (1..=names.len()).rev().map(text);
    texts.into_iter().find(|it| it.len() <= room).unwrap_or_default()
}

/// Above the rules of some units.
pub(super) fn heading(rule: &Rule) -> String {
    let names: Vec<_> = rule.units.iter().map(Unit::as_str).collect();
    if names.is_empty() { "no unit known".to_owned() } else { names.join(" ") }
}

fn said(rule: &Rule) -> String {
    let Facts { connections, unanswered, last_seen, .. } = rule.facts;
    let count = count_of(connections, "connection");
    let unanswered = match unanswered {
        0 => String::new(),
        all if all == connections => ", never answered".to_owned(),
        some => format!(", {some} of them never answered"),
    };
    match &rule.destination {
        Side::FoldedGroups => "INTERNET may have been multicast or broadcast".to_owned(),
        _ => format!("{count}, last seen {}{unanswered}", Utc(last_seen)),
    }
}

/// The warnings about a rule, a line for each.
pub(super) fn doubts(rule: &Rule) -> impl Iterator<Item = String> {
    rule.facts.doubts.iter().map(|(doubt, named)| {
        let names: Vec<_> = named.first.iter().map(tree::path).collect();
        let more = named.count.saturating_sub(names.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}: {}{more}", doubt_words(*doubt), names.join(", "))
    })
}

const fn doubt_words(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::UnknownEvidence => {
            "nobody knows whether this was answered, it may have been a port scan"
        }
        Doubt::MayBeAnswer => {
            "to an ephemeral port, may be an answer of a server here (record with -u PORT or --learn)"
        }
        Doubt::UnansweredRequest => {
            "may be multicast or broadcast, and an answer from another address was not seen"
        }
        Doubt::NoDnsOverTcp => "DNS over UDP alone, long answers need TCP",
        Doubt::ChangingAddress => {
            "of an address that will be another one (--any-local-address leaves it out)"
        }
        Doubt::EphemeralPort => {
            "to an ephemeral port, which the program may change when it starts again"
        }
    }
}

/// What is left out and why, a line for each.
pub(crate) fn omissions(omissions: &[Omission]) -> Vec<String> {
    let mut lines: Vec<_> = omissions.iter().take(OMISSIONS_NAMED).map(omission).collect();
    let more = omissions.iter().skip(OMISSIONS_NAMED).map(|it| it.connections).sum();
    if more > 0 {
        let connections = count_of(more, "more connection");
        lines.push(format!("{connections}; the format table lists all with their evidence"));
    }
    lines
}

/// The flag that takes in what is left out.
pub(crate) fn how_to_take_in(omissions: &[Omission]) -> Option<&'static str> {
    let is_one = |it: &Omission| matches!(it.reason, Reason::Unanswered | Reason::Refused);
    omissions
        .iter()
        .any(is_one)
        .then_some("--unanswered takes in what was refused or never answered")
}

/// What is left out, and why.
fn omission(it: &Omission) -> String {
    let protocol = name(it.protocol);
    let connections = count_of(it.connections, &format!("{protocol} connection"));
    let ports = ports(it);
    let locals = addresses(&it.locals);
    let peers = peers(&it.peers);
    let list = list(&it.ports);
    match (it.reason, it.direction) {
        (Reason::Else, _) => {
            format!("{connections} of others (else); --forward makes a chain of them")
        }
        (Reason::Answer, _) => format!("{connections} of others: answers to others of them"),
        (Reason::Unanswered, _) => {
            format!("{ports} of {locals} that nobody answered from {peers}: {list}")
        }
        (Reason::Refused, _) => format!("{ports} of {locals} that refused {peers}: {list}"),
        (Reason::Data(helper), _) => {
            let name = helper.name().to_uppercase();
            format!(
                "{ports} between {locals} and {peers} that may be data of {name}, which netfilter's \
                 helper lets through, if it is not encrypted: {list}; --no-helpers makes rules of them"
            )
        }
        (Reason::Reply, Direction::Out) => {
            format!("{ports} of {peers} that {locals} only answered (reply): {list}")
        }
        (Reason::Reply, _) => {
            format!("{ports} of {locals} that {peers} only answered (reply): {list}")
        }
        (Reason::Ephemeral(outcome), _) => {
            let from = format!("from {peers}{} ({})", each(it), outcome.as_str());
            let advice = "late answers look the same, for a server give -u PORT";
            format!("{ports} of {locals} {from}: {list}; {advice}")
        }
        (Reason::Group(outcome), _) => {
            let listener = listener(outcome);
            format!("{ports} of {locals} (multicast or broadcast) from {peers}, {listener}: {list}")
        }
    }
}

/// For several ports that do not have the same peers.
fn each(omission: &Omission) -> &'static str {
    let has_own_peers = omission.peers.addresses > 0 && omission.peers.sole.is_none();
    if omission.ports.len() > 1 && has_own_peers { " each" } else { "" }
}

fn listener(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unknown => "of which nothing tells whether a program here listens",
        Outcome::None | Outcome::Seen(_) => "to which no program here listens",
    }
}

const fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}

/// "998 TCP ports", "1 ephemeral UDP port".
fn ports(omission: &Omission) -> String {
    let protocol = name(omission.protocol);
    let kind = match omission.reason {
        Reason::Ephemeral(_) => "ephemeral ",
        _ => "",
    };
    let count = omission.ports.iter().map(|it| usize::from(it.last - it.first) + 1).sum();
    count_of(count, &format!("{kind}{protocol} port"))
}

fn addresses(addresses: &BTreeSet<IpAddr>) -> String {
    if addresses.len() > ADDRESSES_NAMED {
        return format!("{} addresses", addresses.len());
    }
    let addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    addresses.join(", ")
}

fn peers(peers: &Peers) -> String {
    let addresses = match (peers.sole, peers.addresses) {
        (_, 0) => return "INTERNET".to_owned(),
        (Some(address), _) => address.to_string(),
        (None, count) => count_of(count, "peer"),
    };
    if peers.internet { format!("INTERNET and {addresses}") } else { addresses }
}

/// As many ports as fit.
fn list(ranges: &[PortRange]) -> String {
    let mut list = String::new();
    for (index, range) in ranges.iter().enumerate() {
        let text = range.text("-");
        if index > 0 && list.len() + text.len() > LIST_WIDTH {
            return list + ", \u{2026}";
        }
        if index > 0 {
            list.push_str(", ");
        }
        list.push_str(&text);
    }
    list
}

/// What the user has to know.
pub(crate) fn warning(warning: &Warning) -> String {
    match warning {
        Warning::NoConnection => "no connection to make a rule of: no chain".to_owned(),
        Warning::NoneOf(direction) => none_of(*direction),
        Warning::NoSsh => "no rule for incoming ssh (TCP port 22): it would be refused".to_owned(),
        Warning::NoDnsOverTcp { incoming, outgoing } => no_dns_over_tcp(*incoming, *outgoing),
        Warning::NoneOver(version) => none_over(*version),
        Warning::UnknownEvidence { connections, since } => unknown_evidence(*connections, *since),
        Warning::OutgoingAnswers(count) => format!(
            "{} to an ephemeral UDP port may be answers of a server here: record with -u PORT or \
             --learn",
            count_of(*count, "outgoing connection")
        ),
        Warning::GroupListeners(count) => format!(
            "{} to multicast or broadcast (else) would be refused: if a program here listens to \
             it, add a rule",
            count_of(*count, "connection")
        ),
        Warning::DataBeyondEphemeral(ports) => format!(
            "incoming TCP to port {} has a rule, and may have been data of FTP: if no service is there, delete \
             the rule, and have the FTP server take ephemeral ports (vsftpd: pasv_min_port, pasv_max_port)",
            list(ports)
        ),
        Warning::GroupRequests(ports) => format!(
            "outgoing UDP to port {} may be multicast or broadcast, and no answer was seen: it would come \
             from another address; nftables takes it for 30 s after each request if it does not come from \
             INTERNET, for iptables add a rule that accepts this source port",
            list(ports)
        ),
        Warning::ChangingAddresses { leased, of_one_network } => {
            changing_addresses(leased, of_one_network)
        }
        Warning::Translated(count) => format!(
            "{} of others went where this host went, too: it seems to translate addresses; --at wire \
             puts the rules where they were seen",
            count_of(*count, "connection")
        ),
        Warning::EveryDevice => {
            "the rules hold for every device; --device limits them to one".to_owned()
        }
        Warning::SeveralMachines(machines) => format!(
            "recorded on {}, and each rule holds for one of them, by its own address; for rules that hold for \
             each, give --any-local-address",
            machines_of(machines)
        ),
    }
}

/// "2 machines (db1, web1)"; of many, the first ones.
pub(super) fn machines_of(machines: &[String]) -> String {
    let named: Vec<_> = machines.iter().take(MACHINES_NAMED).map(String::as_str).collect();
    let more = if machines.len() > MACHINES_NAMED { ", \u{2026}" } else { "" };
    let count = count_of(machines.len(), "machine");
    format!("{count} ({}{more})", named.join(", "))
}

fn changing_addresses(leased: &[IpAddr], of_one_network: &[IpAddr]) -> String {
    let leased: BTreeSet<_> = leased.iter().copied().collect();
    let others: BTreeSet<_> =
        of_one_network.iter().filter(|it| !leased.contains(it)).copied().collect();
    let mut what = Vec::new();
    if !leased.is_empty() {
        what.push(format!("{} of this host: temporary, or for a time", addresses(&leased)));
    }
    if !others.is_empty() {
        what.push(format!("{} of one /64: some may be temporary", addresses(&others)));
    }
    let what = what.join("; ");
    format!(
        "rules hold for {what}. When the address is another one, nothing is accepted any more: \
         --any-local-address leaves it out"
    )
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
    format!("no rule for {missing}: all of it would be refused")
}

fn unknown_evidence(connections: usize, since: Option<SystemTime>) -> String {
    let why = match since {
        Some(since) => format!("last seen before {}, when evidence was first recorded", Utc(since)),
        None => {
            "recorded without evidence, or copied without extended attributes (cp -a, rsync -X \
                 and tar --xattrs keep them, scp -r loses them)"
                .to_owned()
        }
    };
    let connections = count_of(connections, "connection");
    format!("{connections} with a rule may have been a port scan that nobody answered: {why}")
}
