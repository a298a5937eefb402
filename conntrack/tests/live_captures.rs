//! Frames of `testdata/` sent over a veth pair: both modes must leave the tree that stands beside
//! the capture, written by hand. Needs root.

mod support;

use std::net::IpAddr;

use etherparse::{NetSlice, SlicedPacket};
use support::{
    Case, assert_same_tree,
    collector::Collector,
    frames::{Wire, of_capture},
    lab::Lab,
    usual::{CLSACT, PCAP, TCX, XDP},
};

/// Sends a case's frames, each from the side that it would come from, and compares the tree.
fn replay(name: &str, mode: &[&str]) {
    let case = Case::named(name);
    let (local, arguments) = case.split_arguments();
    let lab = Lab::new(&local.iter().map(String::as_str).collect::<Vec<_>>());
    let mut wire = Wire::of(&lab);
    let arguments: Vec<&str> =
        arguments.iter().map(String::as_str).chain(mode.iter().copied()).collect();
    let collector = Collector::start(&lab.host, &arguments);
    for frame in of_capture(&case.capture) {
        if source(&frame).is_some_and(|source| local.contains(&source.to_string())) {
            wire.leave(&frame);
        } else {
            wire.arrive(&frame);
        }
    }
    collector.wait_for_files(&case.tree);
    let ended = collector.stop();
    assert!(ended.status.success(), "{}", ended.said);
    assert_same_tree(&format!("{name} with {mode:?}"), &case.tree, &ended.files);
}

fn source(frame: &[u8]) -> Option<IpAddr> {
    match SlicedPacket::from_ethernet(frame).ok()?.net? {
        NetSlice::Ipv4(ip) => Some(ip.header().source_addr().into()),
        NetSlice::Ipv6(ip) => Some(ip.header().source_addr().into()),
        NetSlice::Arp(_) => None,
    }
}

fn replay_in_all_modes(names: &[&str]) {
    for name in names {
        for mode in [TCX, XDP, PCAP] {
            replay(name, mode);
        }
    }
}

#[test]
fn the_seed_s_example() {
    replay_in_all_modes(&["seed"]);
    replay("seed", CLSACT);
    replay("seed", &["--mode", "auto"]);
}

#[test]
fn all_settings() {
    replay_in_all_modes(&["mix", "mix+udp-in", "mix+skip-else", "mix+no-internet-in"]);
}

#[test]
fn families_and_scopes() {
    replay_in_all_modes(&["mix+v4", "mix+v6", "mix+internal", "internet", "ipv6-text"]);
}

#[test]
fn udp_replies() {
    replay_in_all_modes(&["udp-replies", "same-instant"]);
}

#[test]
fn transport_headers() {
    replay_in_all_modes(&["tcp-opening", "not-ip"]);
}

#[test]
fn ip_headers() {
    replay_in_all_modes(&["ipv4-header", "ipv6-ext", "fragments"]);
}

#[test]
fn tags() {
    replay_in_all_modes(&["vlan"]);
}
