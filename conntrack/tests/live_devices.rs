//! Which device is meant and how it is: odd names of its own and of others, alternative names, renamed,
//! down, moved to another namespace, made anew with the same index. Needs root.

use std::{thread, time::Duration};

use rustix::process::Signal;

use crate::support::{
    Files, PATIENCE, assert_same_tree,
    collector::Collector,
    frames::{Tcp, Wire, tcp},
    lab::{DEVICE, Lab, Namespace, PEER_DEVICE},
    traced::Traced,
    usual::{HOST, PCAP, each_way, end, request},
    wait_until,
};

each_way!(
    odd_names_are_in_nobody_s_way,
    an_alternative_name_is_a_name,
    a_renamed_device_is_another_one,
    a_device_that_is_down_is_waited_for,
    a_device_that_goes_down_is_watched_when_it_is_up_again,
    a_device_that_was_in_another_namespace_is_watched_again,
    a_device_that_is_made_anew_with_its_index_is_watched_again,
);

/// Runs a shell's command in the laboratory's host.
#[track_caller]
fn shell(lab: &Lab, command: &str) -> String {
    lab.host.run("sh", &["-c", command])
}

/// Sends a connection's first packet from the watched device, and waits for its file.
#[track_caller]
fn is_seen(lab: &Lab, collector: &Collector, port: u16) -> Files {
    let (frame, expected) = request(port);
    Wire::of(lab).leave(&frame);
    collector.wait_for_files(&expected);
    expected
}

/// Gives a device what no text is, and more alternative names than a page holds.
fn give_odd_names(lab: &Lab, device: &str) {
    shell(lab, &format!("ip link set dev {device} alias \"$(printf 'caf\\351 \\377')\""));
    shell(
        lab,
        &format!("ip link property add dev {device} altname \"$(printf 'x\\376{device}')\""),
    );
    shell(
        lab,
        &format!(
            "for number in $(seq 400); do \
                 name=$(printf '{device}-%0100d' $number); \
                 echo link property add dev {device} altname $name; \
             done | ip -batch -"
        ),
    );
    shell(
        lab,
        &format!(
            "ip address add 192.168.77.1/24 dev {device} label \"$(printf '{device}:\\377')\""
        ),
    );
}

fn odd_names_are_in_nobody_s_way(way: &[&str]) {
    for odd in ["ct-other", DEVICE] {
        let lab = Lab::new(&[HOST]);
        lab.host
            .run("ip", &["link", "add", "ct-other", "type", "veth", "peer", "name", "ct-rehto"]);
        give_odd_names(&lab, odd);
        let collector = Collector::start(&lab.host, way);
        let expected = is_seen(&lab, &collector, 443);
        let ended = collector.stop();
        assert_same_tree(odd, &expected, &ended.files);
        assert!(ended.status.success(), "{odd}: {}", ended.said);
        assert_eq!(ended.warnings(), [""; 0], "{odd}: {}", ended.said);
    }
}

#[test]
fn odd_names_are_not_in_the_way_of_all_devices() {
    let lab = Lab::new(&[HOST]);
    give_odd_names(&lab, DEVICE);
    let collector = Collector::start_on(&lab.host, "any", PCAP);
    let expected = is_seen(&lab, &collector, 443);
    assert_same_tree("any", &expected, &collector.stop().files);
}

#[test]
fn a_name_that_nobody_has_is_an_error_that_lists_those_there_are() {
    let lab = Lab::new(&[]);
    give_odd_names(&lab, DEVICE);
    let tree = tempfile::tempdir().expect("a scratch directory");
    for mode in ["ebpf", "pcap", "auto"] {
        let mut command = lab.host.command(env!("CARGO_BIN_EXE_conntrack"));
        command.args(["-d", "nosuchdev0", "-m", mode, "-p"]).arg(tree.path());
        let output = command.output().expect("it runs");
        let error = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{error}");
        let start = "conntrack: no such device: nosuchdev0; there are: ";
        let listed = error.strip_prefix(start).expect("what is wrong").trim_end();
        assert!(listed.split(", ").any(|name| name == DEVICE), "{error}");
    }
}

fn an_alternative_name_is_a_name(way: &[&str]) {
    let long = "a-name-that-is-longer-than-a-device-s-own-may-be";
    for name in ["uplink0", long] {
        let lab = Lab::new(&[HOST]);
        lab.host.run("ip", &["link", "property", "add", "dev", DEVICE, "altname", name]);
        let mut collector = Collector::start_on(&lab.host, name, way);
        let expected = is_seen(&lab, &collector, 443);
        // It keeps that name when its own becomes another.
        lab.host.run("ip", &["link", "set", DEVICE, "name", "ct-lan"]);
        lab.host.run("ip", &["link", "set", "ct-lan", "name", DEVICE]);
        let expected = &expected | &is_seen(&lab, &collector, 444);
        lab.unplug();
        collector.wait_for_line(&format!("{name} is gone; waiting for it"));
        let ended = collector.stop();
        assert!(ended.status.success(), "{}", ended.said);
        assert_same_tree(name, &expected, &ended.files);
    }
}

fn a_renamed_device_is_another_one(way: &[&str]) {
    let lab = Lab::new(&[HOST]);
    let mut collector = Collector::start(&lab.host, way);
    let before = is_seen(&lab, &collector, 443);
    lab.host.run("ip", &["link", "set", DEVICE, "name", "ct-lan"]);
    lab.peer.run("ip", &["link", "set", PEER_DEVICE, "name", "ct-nal"]);
    collector.wait_for_line("ct-host is gone; waiting for it");
    // Another one has its name now, with an address of its own.
    lab.plug_in(&["192.168.200.231"]);
    collector.wait_for_line("ct-host is back");
    let (src, dst) = (end("192.168.200.231:40000"), end("10.0.0.1:444"));
    let after: Files = ["out/tcp/192.168.200.231-PORT-10.0.0.1-444".to_owned()].into();
    // Up to the first batch, what was local to the one before may still be.
    Wire::of(&lab).leave(&tcp(src, dst, Tcp::Syn));
    collector.wait_for_files(&after);
    // What was its address is no longer that of the device of this name.
    let stranger = tcp(end("192.168.200.230:40000"), end("10.0.0.1:445"), Tcp::Syn);
    Wire::of(&lab).leave(&stranger);
    let others: Files = ["else/tcp/192.168.200.230-40000-10.0.0.1-445".to_owned()].into();
    collector.wait_for_files(&others);
    let ended = collector.stop();
    assert_eq!(ended.reported("lost"), 0, "{}", ended.said);
    assert_same_tree("renamed", &(&(&before | &after) | &others), &ended.files);
}

fn a_device_that_is_down_is_waited_for(way: &[&str]) {
    let lab = Lab::new(&[HOST]);
    lab.host.run("ip", &["link", "set", DEVICE, "down"]);
    let mut collector = Collector::start(&lab.host, way);
    if !collector.said_before("ct-host is down") {
        collector.wait_for_line("ct-host is down: nothing is seen until it is up");
    }
    lab.host.up(DEVICE);
    collector.wait_for_line("ct-host is up");
    let expected = is_seen(&lab, &collector, 443);
    let ended = collector.stop();
    assert!(ended.status.success(), "{}", ended.said);
    assert_same_tree("up", &expected, &ended.files);
    assert_eq!(ended.said.matches("is down").count(), 1, "{}", ended.said);
}

fn a_device_that_goes_down_is_watched_when_it_is_up_again(way: &[&str]) {
    let lab = Lab::new(&[HOST]);
    let mut collector = Collector::start(&lab.host, way);
    let before = is_seen(&lab, &collector, 443);
    for port in 444..447 {
        lab.host.run("ip", &["link", "set", DEVICE, "down"]);
        collector.wait_for_line("ct-host is down: nothing is seen until it is up");
        lab.host.up(DEVICE);
        collector.wait_for_line("ct-host is up");
        is_seen(&lab, &collector, port);
    }
    let ended = collector.stop();
    assert!(ended.status.success(), "{}", ended.said);
    assert!(ended.files.is_superset(&before));
}

/// libpcap refuses it, and then it is found to be up.
#[test]
fn a_device_that_comes_up_while_it_is_opened_is_watched() {
    let lab = Lab::new(&[HOST]);
    // It may come up at any moment, also right then.
    for (port, wait) in (443..447).zip([100, 200, 300, 400].map(Duration::from_millis)) {
        lab.host.run("ip", &["link", "set", DEVICE, "down"]);
        let mut collector = Collector::start(&lab.host, PCAP);
        // What libpcap does once it knows that the device is down.
        let _traced = Traced::with(collector.id(), "munmap", "delay_enter=300000");
        thread::sleep(wait);
        lab.host.up(DEVICE);
        collector.wait_for_line("ct-host is up and watched");
        is_seen(&lab, &collector, port);
        let ended = collector.stop();
        assert!(!ended.said.contains("cannot be watched"), "{}", ended.said);
    }
}

fn a_device_that_was_in_another_namespace_is_watched_again(way: &[&str]) {
    let lab = Lab::new(&[HOST]);
    let elsewhere = Namespace::new("elsewhere");
    let index = || shell(&lab, &format!("cat /sys/class/net/{DEVICE}/ifindex"));
    let before = index();
    let collector = Collector::start(&lab.host, way);
    let mut expected = is_seen(&lab, &collector, 443);
    for port in 444..447 {
        // So that it is never found missing; it keeps its index.
        collector.signal(Signal::STOP);
        let there = format!("ip link set {DEVICE} netns {}", elsewhere.name);
        let and_back =
            format!("ip -n {} link set {DEVICE} netns {}", elsewhere.name, lab.host.name);
        shell(&lab, &format!("{there} && {and_back}"));
        assert_eq!(index(), before);
        lab.host.add_address(DEVICE, HOST);
        lab.host.up(DEVICE);
        collector.signal(Signal::CONT);
        expected.extend(is_seen_in_the_end(&lab, &collector, port));
    }
    let ended = collector.stop();
    assert!(ended.status.success(), "{}", ended.said);
    assert!(ended.files.is_superset(&expected), "{:?}", ended.files);
}

fn a_device_that_is_made_anew_with_its_index_is_watched_again(way: &[&str]) {
    let lab = Lab::new(&[HOST]);
    let collector = Collector::start(&lab.host, way);
    let mut expected = is_seen(&lab, &collector, 443);
    for port in 444..447 {
        let index = shell(&lab, &format!("cat /sys/class/net/{DEVICE}/ifindex"));
        let peer = format!("peer name {PEER_DEVICE} netns {}", lab.peer.name);
        let script = format!(
            "printf 'link delete {DEVICE}\\nlink add {DEVICE} index {} mtu 65535 type veth {peer}\\n' \
             | ip -batch -",
            index.trim()
        );
        collector.signal(Signal::STOP);
        shell(&lab, &script);
        lab.host.add_address(DEVICE, HOST);
        lab.host.up(DEVICE);
        lab.peer.up(PEER_DEVICE);
        collector.signal(Signal::CONT);
        expected.extend(is_seen_in_the_end(&lab, &collector, port));
    }
    let ended = collector.stop();
    assert!(ended.status.success(), "{}", ended.said);
    assert!(ended.files.is_superset(&expected), "{:?}", ended.files);
}

/// As [`is_seen`], but what is sent before it was noticed that something is wrong may get lost.
#[track_caller]
fn is_seen_in_the_end(lab: &Lab, collector: &Collector, port: u16) -> Files {
    let (frame, expected) = request(port);
    let mut wire = Wire::of(lab);
    let is_there = wait_until(PATIENCE, || {
        wire.leave(&frame);
        thread::sleep(Duration::from_millis(20));
        collector.files().is_superset(&expected)
    });
    assert!(is_there, "it is blind: {expected:?} never came");
    expected
}

#[test]
fn a_diagnosis_takes_alternative_names_and_odd_ones() {
    let lab = Lab::new(&[]);
    lab.host.run("ip", &["link", "property", "add", "dev", DEVICE, "altname", "uplink0"]);
    give_odd_names(&lab, DEVICE);
    for name in [DEVICE, "uplink0"] {
        let mut command = lab.host.command(env!("CARGO_BIN_EXE_conntrack"));
        let output = command.args(["doctor", "-d", name]).output().expect("it runs");
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains(&format!("ok    device: {name} can be watched")), "{said}");
    }
}
