//! Recordings and rules together: the rules accept what the table of the README says, and
//! nothing else.

use std::{
    net::IpAddr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proptest::prelude::*;

use super::{
    internet::is_group,
    rule_set::RuleSet,
    vocabulary::{Aggregation, BaseChain, Request, Side},
};
use crate::{
    connection::{Connection, Direction, Evidence, Host, IpVersion, Protocol, SourcePort},
    print::{iptables, jsonl::JsonLines, nftables},
    record::{Outcome, Record},
    recording::{Recording, json_lines},
    tracker::Scope,
    tree::Provenance,
    unit::{Unit, Units},
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
/// A port of a server that is in the ephemeral range.
const SERVER: u16 = 40_001;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn any_request() -> impl Strategy<Value = Request> {
    let lengths = prop::option::of((0..=32_u8, 0..=128_u8));
    (any::<[bool; 3]>(), lengths).prop_map(|([forward, unanswered, is_named], lengths)| Request {
        enforce: true,
        forward,
        no_internet_forward: true,
        unanswered,
        udp_in: is_named.then_some(SERVER).into_iter().collect(),
        aggregation: lengths.map_or(Aggregation::NONE, |(v4, v6)| Aggregation { v4, v6 }),
        ..Request::default()
    })
}

fn any_port() -> impl Strategy<Value = u16> {
    prop_oneof![50..54_u16, SERVER - 1..=SERVER + 1]
}

/// What a tree may hold, from few addresses and ports.
fn any_connection() -> impl Strategy<Value = Connection> {
    let ends =
        (prop::sample::select(&LOCAL[..]), prop::option::of(prop::sample::select(&PEERS[..])));
    let directions = prop::sample::select(&Direction::ALL[..]);
    let parts = (directions, any::<bool>(), ends, 50..54_u16, any_port());
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

/// Of this protocol.
fn any_outcome(protocol: Protocol) -> impl Strategy<Value = Outcome> {
    let words = match protocol {
        Protocol::Tcp => &[Evidence::Answered, Evidence::Refused][..],
        Protocol::Udp => &[Evidence::Answered, Evidence::Served, Evidence::Reply][..],
    };
    let seen = words.iter().map(|word| Outcome::Seen(*word));
    prop::sample::select(
        [Outcome::Unknown, Outcome::None].into_iter().chain(seen).collect::<Vec<_>>(),
    )
}

fn any_record() -> impl Strategy<Value = Record> {
    any_connection().prop_flat_map(|connection| {
        any_outcome(connection.protocol).prop_map(move |outcome| record(connection, outcome))
    })
}

/// With times from before 1970 on, and to the nanosecond.
fn any_time() -> impl Strategy<Value = SystemTime> {
    (0..300_000_000_000_u64, 0..1_000_000_000_u32)
        .prop_map(|(seconds, nanos)| UNIX_EPOCH + Duration::new(seconds, nanos))
        .prop_filter("it has a text", |time| {
            *time < UNIX_EPOCH + Duration::from_secs(253_402_300_799)
        })
}

/// With everything that is known of it.
fn any_full_record() -> impl Strategy<Value = Record> {
    let rest = (any::<bool>(), prop::option::of(any_time()), any_time(), any_units());
    (any_record(), rest).prop_map(|(record, (accepted, made, last_seen, units))| Record {
        accepted,
        made,
        last_seen,
        units,
        ..record
    })
}

/// Of groups with any name, and more than are kept.
fn any_units() -> impl Strategy<Value = Units> {
    let group = any::<String>().prop_map(|it| format!("/system.slice/a{it}.service"));
    prop::collection::vec(group, 0..12).prop_map(|groups| {
        let mut units = Units::default();
        for unit in groups.iter().filter_map(|it| Unit::of_group(it.as_bytes())) {
            units.add(&unit);
        }
        units
    })
}

fn any_full_recording() -> impl Strategy<Value = Recording> {
    let text = prop::option::of(any::<String>());
    let texts = any::<Vec<String>>;
    let provenance = (text, texts(), prop::option::of(any_time()), texts());
    let rest = (prop::option::of(any::<(u16, u16)>()), any::<Vec<u16>>(), any::<Option<u64>>());
    let provenance = (provenance, rest).prop_map(
        |((host, devices, since, flags), (ip_local_port_range, udp_in, lost))| Provenance {
            host,
            devices,
            since,
            flags,
            ip_local_port_range,
            udp_in,
            lost,
            ..Provenance::default()
        },
    );
    let parts = (prop::collection::vec(any_full_record(), 0..20), prop::option::of(provenance));
    parts.prop_map(|(mut records, provenance)| {
        records.sort_unstable();
        records.dedup_by_key(|record| record.connection);
        Recording { records, provenance, ..Recording::default() }
    })
}

fn json_lines(recording: &Recording) -> String {
    JsonLines { recording, records: &recording.records }.to_string()
}

fn read(text: &str) -> Vec<Recording> {
    json_lines::read(Path::new("file"), text.as_bytes()).expect("read")
}

/// As nftables and as iptables.
fn printed(recording: &Recording, request: &Request) -> [String; 2] {
    let rule_set = RuleSet::of(recording, request.clone());
    [nftables::File::of(&rule_set).to_string(), iptables::File(&rule_set).to_string()]
}

fn record(connection: Connection, outcome: Outcome) -> Record {
    Record::of(connection, outcome, UNIX_EPOCH)
}

fn any_recording() -> impl Strategy<Value = Recording> {
    let provenance = any::<[bool; 2]>().prop_map(|[is_named, has_range]| Provenance {
        udp_in: is_named.then_some(SERVER).into_iter().collect(),
        ip_local_port_range: has_range.then_some((52, SERVER)),
        ..Provenance::default()
    });
    let parts = (prop::collection::vec(any_record(), 0..20), prop::option::of(provenance));
    parts.prop_map(|(mut records, provenance)| {
        records.sort_unstable();
        records.dedup_by_key(|record| record.connection);
        Recording { records, provenance, ..Recording::default() }
    })
}

/// The chain that has a rule for a record, written down as the README has it.
#[expect(clippy::match_same_arms, reason = "an arm for each row")]
fn table(record: &Record, recording: &Recording, request: &Request) -> Option<BaseChain> {
    use Evidence::{Answered, Refused, Reply, Served};
    use Outcome::{None as Nothing, Seen, Unknown};
    let connection = &record.connection;
    let port = connection.destination_port;
    let said = recording.provenance.as_ref();
    let (first, last) = said.and_then(|it| it.ip_local_port_range).unwrap_or((32_768, 60_999));
    let is_server =
        request.udp_in.contains(&port) || said.is_some_and(|it| it.udp_in.contains(&port));
    let is_ephemeral = first <= port && port <= last && !is_server;
    let is_to_group = matches!(connection.destination, Host::Address(it) if is_group(it));
    let is_taken = match (connection.direction, connection.protocol, record.outcome) {
        (Direction::In, Protocol::Tcp, Seen(Answered) | Unknown) => true,
        (Direction::In, Protocol::Tcp, Seen(Refused) | Nothing) => request.unanswered,
        (Direction::In, Protocol::Udp, Seen(Answered | Served) | Unknown) => !is_ephemeral,
        (Direction::In, Protocol::Udp, Nothing) => request.unanswered && !is_ephemeral,
        (Direction::Out, _, outcome) => outcome != Seen(Reply),
        (Direction::Else, Protocol::Udp, Seen(Served)) => return Some(BaseChain::Input),
        (Direction::Else, _, _) if is_to_group || !request.forward => false,
        (Direction::Else, _, Unknown) => !is_answer(connection, recording),
        (Direction::Else, _, Seen(Answered)) => true,
        (Direction::Else, _, Seen(Refused) | Nothing) => request.unanswered,
        _ => false,
    };
    is_taken.then_some(match connection.direction {
        Direction::In => BaseChain::Input,
        Direction::Out => BaseChain::Output,
        Direction::Else => BaseChain::Forward,
    })
}

/// Without evidence, whether the request is there too, to the lower of two UDP ports.
fn is_answer(answer: &Connection, recording: &Recording) -> bool {
    let SourcePort::Number(from) = answer.source_port else { return false };
    let is_request = |it: &Connection| {
        (it.source, it.destination) == (answer.destination, answer.source)
            && it.source_port == SourcePort::Number(answer.destination_port)
            && (it.direction, it.destination_port) == (Direction::Else, from)
            && it.protocol == Protocol::Udp
    };
    answer.protocol == Protocol::Udp
        && from < answer.destination_port
        && recording.records.iter().any(|record| is_request(&record.connection))
}

/// Whether the rule for a recorded connection has to accept another one: `INTERNET` is many, and
/// over UDP may have been multicast or broadcast.
fn stands_for(recorded: &Connection, other: &Connection) -> bool {
    let is_out_udp = (recorded.direction, recorded.protocol) == (Direction::Out, Protocol::Udp);
    let covers = |recorded, other| match (recorded, other) {
        (Host::Internet, Host::Address(peer)) if is_group(peer) => peer.is_ipv4() && is_out_udp,
        (Host::Internet, Host::Address(peer)) => Scope::default().is_internet(peer),
        (recorded, other) => recorded == other,
    };
    let is_v4 = |it: &Connection| {
        [it.source, it.destination].iter().any(|it| matches!(it, Host::Address(it) if it.is_ipv4()))
    };
    (recorded.protocol, recorded.destination_port, is_v4(recorded))
        == (other.protocol, other.destination_port, is_v4(other))
        && covers(recorded.source, other.source)
        && covers(recorded.destination, other.destination)
}

/// Whether a rule of this chain accepts a connection.
fn accepts(rule_set: &RuleSet, base: BaseChain, connection: &Connection) -> bool {
    let is_in = |side: &Side, host| match (side, host) {
        (Side::Any, _) | (Side::Internet, Host::Internet) => true,
        (Side::Internet, Host::Address(it)) => Scope::default().is_internet(it) && !is_group(it),
        (Side::FoldedGroups, Host::Address(it)) => it.is_ipv4() && is_group(it),
        (Side::Networks(networks), Host::Address(it)) => {
            networks.iter().any(|net| net.contains(&it))
        }
        (Side::FoldedGroups | Side::Networks(_), Host::Internet) => false,
    };
    let is_v6 = [connection.source, connection.destination]
        .iter()
        .any(|it| matches!(it, Host::Address(it) if it.is_ipv6()));
    let version = if is_v6 { IpVersion::V6 } else { IpVersion::V4 };
    let own = rule_set.chains.iter().filter(|chain| chain.base == base);
    own.flat_map(|chain| &chain.rules).any(|rule| {
        (rule.protocol, rule.version) == (connection.protocol, version)
            && rule.ports.iter().any(|ports| ports.contains(connection.destination_port))
            && is_in(&rule.source, connection.source)
            && is_in(&rule.destination, connection.destination)
    })
}

proptest! {
    #[test]
    fn a_recording_comes_back_from_json_lines_with_its_rules(
        recording in any_full_recording(),
        request in any_request(),
    ) {
        let text = json_lines(&recording);
        let back = read(&text);
        prop_assert_eq!(back.len(), 1);
        prop_assert_eq!(&back[0].records, &recording.records);
        prop_assert_eq!(&back[0].provenance, &recording.provenance);
        prop_assert_eq!(json_lines(&back[0]), text);
        prop_assert_eq!(printed(&back[0], &request), printed(&recording, &request));
    }

    /// No panic; and what is read after all is what is written then.
    #[test]
    fn a_spoiled_file_is_an_error_or_another_recording(
        recording in any_full_recording(),
        spoils in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut bytes = json_lines(&recording).into_bytes();
        for (index, byte, how) in spoils {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at + 1),
            }
        }
        match json_lines::read(Path::new("file"), &bytes[..]) {
            Ok(recordings) => for recording in recordings {
                let back = read(&json_lines(&recording));
                prop_assert_eq!(&back[0].records, &recording.records);
            },
            Err(error) => prop_assert!(error.to_string().starts_with("file line "), "{}", error),
        }
    }

    /// Whatever the order, and twice is once.
    #[test]
    fn several_recordings_are_one(
        one in any_full_recording(),
        other in any_full_recording(),
        request in any_request(),
    ) {
        let of = |all: &[&Recording]| {
            Recording::merged(all.iter().map(|it| (*it).clone()).collect()).0
        };
        let merged = of(&[&one, &other]);
        prop_assert_eq!(&merged.records, &of(&[&other, &one]).records);
        prop_assert_eq!(&merged.records, &of(&[&one, &other, &one]).records);
        prop_assert_eq!(printed(&merged, &request), printed(&of(&[&other, &one]), &request));
        let connections = |it: &Recording| it.records.iter().map(|it| it.connection).collect::<Vec<_>>();
        let mut both = [connections(&one), connections(&other)].concat();
        both.sort_unstable();
        both.dedup();
        prop_assert_eq!(connections(&merged), both);
        for record in one.records.iter().chain(&other.records) {
            let found = merged.records.iter().find(|it| it.connection == record.connection);
            let found = found.expect("it is in");
            prop_assert_eq!(found.outcome.or(record.outcome), found.outcome);
            prop_assert!(found.last_seen >= record.last_seen && found.accepted >= record.accepted);
        }
    }

    #[test]
    fn the_rules_accept_what_the_table_says(recording in any_recording(), request in any_request()) {
        let rule_set = RuleSet::of(&recording, request.clone());
        for record in &recording.records {
            if let Some(base) = table(record, &recording, &request) {
                prop_assert!(accepts(&rule_set, base, &record.connection), "{record:?}");
            }
        }
    }

    #[test]
    fn the_rules_accept_nothing_else(
        recording in any_recording(),
        request in any_request(),
        other in any_connection(),
    ) {
        let request = Request { aggregation: Aggregation::NONE, ..request };
        let rule_set = RuleSet::of(&recording, request.clone());
        let with_rule: Vec<_> = recording
            .records
            .iter()
            .map(|record| (table(record, &recording, &request), record.connection))
            .collect();
        let others = with_rule.iter().map(|(_, connection)| *connection).chain([other]);
        for (other, base) in others.flat_map(|other| BaseChain::ALL.map(|base| (other, base))) {
            let stands_for_other = |(chain, recorded): &(Option<BaseChain>, Connection)| {
                *chain == Some(base) && stands_for(recorded, &other)
            };
            let is_recorded = with_rule.iter().any(stands_for_other);
            prop_assert_eq!(accepts(&rule_set, base, &other), is_recorded, "{:?} {:?}", base, other);
        }
    }

    #[test]
    fn every_record_is_in_a_rule_or_counted(recording in any_recording(), request in any_request()) {
        let rule_set = RuleSet::of(&recording, request);
        let in_rules = rule_set.window.map_or(0, |window| window.connections);
        let left_out: usize = rule_set.omissions.iter().map(|it| it.connections).sum();
        prop_assert_eq!(in_rules + left_out, recording.records.len());
        let facts = rule_set.chains.iter().flat_map(|chain| &chain.rules);
        let facts = facts.filter(|rule| rule.destination != Side::FoldedGroups);
        prop_assert_eq!(facts.map(|rule| rule.facts.connections).sum::<usize>(), in_rules);
    }
}

/// As many peers of one port as a /15 has, one after the other, and all but every tenth.
#[test]
fn consecutive_addresses_are_one_element() {
    const PEERS: u32 = 100_000;
    let first = u32::from(std::net::Ipv4Addr::new(10, 1, 0, 0));
    let recording = |is_in: fn(u32) -> bool| {
        let peers = (0..PEERS).filter(|it| is_in(*it)).map(|it| IpAddr::V4((first + it).into()));
        let connection = |peer| Connection {
            direction: Direction::In,
            protocol: Protocol::Tcp,
            source: Host::Address(peer),
            source_port: SourcePort::Any,
            destination: Host::Address(address("192.168.0.1")),
            destination_port: 22,
        };
        let answered = Outcome::Seen(Evidence::Answered);
        let records = peers.map(|peer| record(connection(peer), answered)).collect();
        Recording { records, ..Recording::default() }
    };
    let start = std::time::Instant::now();
    let [nftables, iptables] = printed(&recording(|_| true), &Request::default());
    eprintln!("rules of {PEERS} consecutive peers, twice: {:?}", start.elapsed());
    assert!(nftables.contains("ip saddr 10.1.0.0-10.2.134.159 "), "{nftables}");
    assert_eq!(nftables.matches("10.1.").count(), 1, "{nftables}");
    assert!(iptables.contains("--src-range 10.1.0.0-10.2.134.159 "), "{iptables}");
    assert_eq!(iptables.matches("10.1.").count(), 1, "{iptables}");
    let [nftables, _] = printed(&recording(|it| it % 10 != 0), &Request::default());
    assert_eq!(nftables.matches("10.1.0.1-10.1.0.9,").count(), 1);
    let ranges = nftables.split([',', '\n']).filter(|it| it.trim().starts_with("10.")).count();
    assert_eq!(ranges, 10_000, "each of nine addresses");
}
