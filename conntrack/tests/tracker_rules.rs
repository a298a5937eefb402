//! The tracker's rules as tables: flows in order, and the paths that are recorded.

use std::net::SocketAddr;

use conntrack::{
    connection::{Direction, Evidence, Host, Protocol, SourcePort},
    tracker::{Family, Settings, Tracker, UdpDirection},
    tree,
};
use conntrack_common::{
    address::Address,
    flow::FlowKey,
    seen::{Flow, Seen},
};

const LOCAL: [&str; 2] = ["192.168.200.230", "2001:db8::230"];

fn flow(protocol: Protocol, src: &str, dst: &str) -> Flow {
    let end = |text: &str| {
        let end: SocketAddr = text.parse().expect("an address with a port");
        (Address::from(end.ip()), end.port())
    };
    Flow::opened(FlowKey::new(protocol, end(src), end(dst)))
}

fn tracker(settings: Settings) -> Tracker {
    let mut tracker = Tracker::new(settings, []);
    tracker.set_local_addresses(&LOCAL.map(|address| address.parse().expect("an address")).into());
    tracker
}

/// The recorded paths of these UDP flows, in order.
fn udp(settings: Settings, flows: &[(&str, &str)]) -> Vec<String> {
    let mut tracker = tracker(settings);
    let recorded =
        flows.iter().filter_map(|(src, dst)| tracker.track(&flow(Protocol::Udp, src, dst)));
    recorded.map(|sighting| tree::path(&sighting.connection)).collect()
}

fn tcp(settings: Settings, src: &str, dst: &str) -> Option<String> {
    let sighting = tracker(settings).track(&flow(Protocol::Tcp, src, dst));
    sighting.map(|sighting| tree::path(&sighting.connection))
}

#[test]
fn the_source_decides_the_direction_first() {
    let connection = tracker(Settings::default())
        .track(&flow(Protocol::Tcp, "192.168.200.230:1000", "192.168.200.230:22"))
        .expect("recorded")
        .connection;
    assert_eq!(connection.direction, Direction::Out);
    assert_eq!(connection.source_port, SourcePort::Any);
    assert!(matches!(connection.destination, Host::Address(_)));
}

#[test]
fn folding_by_direction() {
    let none = Settings::default;
    let cases = [
        ("192.168.200.230:40000", "203.0.113.5:443", "out/tcp/192.168.200.230-PORT-INTERNET-443"),
        ("192.168.200.230:40000", "10.0.0.1:443", "out/tcp/192.168.200.230-PORT-10.0.0.1-443"),
        ("203.0.113.5:40000", "192.168.200.230:22", "in/tcp/INTERNET-PORT-192.168.200.230-22"),
        ("10.0.0.1:40000", "192.168.200.230:22", "in/tcp/10.0.0.1-PORT-192.168.200.230-22"),
        ("203.0.113.5:40000", "203.0.113.6:22", "else/tcp/203.0.113.5-40000-203.0.113.6-22"),
        ("[2001:db8::230]:1", "[2a00::1]:443", "out/tcp/2001:db8::230-PORT-INTERNET-443"),
        ("[fe80::1]:1", "[2001:db8::230]:22", "in/tcp/fe80::1-PORT-2001:db8::230-22"),
    ];
    for (src, dst, path) in cases {
        assert_eq!(tcp(none(), src, dst).as_deref(), Some(path));
    }
}

#[test]
fn folding_can_be_turned_off_for_each_direction() {
    let unfolded_in = Settings { no_internet_in: true, ..Settings::default() };
    let unfolded_out = Settings { no_internet_out: true, ..Settings::default() };
    let inbound = ("203.0.113.5:40000", "192.168.200.230:22");
    let outbound = ("192.168.200.230:40000", "203.0.113.5:443");
    let path = |settings: &Settings, (src, dst)| tcp(settings.clone(), src, dst);
    assert_eq!(
        path(&unfolded_in, inbound).as_deref(),
        Some("in/tcp/203.0.113.5-PORT-192.168.200.230-22")
    );
    assert!(path(&unfolded_in, outbound).is_some_and(|path| path.contains("INTERNET")));
    assert_eq!(
        path(&unfolded_out, outbound).as_deref(),
        Some("out/tcp/192.168.200.230-PORT-203.0.113.5-443")
    );
    assert!(path(&unfolded_out, inbound).is_some_and(|path| path.contains("INTERNET")));
}

#[test]
fn else_can_be_left_out() {
    let settings = Settings { skip_else: true, ..Settings::default() };
    assert_eq!(tcp(settings.clone(), "203.0.113.5:40000", "203.0.113.6:22"), None);
    assert!(tcp(settings, "203.0.113.5:40000", "192.168.200.230:22").is_some());
}

#[test]
fn a_family_can_be_chosen() {
    let only = |family| Settings { family, ..Settings::default() };
    let v4 = ("10.0.0.1:1", "10.0.0.2:2");
    let v6 = ("[fd00::1]:1", "[fd00::2]:2");
    assert!(tcp(only(Family::V4), v4.0, v4.1).is_some());
    assert!(tcp(only(Family::V4), v6.0, v6.1).is_none());
    assert!(tcp(only(Family::V6), v4.0, v4.1).is_none());
    assert!(tcp(only(Family::V6), v6.0, v6.1).is_some());
}

const REQUEST: (&str, &str) = ("192.168.200.230:40000", "10.0.0.1:53");
const ANSWER: (&str, &str) = ("10.0.0.1:53", "192.168.200.230:40000");

#[test]
fn an_answer_is_not_recorded_once_its_port_was_asked() {
    let paths = udp(Settings::default(), &[REQUEST, ANSWER]);
    assert_eq!(paths, ["out/udp/192.168.200.230-PORT-10.0.0.1-53"]);
}

#[test]
fn the_order_matters() {
    let paths = udp(Settings::default(), &[ANSWER, REQUEST, ANSWER]);
    assert_eq!(
        paths,
        ["in/udp/10.0.0.1-PORT-192.168.200.230-40000", "out/udp/192.168.200.230-PORT-10.0.0.1-53"]
    );
}

#[test]
fn a_request_above_the_system_ports_is_not_remembered() {
    let paths = udp(
        Settings::default(),
        &[("192.168.200.230:40000", "10.0.0.1:1024"), ("10.0.0.1:1024", "192.168.200.230:40000")],
    );
    assert_eq!(paths.len(), 2);
    let paths = udp(
        Settings::default(),
        &[("192.168.200.230:40000", "10.0.0.1:1023"), ("10.0.0.1:1023", "192.168.200.230:40000")],
    );
    assert_eq!(paths.len(), 1);
}

#[test]
fn a_local_server_s_answers_are_neither_recorded_nor_remembered() {
    let settings = Settings { udp_servers: [40_000].into(), ..Settings::default() };
    let paths = udp(settings, &[REQUEST, ANSWER]);
    assert_eq!(paths, ["in/udp/10.0.0.1-PORT-192.168.200.230-40000"]);
}

#[test]
fn the_rule_is_for_udp_and_for_the_device_alone() {
    let mut tracker = tracker(Settings::default());
    assert!(tracker.track(&flow(Protocol::Udp, REQUEST.0, REQUEST.1)).is_some());
    assert!(tracker.track(&flow(Protocol::Tcp, ANSWER.0, ANSWER.1)).is_some());
    assert!(tracker.track(&flow(Protocol::Udp, "10.0.0.1:53", "10.0.0.2:53")).is_some());
}

#[test]
fn ports_of_an_earlier_run_are_remembered() {
    let mut tracker = Tracker::new(Settings::default(), [53, 2000]);
    tracker.set_local_addresses(&LOCAL.map(|address| address.parse().expect("an address")).into());
    assert_eq!(tracker.track(&flow(Protocol::Udp, ANSWER.0, ANSWER.1)), None);
}

#[test]
fn without_an_address_everything_is_else() {
    let mut tracker = Tracker::new(Settings::default(), []);
    let connection =
        tracker.track(&flow(Protocol::Udp, REQUEST.0, REQUEST.1)).expect("recorded").connection;
    assert_eq!(connection.direction, Direction::Else);
}

fn seen(flow: Flow, seen: Seen) -> Flow {
    Flow { seen, ..flow }
}

#[test]
fn the_first_batch_looks_ahead() {
    let request = flow(Protocol::Udp, REQUEST.0, REQUEST.1);
    let answer = flow(Protocol::Udp, ANSWER.0, ANSWER.1);
    let paths = |is_first| {
        let sightings = tracker(Settings::default()).track_batch(&[answer, request], is_first);
        sightings.iter().map(|it| tree::path(&it.connection)).collect::<Vec<_>>()
    };
    assert_eq!(paths(true), [paths(false)[1].clone()]);
    assert_eq!(paths(false).len(), 2, "later, who comes first is recorded");
}

#[test]
fn pairs_record_what_opens_and_nothing_that_answers() {
    let settings = Settings { udp_direction: UdpDirection::Pairs, ..Settings::default() };
    let mut tracker = tracker(settings);
    let answer = flow(Protocol::Udp, "10.0.0.1:123", "192.168.200.230:123");
    let shown = tracker.track(&seen(answer, Seen::REPLIES)).expect("evidence");
    assert!(!shown.has_packet && shown.evidence == Some(Evidence::Reply));
    let request = flow(Protocol::Udp, "192.168.200.230:123", "10.0.0.1:123");
    assert!(tracker.track(&request).expect("recorded").has_packet);
    // A system port that was asked makes no answers.
    assert!(tracker.track(&answer).expect("recorded").has_packet);
}

#[test]
fn pairs_still_hide_what_the_user_names() {
    let udp_servers = [40_000].into();
    let settings =
        Settings { udp_direction: UdpDirection::Pairs, udp_servers, ..Settings::default() };
    let sent = flow(Protocol::Udp, "192.168.200.230:40000", "10.0.0.1:5000");
    assert_eq!(tracker(settings).track(&sent), None);
}

#[test]
fn what_was_seen_becomes_the_strongest_word() {
    let syn = flow(Protocol::Tcp, "10.0.0.1:5000", "192.168.200.230:22");
    for (bits, has_packet, evidence) in [
        (Seen::OPENS, true, None),
        (Seen::REFUSED, false, Some(Evidence::Refused)),
        (Seen::OPENS | Seen::REFUSED, true, Some(Evidence::Refused)),
        (Seen::REFUSED | Seen::ANSWERED, false, Some(Evidence::Answered)),
        (Seen::REPLIES, true, Some(Evidence::Reply)),
        (Seen::REPLIES | Seen::OPENS, true, None),
        (Seen::REPLIES | Seen::OPENS | Seen::ANSWERED, true, Some(Evidence::Answered)),
    ] {
        let sighting = tracker(Settings::default()).track(&seen(syn, bits)).expect("recorded");
        assert_eq!((sighting.has_packet, sighting.evidence), (has_packet, evidence), "{bits:?}");
    }
}
