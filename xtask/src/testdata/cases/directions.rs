//! Cases about who began: the UDP reply rule, which depends on the order of packets, and TCP's flags.
//! Each list is in the order of sending.

use crate::testdata::frame::{Frame, syn, syn_ack, tcp, udp};
use crate::testdata::packet::{ACK, CWR, ECE, FIN, PSH, RST, SYN, URG};

/// Corner cases of the UDP reply rule; 5555 is a local server's port (`-u`).
pub(in crate::testdata) fn udp_replies() -> Vec<Frame> {
    [ports_and_order(), local_server(), edges_of_the_system_ports(), both_families(), bystanders()]
        .concat()
}

fn ports_and_order() -> Vec<Frame> {
    vec![
        // A request, then its answer: the answer is not in `in`.
        udp("192.168.200.230:40001", "10.0.0.53:53"),
        udp("10.0.0.53:53", "192.168.200.230:40001"),
        // The port is remembered, whoever sends from it.
        udp("10.0.0.54:53", "192.168.200.230:40005"),
        udp("203.0.113.66:53", "192.168.200.230:9999"),
        // An answer before its request: only the second answer is recognised.
        udp("10.0.0.123:123", "192.168.200.230:40002"),
        udp("192.168.200.230:40002", "10.0.0.123:123"),
        udp("10.0.0.123:123", "192.168.200.230:40003"),
        // From port 1024 on answers are not recognised: both are recorded.
        udp("192.168.200.230:40004", "10.0.0.80:8053"),
        udp("10.0.0.80:8053", "192.168.200.230:40004"),
        // Between two addresses of the device: out, both ways.
        udp("192.168.200.230:40015", "192.168.200.231:389"),
        udp("192.168.200.231:389", "192.168.200.230:40015"),
    ]
}

fn local_server() -> Vec<Frame> {
    vec![
        // Sent from the server's port: not recorded, and 69 is not seen by it.
        udp("192.168.200.230:5555", "10.0.0.69:69"),
        udp("10.0.0.69:69", "192.168.200.230:5555"),
        // To the server's port: recorded, unless from a port that is seen.
        udp("10.0.0.70:40070", "192.168.200.230:5555"),
        udp("10.0.0.53:53", "192.168.200.230:5555"),
        // The same port elsewhere means nothing.
        udp("192.168.200.230:40006", "10.0.0.5:5555"),
        udp("10.0.0.7:5555", "10.0.0.8:40071"),
    ]
}

fn edges_of_the_system_ports() -> Vec<Frame> {
    vec![
        udp("192.168.200.230:40007", "10.0.0.9:0"),
        udp("10.0.0.9:0", "192.168.200.230:40007"),
        udp("192.168.200.230:0", "10.0.0.9:9000"),
        udp("10.0.0.9:9001", "192.168.200.230:0"),
        udp("192.168.200.230:40008", "10.0.0.10:1023"),
        udp("10.0.0.10:1023", "192.168.200.230:40008"),
        udp("192.168.200.230:40009", "10.0.0.11:1024"),
        udp("10.0.0.11:1024", "192.168.200.230:40009"),
    ]
}

fn both_families() -> Vec<Frame> {
    vec![
        udp("[2001:db8:200::230]:40010", "[fd00::161]:161"),
        udp("[fd00::161]:161", "[2001:db8:200::230]:40010"),
        udp("[fd00::162]:162", "[2001:db8:200::230]:40011"),
        udp("[2001:db8:200::230]:40011", "[fd00::162]:162"),
        udp("[fd00::162]:162", "[2001:db8:200::230]:40016"),
        udp("[2001:db8:200::230]:40017", "[fd00::80]:8053"),
        udp("[fd00::80]:8053", "[2001:db8:200::230]:40017"),
        // Seen over one family is seen over the other.
        udp("[fd00::53]:53", "[2001:db8:200::230]:40012"),
        udp("10.0.0.161:161", "192.168.200.230:40018"),
    ]
}

/// What does not make a port seen, and what a seen port does not concern.
fn bystanders() -> Vec<Frame> {
    vec![
        // Others' requests.
        udp("10.0.0.7:40000", "10.0.0.8:514"),
        udp("10.0.0.8:514", "192.168.200.230:40013"),
        // TCP to a system port.
        syn("192.168.200.230:50000", "10.0.0.12:25"),
        udp("10.0.0.12:25", "192.168.200.230:40014"),
        // TCP from a seen port.
        syn("10.0.0.53:53", "192.168.200.230:50001"),
        // Arriving datagrams to a system port.
        udp("10.0.0.13:40013", "192.168.200.230:88"),
        udp("10.0.0.14:88", "192.168.200.230:40019"),
        // Others' traffic from a seen port.
        udp("10.0.0.53:53", "10.0.0.8:40020"),
    ]
}

/// Requests and answers with the same time: the order of the records counts.
pub(in crate::testdata) fn same_instant() -> Vec<Frame> {
    let mut frames = Vec::new();
    for port in 101..=116 {
        let us = format!("192.168.200.230:{}", 40000 + port);
        let server = format!("10.0.0.1:{port}");
        frames.push(udp(&us, &server).at(0));
        frames.push(udp(&server, &us).at(0));
    }
    // The other way round: an answer before its request.
    frames.push(udp("10.0.0.1:200", "192.168.200.230:40200").at(0));
    frames.push(udp("192.168.200.230:40200", "10.0.0.1:200").at(0));
    frames
}

/// A clock set back between a request and its answer: the order of the records counts.
pub(in crate::testdata) fn clock_steps_back() -> Vec<Frame> {
    vec![
        udp("192.168.200.230:40001", "10.0.0.53:53").at(60),
        udp("10.0.0.53:53", "192.168.200.230:40001").at(30),
        udp("10.0.0.123:123", "192.168.200.230:40002").at(31),
        udp("192.168.200.230:40002", "10.0.0.123:123").at(10),
    ]
}

/// Which flags open a connection: SYN set and ACK clear, whatever else is set. Destination ports from
/// 9000 on must not show up.
pub(in crate::testdata) fn tcp_opening() -> Vec<Frame> {
    let flags = |port: u16, flags| tcp("192.168.200.230:50000", &format!("10.0.0.1:{port}"), flags);
    vec![
        syn("192.168.200.230:50000", "10.0.0.1:1001"),
        flags(1002, SYN | ECE | CWR),
        flags(1003, SYN | FIN),
        flags(1004, SYN | RST),
        flags(1005, SYN | PSH | URG),
        flags(1006, SYN | FIN | RST | PSH | URG | ECE | CWR),
        flags(1007, SYN).data(b"early"),
        flags(1008, SYN).reserved_bits(0xf),
        flags(9001, SYN | ACK),
        flags(9002, SYN | ACK | ECE),
        flags(9003, ACK),
        flags(9004, PSH | ACK).data(b"data"),
        flags(9005, FIN | ACK),
        flags(9006, RST),
        flags(9007, RST | ACK),
        flags(9008, FIN),
        flags(9009, 0),
        flags(9010, FIN | PSH | URG),
        flags(9011, FIN | SYN | RST | PSH | ACK | URG | ECE | CWR),
        flags(9012, ECE | CWR),
        // Arriving, and over IPv6.
        syn("10.0.0.2:50001", "192.168.200.230:1011"),
        syn_ack("10.0.0.2:50001", "192.168.200.230:9021"),
        syn("[2001:db8:200::230]:50000", "[fd00::1]:1021"),
        syn_ack("[2001:db8:200::230]:50000", "[fd00::1]:9031"),
        syn("[fd00::2]:50001", "[2001:db8:200::230]:1031"),
        syn_ack("[fd00::2]:50001", "[2001:db8:200::230]:9041"),
        // Between others.
        syn("10.0.0.3:50002", "10.0.0.4:1041"),
        syn_ack("10.0.0.4:1041", "10.0.0.3:50002"),
    ]
}
