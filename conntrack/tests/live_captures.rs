//! Frames of `testdata/` sent over a veth pair: both modes must leave the tree that stands beside
//! the capture, written by hand. Needs root.

use std::{net::IpAddr, path::Path};

use crate::support::{
    Case, assert_same_tree,
    collector::Collector,
    frames::{Wire, of_capture},
    lab::Lab,
    usual::{each_way, pass_first_batch},
};
use etherparse::{NetSlice, SlicedPacket};

/// Sends a case's frames, each from its own side of the wire, and compares the tree; returns the
/// collector's standard error.
fn replay(name: &str, mode: &[&str]) -> String {
    replay_in(name, mode, true)
}

/// The same in the first batch or in a later one.
fn replay_in(name: &str, mode: &[&str], is_first: bool) -> String {
    let case = Case::named(name);
    let (local, arguments) = case.split_arguments();
    let lab = Lab::new(&local.iter().map(String::as_str).collect::<Vec<_>>());
    let mut wire = Wire::of(&lab);
    let arguments: Vec<&str> =
        arguments.iter().map(String::as_str).chain(mode.iter().copied()).collect();
    let collector = Collector::start(&lab.host, &arguments);
    let mut expected = case.tree.clone();
    if !is_first {
        expected.extend(pass_first_batch(&mut wire, &[&collector]));
    }
    for frame in of_capture(&case.capture) {
        if source(&frame).is_some_and(|source| local.contains(&source.to_string())) {
            wire.leave(&frame);
        } else {
            wire.arrive(&frame);
        }
    }
    collector.wait_for_files(&expected);
    let ended = collector.stop();
    assert!(ended.status.success(), "{}", ended.said);
    assert_same_tree(&format!("{name} with {mode:?}"), &expected, &ended.files);
    ended.said
}

fn source(frame: &[u8]) -> Option<IpAddr> {
    match SlicedPacket::from_ethernet(frame).ok()?.net? {
        NetSlice::Ipv4(ip) => Some(ip.header().source_addr().into()),
        NetSlice::Ipv6(ip) => Some(ip.header().source_addr().into()),
        NetSlice::Arp(_) => None,
    }
}

fn replay_all(names: &[&str], mode: &[&str]) {
    for name in names {
        replay(name, mode);
    }
}

each_way!(
    the_seed_s_example,
    all_settings,
    families_and_scopes,
    udp_replies,
    transport_headers,
    ip_headers,
    tags,
);

fn the_seed_s_example(way: &[&str]) {
    replay("seed", way);
}

#[test]
fn auto_takes_ebpf_or_says_why_not() {
    let said = replay("seed", &["--mode", "auto"]);
    // The file exists if bpf(2) does (`kernel/bpf/syscall.c`).
    let has_bpf = Path::new("/proc/sys/kernel/unprivileged_bpf_disabled").exists();
    let why = "no eBPF here (this kernel has no bpf(2)); using libpcap instead";
    assert_eq!(said.contains(why), !has_bpf, "{said}");
    assert_eq!(said.contains("with eBPF"), has_bpf, "{said}");
}

fn all_settings(way: &[&str]) {
    replay_all(&["mix", "mix+udp-in", "mix+skip-else", "mix+no-internet-in"], way);
}

fn families_and_scopes(way: &[&str]) {
    replay_all(&["mix+v4", "mix+v6", "mix+internal", "internet", "ipv6-text"], way);
}

fn udp_replies(way: &[&str]) {
    // Each has an answer before its request, which the first batch takes for one all the same.
    replay_in("udp-replies", way, false);
    replay_in("same-instant", way, false);
}

fn transport_headers(way: &[&str]) {
    replay_all(&["tcp-opening", "not-ip"], way);
}

fn ip_headers(way: &[&str]) {
    replay_all(&["ipv4-header", "ipv6-ext", "fragments"], way);
}

fn tags(way: &[&str]) {
    replay("vlan", way);
}
