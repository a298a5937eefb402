//! What the programs say themselves, with `-vv`: the first packet of each cause in each interval, with its
//! ends. Needs root.

use std::{collections::BTreeSet, fs, thread};

use crate::support::{
    Files, assert_same_tree,
    collector::{Collector, Ended},
    frames::{Tcp, Wire, tcp, udp},
    lab::{DEVICE, Lab, Namespace, PEER_DEVICE},
    refusal::refuse,
    tun::{Kind, TUN, Tun},
    usual::{CLSACT, HOST, TCX, XDP, end, request},
};
use aya::programs::loaded_programs;
use rustix::process::Signal;
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// Programs at each hook, by each way.
const WAYS: [&[&str]; 3] = [TCX, CLSACT, XDP];

/// One interval for the whole test.
const ONCE: &[&str] = &["--interval", "1h"];

/// Offsets in an Ethernet frame with an IPv4 header without options.
mod field {
    pub(super) const ETHER_TYPE: usize = 12;
    pub(super) const IP: usize = 14;
    pub(super) const TOTAL_LENGTH: usize = IP + 3;
    pub(super) const FRAGMENT: usize = IP + 7;
    pub(super) const PROTOCOL: usize = IP + 9;
}

/// A laboratory without IPv6, whose multicast would be traffic besides the test's.
fn quiet_lab() -> Lab {
    let lab = Lab::new(&[HOST]);
    for (namespace, device) in [(&lab.host, DEVICE), (&lab.peer, PEER_DEVICE)] {
        without_ipv6(namespace, device);
    }
    lab
}

fn without_ipv6(namespace: &Namespace, device: &str) {
    let setting = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
    namespace.run("sh", &["-c", &format!("echo 1 > {setting}")]);
}

/// What the programs have said.
fn messages(ended: &Ended) -> Vec<&str> {
    let texts = ended.said.lines().filter_map(|line| line.strip_prefix("conntrack: "));
    texts.filter(|text| text.starts_with("skipped (") || text.starts_with("lost (")).collect()
}

fn datagram() -> Vec<u8> {
    udp(end("10.0.0.1:1000"), end("192.168.200.230:2000"))
}

/// The datagram with another octet at this place.
fn with(at: usize, octet: u8) -> Vec<u8> {
    let mut frame = datagram();
    frame[at] = octet;
    frame
}

/// The frame with as many 802.1Q tags.
fn tagged(mut frame: Vec<u8>, tags: usize) -> Vec<u8> {
    let tag = [0x81, 0x00, 0x00, 0x07];
    frame.splice(field::ETHER_TYPE..field::ETHER_TYPE, tag.repeat(tags));
    frame
}

/// An IPv6 datagram with as many destination options before it as the parser does not walk.
fn with_long_chain() -> Vec<u8> {
    const CHAIN: u8 = 9;
    let mut frame = udp(end("[2001:db8::1]:1000"), end("[2001:db8::2]:2000"));
    let chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(CHAIN.into());
    frame[field::IP + 5] += 8 * CHAIN;
    frame[field::IP + 6] = 60;
    frame.splice(field::IP + 40..field::IP + 40, chain);
    frame
}

/// Frames that arrive, of each cause of skipping one, and what is said of them.
fn skipped() -> Vec<(Vec<u8>, &'static str)> {
    vec![
        (with(field::ETHER_TYPE + 1, 0x06), "skipped (not IP): ARP (EtherType 0x0806), 49 octets"),
        (
            with(field::PROTOCOL, 1),
            "skipped (neither TCP nor UDP): ICMP 10.0.0.1 > 192.168.200.230, 49 octets",
        ),
        (
            with(field::FRAGMENT, 100),
            "skipped (later fragment): UDP 10.0.0.1 > 192.168.200.230, 49 octets",
        ),
        (
            tcp(end("[2001:db8::1]:1000"), end("[2001:db8::2]:22"), Tcp::Ack),
            "skipped (TCP not opening): TCP [2001:db8::1]:1000 > [2001:db8::2]:22, 74 octets",
        ),
        (
            with(field::TOTAL_LENGTH, 23),
            "skipped (truncated): UDP 10.0.0.1 > 192.168.200.230, 49 octets",
        ),
        (
            with(field::IP, 0x44),
            "skipped (bad IP header): UDP 10.0.0.1 > 192.168.200.230, 49 octets",
        ),
        (
            with_long_chain(),
            "skipped (too many extension headers): IP protocol 60 2001:db8::1 > 2001:db8::2, \
             141 octets",
        ),
        (
            udp(end("10.0.0.1:1000"), end("10.0.0.2:2000")),
            "skipped (left out by the settings): UDP 10.0.0.1:1000 > 10.0.0.2:2000, 49 octets",
        ),
    ]
}

#[test]
fn of_each_cause_the_first_packet_is_told_with_its_ends() {
    for way in WAYS {
        let lab = quiet_lab();
        let mut wire = Wire::of(&lab);
        let settings = ["-vv", "-e", "-u", "5000"];
        let mut collector = Collector::start(&lab.host, &[way, ONCE, &settings].concat());
        let mut expected = Vec::new();
        for (frame, said) in skipped() {
            wire.arrive(&frame);
            collector.wait_for_line(said);
            expected.push(said.to_owned());
        }
        wire.leave(&udp(end("192.168.200.230:5000"), end("10.0.0.1:1000")));
        expected.push(
            "skipped (sent from a --udp-in port): UDP 192.168.200.230:5000 > 10.0.0.1:1000, \
             49 octets"
                .to_owned(),
        );
        // TC finds the first tag of an arriving frame in metadata.
        let tags = tagged(datagram(), 4);
        let octets = tags.len() - if way == XDP { 0 } else { 4 };
        wire.arrive(&tags);
        expected
            .push(format!("skipped (too many tags or labels): EtherType 0x8100, {octets} octets"));
        // Others of the same causes.
        wire.arrive(&tcp(end("10.0.0.7:1000"), end("192.168.200.230:22"), Tcp::Ack));
        wire.leave(&udp(end("192.168.200.230:5000"), end("10.0.0.7:1000")));
        wire.arrive(&tags);
        let ended = collector.stop();
        assert_eq!(messages(&ended), expected, "{way:?}: {}", ended.said);
        assert_eq!(ended.reported("packets seen"), 3 + expected.len() as u64, "{}", ended.said);
    }
}

#[test]
fn each_interval_has_its_first_packet() {
    for way in WAYS {
        let lab = quiet_lab();
        let mut wire = Wire::of(&lab);
        // The interval ends with the eighth flow, which fills half the map.
        let settings = ["-vv", "--max-flows", "16"];
        let mut collector = Collector::start(&lab.host, &[way, ONCE, &settings].concat());
        let mut expected = Vec::new();
        for interval in 0..3_u16 {
            for number in 0..3 {
                let from = end(&format!("10.0.0.{number}:{interval}"));
                wire.arrive(&tcp(from, end("192.168.200.230:22"), Tcp::Ack));
            }
            let text = format!(
                "TCP not opening): TCP 10.0.0.0:{interval} > 192.168.200.230:22, 54 octets"
            );
            collector.wait_for_line(&text);
            expected.push(format!("skipped ({text}"));
            let ports = interval * 8 + 1..=interval * 8 + 8;
            let shown = |port| format!("in/udp/10.0.0.1-PORT-192.168.200.230-{port}");
            for port in ports.clone() {
                wire.arrive(&udp(end("10.0.0.1:1000"), end(&format!("192.168.200.230:{port}"))));
            }
            collector.wait_for_files(&ports.map(shown).collect::<Files>());
        }
        let ended = collector.stop();
        assert_eq!(messages(&ended), expected, "{way:?}: {}", ended.said);
    }
}

#[test]
fn of_a_loss_the_error_of_the_map_is_told() {
    let to_host = |port| end(&format!("192.168.200.230:{port}"));
    for way in WAYS {
        for (flows, why) in [
            ([1, 2, 3].map(|port| (end("10.0.0.1:1000"), to_host(port))), ", error 7, E2BIG"),
            (
                [1, 2, 3].map(|port| (end("10.0.0.1:1000"), end(&format!("10.0.0.2:{port}")))),
                " of else",
            ),
        ] {
            let lab = quiet_lab();
            let mut wire = Wire::of(&lab);
            let settings = ["-vv", "--max-flows", "2"];
            let mut collector = Collector::start(&lab.host, &[way, ONCE, &settings].concat());
            // So that it does not make room.
            collector.signal(Signal::STOP);
            for (src, dst) in flows {
                wire.arrive(&udp(src, dst));
            }
            collector.signal(Signal::CONT);
            let [.., (src, dst)] = flows;
            let expected = format!("lost (flow map full{why}): UDP {src} > {dst}, 49 octets");
            collector.wait_for_line(&expected);
            let ended = collector.stop();
            assert_eq!(messages(&ended), [expected], "{way:?}: {}", ended.said);
        }
    }
}

#[test]
fn of_packets_without_a_link_header_too() {
    let lab = quiet_lab();
    let tun = Tun::new(&lab.host, Kind::Tun, HOST);
    without_ipv6(&lab.host, TUN);
    let mut collector = Collector::start_on(&lab.host, TUN, &[TCX, ONCE, &["-vv"]].concat());
    let segment = tcp(end("10.0.0.1:1000"), end("192.168.200.230:22"), Tcp::Ack);
    tun.arrive(&segment[field::IP..]);
    collector.wait_for_line(
        "skipped (TCP not opening): TCP 10.0.0.1:1000 > 192.168.200.230:22, 40 octets",
    );
}

#[test]
fn without_the_flag_nothing_is_said_and_no_instruction_is_there_for_it() {
    for way in WAYS {
        let cost = [&["-vv"][..], &["-v"], &[]].map(|verbose| {
            let lab = quiet_lab();
            let mut wire = Wire::of(&lab);
            let collector = Collector::start(&lab.host, &[way, ONCE, verbose].concat());
            for (frame, _said) in skipped() {
                wire.arrive(&frame);
            }
            let cost = Cost::of(collector.id());
            let ended = collector.stop();
            assert_eq!(messages(&ended).is_empty(), verbose != ["-vv"], "{}", ended.said);
            cost
        });
        let [with, verbose, without] = cost;
        assert_eq!(verbose, without, "{way:?}");
        assert!(with.ring_buffers > without.ring_buffers, "{way:?}: {with:?}, {without:?}");
        assert!(with.instructions > without.instructions, "{way:?}: {with:?}, {without:?}");
    }
}

#[test]
fn where_there_is_no_room_for_it_all_else_goes_on() {
    for way in WAYS {
        let lab = quiet_lab();
        let collector = thread::scope(|scope| {
            let started = scope.spawn(|| {
                refuse_large_ring_buffers();
                Collector::start(&lab.host, &[way, ONCE, &["-vv"]].concat())
            });
            started.join().expect("it starts")
        });
        assert!(
            collector
                .said_before("warning: the programs say nothing themselves: the programs' log: ")
        );
        let (frame, expected) = request(443);
        Wire::of(&lab).leave(&frame);
        let ended = collector.stop();
        assert_same_tree("without messages", &expected, &ended.files);
    }
}

/// Has this thread, and what it starts, map no ring buffers of more than a few pages.
fn refuse_large_ring_buffers() {
    const LENGTH: u8 = 1;
    const PROTECTION: u8 = 2;
    const FLAGS: u8 = 3;
    const LARGE: u64 = 1 << 17;
    let is = |argument, how, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Qword, how, value).expect("a condition")
    };
    let rule = SeccompRule::new(vec![
        is(LENGTH, SeccompCmpOp::Ge, LARGE),
        is(PROTECTION, SeccompCmpOp::Eq, libc::PROT_READ as u64),
        is(FLAGS, SeccompCmpOp::Eq, libc::MAP_SHARED as u64),
    ]);
    refuse(libc::SYS_mmap, libc::ENOMEM as u32, vec![rule.expect("a rule")]);
}

/// What a process holds.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    /// Octets of its programs, as the verifier left them.
    instructions: u32,
    /// Parts of ring buffers in its memory.
    ring_buffers: usize,
}

/// Old verifiers follow more than new ones, and what is added later has to fit, too.
#[test]
fn the_verifier_follows_a_third_of_what_it_may() {
    const AT_MOST: u32 = 333_333;
    let lab = quiet_lab();
    for saying in [&[][..], &["-vv"]] {
        let collector = Collector::start(&lab.host, &[XDP, ONCE, saying].concat());
        let held = program_ids(collector.id());
        assert!(!held.is_empty(), "no programs");
        let programs = loaded_programs().map_while(Result::ok);
        let followed: Vec<_> = programs
            .filter(|program| held.contains(&program.id()))
            // Not told before Linux 5.16.
            .filter_map(|program| program.verified_instruction_count())
            .collect();
        assert!(followed.iter().all(|count| *count < AT_MOST), "{saying:?}: {followed:?}");
        collector.stop();
    }
}

impl Cost {
    fn of(process: u32) -> Self {
        let held = program_ids(process);
        let programs = loaded_programs().map_while(Result::ok);
        let sizes = programs
            .filter(|program| held.contains(&program.id()))
            .map(|program| program.size_translated().expect("the tests' privileges"));
        let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("a running process");
        Self { instructions: sizes.sum(), ring_buffers: maps.matches("bpf-map").count() }
    }
}

fn program_ids(process: u32) -> BTreeSet<u32> {
    let entries = fs::read_dir(format!("/proc/{process}/fdinfo")).expect("a running process");
    // A descriptor may have been closed meanwhile.
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    let id = |text: String| {
        text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
    };
    texts.filter_map(id).collect()
}
