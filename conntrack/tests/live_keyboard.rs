//! At the keyboard, watching a device: which one is meant, what is shown while it runs and at its end.

use crate::support::{
    collector::Collector,
    frames::Wire,
    lab::{DEVICE, Lab},
    usual::{HOST, PCAP, request},
};

#[test]
fn without_a_device_it_is_eth0_or_that_of_the_default_route() {
    let lab = Lab::new(&[HOST]);
    let refused = lab.host.command(env!("CARGO_BIN_EXE_conntrack")).args(["-p", "/tmp/x"]).output();
    let refused = String::from_utf8(refused.expect("it runs").stderr).expect("UTF-8");
    assert_eq!(refused, "conntrack: no such device: eth0; there are: lo, ct-host\n");

    lab.host.run("ip", &["route", "add", "default", "dev", DEVICE]);
    let collector = Collector::start_without_device(&lab.host, PCAP);
    assert!(
        collector.said_before("no eth0 here, so it is ct-host, the device of the default route")
    );
    let mut wire = Wire::of(&lab);
    let (frame, expected) = request(443);
    wire.leave(&frame);
    collector.wait_for_files(&expected);
    assert!(collector.said_before("watching ct-host with"));
    assert!(collector.stop().status.success());

    lab.host.run("ip", &["link", "add", "eth0", "type", "veth", "peer", "eth1"]);
    let collector = Collector::start_without_device(&lab.host, PCAP);
    assert!(collector.said_before("watching eth0 with"));
    assert!(!collector.said_before("default route"));
}

#[test]
fn the_default_route_may_be_of_ipv6_only() {
    let lab = Lab::new(&["fd00::7"]);
    lab.host.run("ip", &["-6", "route", "add", "default", "dev", DEVICE]);
    let collector = Collector::start_without_device(&lab.host, PCAP);
    assert!(collector.said_before("watching ct-host with"));
}

#[test]
fn devices_are_listed_as_they_are_now() {
    let lab = Lab::new(&[HOST]);
    lab.host.run("ip", &["link", "add", "here0", "type", "veth", "peer", "name", "there0"]);
    lab.host.up("here0");
    lab.host.run("ip", &["route", "add", "default", "dev", DEVICE]);
    let listed = lab.host.run(env!("CARGO_BIN_EXE_conntrack"), &["-D"]);
    let row = |name: &str| {
        let row = listed.lines().find(|line| line.split(' ').next() == Some(name));
        row.unwrap_or_else(|| panic!("no {name} in {listed}"))
            .split_whitespace()
            .collect::<Vec<_>>()
    };
    let address = format!("{HOST}/24");
    assert_eq!(row(DEVICE)[..4], [DEVICE, "veth", "up", &address], "{listed}");
    assert_eq!(row(DEVICE).last(), Some(&"(default)"), "{listed}");
    assert_eq!(row("there0"), ["there0", "veth", "down"], "{listed}");
    assert_eq!(row("here0")[..4], ["here0", "veth", "no", "carrier"], "{listed}");
}
