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

const EBPF: &[&str] = &["--mode", "ebpf"];
const CLSACT: &[&str] = &["--mode", "ebpf", "--tc-hook", "clsact"];
const PCAP: &[&str] = &["--mode", "pcap"];

#[test]
fn the_seed_s_example_with_ebpf() {
    replay("seed", EBPF);
}

#[test]
fn the_seed_s_example_with_ebpf_on_clsact() {
    replay("seed", CLSACT);
}

#[test]
fn the_seed_s_example_with_libpcap() {
    replay("seed", PCAP);
}

#[test]
fn the_seed_s_example_with_the_mode_that_is_chosen() {
    replay("seed", &["--mode", "auto"]);
}

#[test]
fn local_udp_servers() {
    replay("mix+udp-in", EBPF);
    replay("mix+udp-in", PCAP);
}

#[test]
fn without_else() {
    replay("mix+skip-else", EBPF);
    replay("mix+skip-else", PCAP);
}

#[test]
fn udp_replies() {
    replay("udp-replies", EBPF);
    replay("udp-replies", PCAP);
}

#[test]
fn connection_openings() {
    replay("tcp-opening", EBPF);
    replay("tcp-opening", PCAP);
}

#[test]
fn fragments() {
    replay("fragments", EBPF);
    replay("fragments", PCAP);
}

#[test]
fn ipv4_headers() {
    replay("ipv4-header", EBPF);
    replay("ipv4-header", PCAP);
}

#[test]
fn ipv6_extension_headers() {
    replay("ipv6-ext", EBPF);
    replay("ipv6-ext", PCAP);
}
