//! Recordings, rules and the audit together: the rules accept what was recorded, and nothing else.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, UNIX_EPOCH},
};

use proptest::prelude::*;

use super::{
    internet::{Internet, is_group},
    rule_set::RuleSet,
    vocabulary::{Aggregation, BaseChain, Request},
};
use crate::{
    audit::Audit,
    connection::{Connection, Direction, Host, Protocol, SourcePort},
    print::nftables,
    record::Record,
    recording::Recording,
    tracker::Scope,
};

const LOCAL: [&str; 3] = ["192.168.0.1", "192.168.0.2", "fd00::1"];
/// Few, so that connections come close to each other; and of every kind.
const PEERS: [&str; 9] = [
    "10.0.0.1",
    "10.0.0.2",
    "8.8.8.8",
    "192.168.0.255",
    "224.0.0.251",
    "255.255.255.255",
    "fd00::2",
    "2001:db8::1",
    "ff02::fb",
];

const WORDS: [&str; 24] = [
    "table inet conntrack_learned {",
    "set s {",
    "elements = {",
    "chain input {",
    "chain output {",
    "{",
    "}",
    ",",
    ";",
    "\n",
    "\"",
    "#",
    "@s",
    "ip saddr",
    "ip6 daddr",
    "tcp dport",
    "udp dport",
    "10.0.0.1",
    "10.0.0.0/8",
    "22",
    "20-30",
    "counter",
    "accept",
    "drop",
];

fn request(forward: bool, aggregation: Aggregation) -> Request {
    Request { enforce: true, forward, aggregation, internal: Vec::new(), device: None, since: None }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// What a tree may hold, from few addresses and ports.
fn any_connection() -> impl Strategy<Value = Connection> {
    let ends =
        (prop::sample::select(&LOCAL[..]), prop::option::of(prop::sample::select(&PEERS[..])));
    let directions = prop::sample::select(&Direction::ALL[..]);
    let parts = (directions, any::<bool>(), ends, 50..54_u16, 50..54_u16);
    parts.prop_filter_map("of one family", |(direction, is_tcp, (local, peer), from, to)| {
        let local = address(local);
        let peer = match peer.map(address) {
            None if direction == Direction::Else => return None,
            None => Host::Internet,
            Some(peer) if peer.is_ipv4() != local.is_ipv4() => return None,
            Some(peer) => Host::Address(peer),
        };
        let (source, destination) = match direction {
            Direction::In => (peer, Host::Address(local)),
            Direction::Out | Direction::Else => (Host::Address(local), peer),
        };
        let source_port = match direction {
            Direction::Else => SourcePort::Number(from),
            Direction::In | Direction::Out => SourcePort::Any,
        };
        let protocol = if is_tcp { Protocol::Tcp } else { Protocol::Udp };
        Some(Connection {
            direction,
            protocol,
            source,
            source_port,
            destination,
            destination_port: to,
        })
    })
}

fn recording_of(connections: &BTreeSet<Connection>) -> Recording {
    let record = |connection: &Connection| Record {
        connection: *connection,
        last_seen: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    };
    Recording { records: connections.iter().map(record).collect(), ..Recording::default() }
}

fn any_recording() -> impl Strategy<Value = Recording> {
    prop::collection::btree_set(any_connection(), 0..20).prop_map(|it| recording_of(&it))
}

fn audit(recording: &Recording, rules: &str) -> Option<Audit> {
    Audit::of(recording, rules, &Internet::without(&[]))
}

/// The end that is the host's, and the other one.
fn ends(connection: &Connection) -> (Host, Host) {
    match connection.direction {
        Direction::Out => (connection.source, connection.destination),
        Direction::In | Direction::Else => (connection.destination, connection.source),
    }
}

/// Whether the rule for a recorded connection has to accept another one: `INTERNET` is many, and
/// over UDP may have been multicast or broadcast.
fn stands_for(recorded: &Connection, other: &Connection) -> bool {
    let what = |it: &Connection| (it.direction, it.protocol, it.destination_port, ends(it).0);
    let is_out_udp = (recorded.direction, recorded.protocol) == (Direction::Out, Protocol::Udp);
    what(recorded) == what(other)
        && match (ends(recorded).1, ends(other).1) {
            (Host::Internet, Host::Address(peer)) if is_group(peer) => peer.is_ipv4() && is_out_udp,
            (Host::Internet, Host::Address(peer)) => Scope::default().is_internet(peer),
            (recorded, other) => recorded == other,
        }
}

proptest! {
    #[test]
    fn the_rules_accept_all_that_was_recorded(
        recording in any_recording(),
        forward in any::<bool>(),
        lengths in prop::option::of((0..=32_u8, 0..=128_u8)),
    ) {
        let aggregation = lengths.map_or(Aggregation::NONE, |(v4, v6)| Aggregation { v4, v6 });
        let rule_set = RuleSet::of(&recording, request(forward, aggregation));
        let rules = nftables::File::of(&rule_set).to_string();
        match audit(&recording, &rules) {
            Some(audit) => {
                prop_assert!(audit.is_covered(), "{audit}{rules}");
                prop_assert_eq!(audit.not_understood, []);
            }
            None => prop_assert!(rule_set.chains.is_empty()),
        }
    }

    #[test]
    fn the_rules_accept_nothing_else(recording in any_recording(), other in any_connection()) {
        let rule_set = RuleSet::of(&recording, request(false, Aggregation::NONE));
        let rules = nftables::File::of(&rule_set).to_string();
        prop_assume!(rule_set.filters(BaseChain::of(other.direction)));
        let audit = audit(&recording_of(&[other].into()), &rules).expect("a chain");
        let is_recorded = recording.records.iter().any(|it| stands_for(&it.connection, &other));
        prop_assert_eq!(audit.is_covered(), is_recorded, "{}{}", audit, rules);
    }

    /// Whoever edits a file may leave anything in it.
    #[test]
    fn any_text_can_be_audited(
        recording in any_recording(),
        words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..60),
        other in ".{0,20}",
    ) {
        let text = words.join(" ");
        for text in [format!("{text}{other}"), format!("table inet conntrack_learned {{ {text}")] {
            if let Some(audit) = audit(&recording, &text) {
                prop_assert!(audit.to_string().contains("recorded connections accepted"));
            }
        }
    }
}
