//! Which addresses are this machine's: those that come and go between two batches, and those that another
//! device has.

use crate::support::{
    PATIENCE,
    collector::Collector,
    frames::{Tcp, Wire, tcp},
    lab::{DEVICE, Lab},
    usual::{HOST, each_way, end, pass_first_batch},
    wait_until,
};

const REMOTE: &str = "203.0.113.9:40000";
/// On `lo`, as anycast and load balancing have it.
const SERVICE: &str = "192.0.2.80";

each_way!(
    an_address_that_is_gone_before_the_next_batch_was_local,
    a_service_address_is_local_if_it_is_named,
);

fn an_address_that_is_gone_before_the_next_batch_was_local(way: &[&str]) {
    const SHORT_LIVED: &str = "192.168.200.99";
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let mut collector = Collector::start(&lab.host, &[way, &["--interval", "4s"]].concat());
    // Right behind a batch there is time until the next.
    let mut expected = pass_first_batch(&mut wire, &[&collector]);
    lab.host.add_address(DEVICE, SHORT_LIVED);
    // Signals come before events of addresses, and between two of them these are read.
    for _ in 0..2 {
        collector.ask_until("packets");
    }
    wire.arrive(&tcp(end(REMOTE), end(&format!("{SHORT_LIVED}:443")), Tcp::Syn));
    let network = format!("{SHORT_LIVED}/24");
    lab.host.run("ip", &["address", "delete", &network, "dev", DEVICE]);
    expected.insert(format!("in/tcp/INTERNET-PORT-{SHORT_LIVED}-443"));
    collector.wait_for_files(&expected);
}

fn a_service_address_is_local_if_it_is_named(way: &[&str]) {
    let lab = Lab::new(&[HOST]);
    lab.host.run("ip", &["address", "add", SERVICE, "dev", "lo"]);
    let mut wire = Wire::of(&lab);
    let syn = tcp(end(REMOTE), end(&format!("{SERVICE}:443")), Tcp::Syn);
    let mut collector = Collector::start(&lab.host, way);
    pass_first_batch(&mut wire, &[&collector]);
    wire.arrive(&syn);
    let said = collector.wait_for_line("is an address of this machine");
    assert!(said.contains(SERVICE) && said.contains(&format!("--local {SERVICE}")), "{said}");
    let file = format!("else/tcp/203.0.113.9-40000-{SERVICE}-443");
    assert!(wait_until(PATIENCE, || collector.files().contains(&file)), "{said}");
    collector.stop();

    let collector = Collector::start(&lab.host, &[way, &["--local", SERVICE]].concat());
    wire.arrive(&syn);
    let file = format!("in/tcp/INTERNET-PORT-{SERVICE}-443");
    let is_there = || collector.files().contains(&file);
    assert!(wait_until(PATIENCE, is_there), "{:#?}", collector.files());
    assert!(!collector.stop().said.contains("is an address of this machine"));
}
