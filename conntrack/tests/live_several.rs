//! Several devices with one tree: the addresses of all are local, an answer is one whichever device it comes
//! by, and each goes and comes back by itself. Needs root.

use std::{fs, net::SocketAddr};

use crate::support::{
    Files, assert_same_tree,
    collector::{Collector, Ended},
    frames::{Tcp, Wire, tcp, udp},
    lab::{DEVICE, Lab},
    usual::{EBPF, HOST, PCAP, XDP, each_way, end, request},
};

/// The second device that is watched, and its other end.
const SECOND: &str = "ct-second";
const SECOND_PEER: &str = "ct-dnoces";
/// Its address.
const SECOND_HOST: &str = "192.168.201.230";

each_way!(
    the_addresses_of_all_are_local,
    an_answer_by_another_device_is_an_answer,
    each_device_goes_and_comes_back_by_itself,
    what_passes_two_devices_is_one_file,
);

/// A laboratory whose host has two devices.
fn lab() -> Lab {
    let lab = Lab::new(&[HOST]);
    plug_in_second(&lab);
    lab
}

fn plug_in_second(lab: &Lab) {
    let peer = lab.peer.name.as_str();
    let ends = ["type", "veth", "peer", "name", SECOND_PEER, "netns", peer];
    lab.host.run("ip", &[&["link", "add", SECOND], &ends[..]].concat());
    lab.host.add_address(SECOND, SECOND_HOST);
    lab.host.up(SECOND);
    lab.peer.up(SECOND_PEER);
}

fn second(lab: &Lab) -> Wire {
    Wire::between(lab, SECOND, SECOND_PEER)
}

/// Watches both in this way.
fn start(lab: &Lab, way: &[&str], more: &[&str]) -> Collector {
    Collector::start(&lab.host, &[&["-d", SECOND], way, more].concat())
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

fn files(names: &[&str]) -> Files {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Packets that were flows: the kernel itself sends others.
fn flows(ended: &Ended) -> u64 {
    ended.reported("packets seen") - ended.reported("skipped")
}

fn the_addresses_of_all_are_local(way: &[&str]) {
    let lab = lab();
    let collector = start(&lab, way, &["-d", DEVICE, "-d", SECOND]);
    let other = |port| at("10.0.0.1", port);
    // Whichever device a packet passes.
    for (mut wire, port) in [(Wire::of(&lab), 1000), (second(&lab), 2000)] {
        for (place, address) in [HOST, SECOND_HOST].into_iter().enumerate() {
            let port = port + u16::try_from(place).expect("few");
            wire.leave(&tcp(at(address, 40_000), other(port), Tcp::Syn));
            wire.arrive(&tcp(other(40_000), at(address, port), Tcp::Syn));
        }
    }
    let mut expected = Files::new();
    for (address, ports) in [(HOST, [1000, 2000]), (SECOND_HOST, [1001, 2001])] {
        for port in ports {
            expected.insert(format!("out/tcp/{address}-PORT-10.0.0.1-{port}"));
            expected.insert(format!("in/tcp/10.0.0.1-PORT-{address}-{port}"));
        }
    }
    collector.wait_for_files(&expected);
    // An address that comes later, on the one and on the other.
    for (device, address) in [(DEVICE, "192.168.200.77"), (SECOND, "192.168.201.77")] {
        lab.host.add_address(device, address);
        let own = files(&[&format!("out/tcp/{address}-PORT-10.0.0.1-443")]);
        second(&lab).leave(&tcp(at(address, 40_000), other(443), Tcp::Syn));
        collector.wait_for_files(&own);
        expected.extend(own);
    }
    let ended = collector.stop();
    assert!(ended.status.success(), "{}", ended.said);
    assert_same_tree("two devices", &expected, &ended.files);
    assert!(ended.said.contains(&format!("watching {DEVICE}, {SECOND} with ")), "{}", ended.said);
    assert!(ended.said.contains(&format!("watched {DEVICE}, {SECOND} for ")), "{}", ended.said);
    assert_eq!((flows(&ended), ended.reported("lost")), (10, 0), "{}", ended.said);
}

/// Many of them, one after the other: what decides is what was seen first, whichever device is read first.
fn an_answer_by_another_device_is_an_answer(way: &[&str]) {
    const PORTS: std::ops::Range<u16> = 5000..5060;
    for is_asked_by_first in [true, false] {
        let lab = lab();
        let collector = start(&lab, way, &["--udp-direction", "pairs", "--interval", "300ms"]);
        let (mut asks, mut answers) = (Wire::of(&lab), second(&lab));
        if !is_asked_by_first {
            std::mem::swap(&mut asks, &mut answers);
        }
        let mut expected = Files::new();
        for port in PORTS {
            let (host, peer) = (at(HOST, port), at("10.0.0.1", port));
            asks.leave(&udp(host, peer));
            answers.arrive(&udp(peer, host));
            expected.insert(format!("out/udp/{HOST}-PORT-10.0.0.1-{port}"));
            // And the other way round.
            let (host, peer) = (at(SECOND_HOST, port), at("10.0.0.2", port));
            asks.arrive(&udp(peer, host));
            answers.leave(&udp(host, peer));
            expected.insert(format!("in/udp/10.0.0.2-PORT-{SECOND_HOST}-{port}"));
        }
        asks.leave(&tcp(at(HOST, 40_000), at("10.0.0.1", 443), Tcp::Syn));
        answers.arrive(&tcp(at("10.0.0.1", 443), at(HOST, 40_000), Tcp::SynAck));
        expected.insert(format!("out/tcp/{HOST}-PORT-10.0.0.1-443"));
        collector.wait_for_files(&expected);
        let ended = collector.stop();
        assert_same_tree("answers", &expected, &ended.files);
        for file in &expected {
            let word = ended.evidence.get(file).map(String::as_str);
            assert_eq!(word, Some("answered"), "{file}: {:?}", ended.evidence);
        }
    }
}

fn each_device_goes_and_comes_back_by_itself(way: &[&str]) {
    let lab = lab();
    let mut collector = start(&lab, way, &[]);
    let is_seen = |collector: &Collector, mut wire: Wire, address: &str, port: u16| {
        let expected = files(&[&format!("out/tcp/{address}-PORT-10.0.0.1-{port}")]);
        wire.leave(&tcp(at(address, 40_000), at("10.0.0.1", port), Tcp::Syn));
        collector.wait_for_files(&expected);
    };
    lab.host.run("ip", &["link", "delete", SECOND]);
    collector.wait_for_line(&format!("{SECOND} is gone; waiting for it"));
    // The other one goes on, and the addresses of the one that is away are still local.
    is_seen(&collector, Wire::of(&lab), HOST, 1001);
    is_seen(&collector, Wire::of(&lab), SECOND_HOST, 1002);
    plug_in_second(&lab);
    collector.wait_for_line(&format!("{SECOND} is back and watched again"));
    is_seen(&collector, second(&lab), SECOND_HOST, 1003);
    lab.unplug();
    collector.wait_for_line(&format!("{DEVICE} is gone; waiting for it"));
    is_seen(&collector, second(&lab), SECOND_HOST, 1004);
    lab.plug_in(&[HOST]);
    collector.wait_for_line(&format!("{DEVICE} is back and watched again"));
    is_seen(&collector, Wire::of(&lab), HOST, 1005);
    is_seen(&collector, second(&lab), SECOND_HOST, 1006);
    let ended = collector.stop();
    assert!(ended.status.success(), "{}", ended.said);
    assert_eq!(ended.reported("lost"), 0, "{}", ended.said);
    assert_eq!(ended.said.matches(" is gone").count(), 2, "{}", ended.said);
}

fn what_passes_two_devices_is_one_file(way: &[&str]) {
    let lab = lab();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("metrics.prom");
    let metrics = ["-v", "--metrics-file", file.to_str().expect("UTF-8")];
    let collector = start(&lab, way, &metrics);
    let forwarded = tcp(end("10.1.0.1:1000"), end("10.2.0.1:443"), Tcp::Syn);
    Wire::of(&lab).arrive(&forwarded);
    second(&lab).leave(&forwarded);
    let expected = files(&["else/tcp/10.1.0.1-1000-10.2.0.1-443"]);
    collector.wait_for_files(&expected);
    let ended = collector.stop();
    assert_same_tree("forwarded", &expected, &ended.files);
    assert_eq!(flows(&ended), 2, "{}", ended.said);
    // Each has seen its own, and together they have seen all.
    let metrics = fs::read_to_string(&file).expect("metrics");
    let packets = [DEVICE, SECOND].map(|device| {
        let sample = format!("{{device=\"{DEVICE},{SECOND}\",on=\"{device}\"}} ");
        let line = metrics.lines().find(|line| line.contains(&sample)).expect("a sample");
        line.rsplit(' ').next().and_then(|it| it.parse::<u64>().ok()).expect("a number")
    });
    assert!(packets.iter().all(|packets| *packets > 0), "{packets:?}");
    assert_eq!(packets.iter().sum::<u64>(), ended.reported("packets seen"), "{}", ended.said);
    assert!(ended.said.contains(&format!("packets by device: {DEVICE}: {}", packets[0])));
}

/// What is read again after it was opened: capabilities of each thread.
#[test]
fn privileges_are_given_up_also_with_several_devices() {
    for (way, kept) in
        [(EBPF, "000000c000001000"), (XDP, "000000c000001000"), (PCAP, "0000000000002000")]
    {
        let lab = lab();
        let mut collector = start(&lab, way, &[]);
        lab.host.run("ip", &["link", "delete", SECOND]);
        collector.wait_for_line("is gone");
        plug_in_second(&lab);
        collector.wait_for_line("is back");
        let (frame, expected) = request(443);
        second(&lab).leave(&frame);
        collector.wait_for_files(&expected);
        let tasks = fs::read_dir(format!("/proc/{}/task", collector.id())).expect("threads");
        let mut readers = 0;
        for task in tasks {
            let task = task.expect("a thread").path();
            let name = fs::read_to_string(task.join("comm")).expect("a name");
            let status = fs::read_to_string(task.join("status")).expect("its status");
            let is_reader = name.trim() == "libpcap";
            readers += usize::from(is_reader);
            let kept = if is_reader { "0000000000000000" } else { kept };
            for set in ["CapPrm", "CapEff"] {
                assert!(status.contains(&format!("{set}:\t{kept}")), "{way:?} {name}: {status}");
            }
        }
        assert_eq!(readers, if way == PCAP { 2 } else { 0 });
        collector.stop();
    }
}

#[test]
fn a_device_that_is_not_there_is_named_and_nothing_is_made() {
    let lab = lab();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let tree = scratch.path().join("tree");
    for mode in ["ebpf", "pcap", "auto"] {
        let mut command = lab.host.command(env!("CARGO_BIN_EXE_conntrack"));
        command.args(["-d", DEVICE, "-d", "nosuchdev0", "-m", mode, "-p"]).arg(&tree);
        let output = command.output().expect("it runs");
        let error = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{error}");
        let start = "conntrack: no such device: nosuchdev0; there are: ";
        let listed = error.strip_prefix(start).expect("what is wrong").trim_end();
        assert!(listed.split(", ").any(|name| name == SECOND), "{error}");
        assert!(!tree.exists());
        assert_eq!(lab.hooks(), "");
    }
}
