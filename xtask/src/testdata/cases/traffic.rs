//! Cases of well-formed traffic: folding of addresses and ports, and times. Each list is in the order
//! of sending.

use crate::testdata::container::START;
use crate::testdata::frame::{Frame, ack, syn, syn_ack, tcp, udp};
use crate::testdata::packet::{ACK, FIN, PSH, RST};

/// Exactly the README's example tree: many source ports and peers fold into one file; answers and
/// later segments make none.
pub(in crate::testdata) fn seed() -> Vec<Frame> {
    vec![
        // Neighbours' announcements, seen because they are multicast or broadcast.
        udp("192.168.200.214:5353", "224.0.0.251:5353"),
        udp("192.168.200.219:5353", "224.0.0.251:5353"),
        udp("192.168.200.246:5353", "224.0.0.251:5353"),
        udp("192.168.200.226:57621", "192.168.200.255:57621"),
        udp("192.168.200.214:5353", "224.0.0.251:5353"),
        // Two name servers, asked from several ports; both answer.
        udp("192.168.200.230:40001", "10.59.184.10:53"),
        udp("10.59.184.10:53", "192.168.200.230:40001"),
        udp("192.168.200.230:40002", "10.59.48.10:53"),
        udp("192.168.200.230:40003", "10.59.184.10:53"),
        udp("10.59.48.10:53", "192.168.200.230:40002"),
        udp("10.59.184.10:53", "192.168.200.230:40003"),
        // An announcement of our own, to the network and to everyone.
        udp("192.168.200.230:17500", "192.168.200.255:17500"),
        udp("192.168.200.230:17500", "255.255.255.255:17500"),
        udp("192.168.200.230:17501", "192.168.200.255:17500"),
        // Two web servers, three connections, with what follows their opening.
        syn("192.168.200.230:50001", "203.0.113.10:443"),
        syn_ack("203.0.113.10:443", "192.168.200.230:50001"),
        ack("192.168.200.230:50001", "203.0.113.10:443"),
        tcp("192.168.200.230:50001", "203.0.113.10:443", PSH | ACK),
        tcp("203.0.113.10:443", "192.168.200.230:50001", PSH | ACK),
        syn("192.168.200.230:50002", "203.0.113.10:443"),
        syn_ack("203.0.113.10:443", "192.168.200.230:50002"),
        syn("192.168.200.230:50003", "198.51.100.20:443"),
        tcp("198.51.100.20:443", "192.168.200.230:50003", RST | ACK),
        tcp("192.168.200.230:50001", "203.0.113.10:443", FIN | ACK),
        tcp("203.0.113.10:443", "192.168.200.230:50001", FIN | ACK),
        // The rest of a connection between neighbours: its opening was not seen.
        ack("192.168.200.214:50004", "192.168.200.219:22"),
    ]
}

/// Both families, both transports, all three directions, all kinds of peer. Every flag has a
/// `mix+<flag>.args` and `.tree` with it.
pub(in crate::testdata) fn mix() -> Vec<Frame> {
    [mix_out(), mix_in(), mix_else()].concat()
}

/// What the device opens; and answers, which make no files.
fn mix_out() -> Vec<Frame> {
    vec![
        // TCP: two web servers fold, an inside host does not; the edges of 172.16.0.0/12.
        syn("192.168.200.230:50001", "203.0.113.10:443"),
        syn_ack("203.0.113.10:443", "192.168.200.230:50001"),
        ack("192.168.200.230:50001", "203.0.113.10:443"),
        syn("192.168.200.230:50002", "198.51.100.20:443"),
        syn("192.168.200.230:50003", "10.1.2.3:22"),
        syn("192.168.200.230:50004", "172.15.255.255:8001"),
        syn("192.168.200.230:50005", "172.16.0.0:8002"),
        syn("192.168.200.230:50006", "172.31.255.255:8003"),
        syn("192.168.200.230:50007", "172.32.0.0:8004"),
        syn("[2001:db8:200::230]:50008", "[2001:db8:1::10]:443"),
        syn_ack("[2001:db8:1::10]:443", "[2001:db8:200::230]:50008"),
        syn("[2001:db8:200::230]:50009", "[fd00::22]:22"),
        // UDP to system ports, with answers.
        udp("192.168.200.230:40001", "10.59.184.10:53"),
        udp("10.59.184.10:53", "192.168.200.230:40001"),
        udp("[2001:db8:200::230]:40002", "[2001:db8:53::53]:53"),
        udp("[2001:db8:53::53]:53", "[2001:db8:200::230]:40002"),
        udp("192.168.200.230:40003", "198.51.100.123:123"),
        udp("198.51.100.123:123", "192.168.200.230:40003"),
        // UDP to everyone: IPv4 broadcast and multicast are internet, IPv6 multicast is not.
        udp("192.168.200.230:17500", "255.255.255.255:17500"),
        udp("192.168.200.230:17500", "192.168.200.255:17500"),
        udp("192.168.200.230:5353", "224.0.0.251:5353"),
        udp("[fe80::230]:5353", "[ff02::fb]:5353"),
    ]
}

/// What others open. 56456 and 45390 are ports of local servers, as only `-u` can tell.
fn mix_in() -> Vec<Frame> {
    vec![
        syn("198.51.100.7:51000", "192.168.200.230:22"),
        syn_ack("192.168.200.230:22", "198.51.100.7:51000"),
        syn("203.0.113.8:51001", "192.168.200.230:22"),
        syn("10.1.2.4:51002", "192.168.200.230:22"),
        syn("[2001:db8:2::7]:51003", "[2001:db8:200::230]:22"),
        syn("[fe80::7]:51004", "[fe80::230]:22"),
        udp("[2001:db8:2::7]:40100", "[2001:db8:200::230]:4433"),
        udp("[fd00::22]:40101", "[2001:db8:200::230]:4433"),
        udp("172.31.255.255:40102", "192.168.200.230:4433"),
        udp("172.32.0.0:40103", "192.168.200.230:4433"),
        // Asked and answered: without -u the answer is a connection of its own.
        udp("203.0.113.44:40444", "192.168.200.230:56456"),
        udp("192.168.200.230:56456", "203.0.113.44:40444"),
        // Answering to a system port: without -u that port is seen from now on, with -u it is not.
        udp("192.168.200.230:45390", "10.3.3.3:514"),
        udp("10.3.3.3:514", "192.168.200.230:45390"),
    ]
}

/// Traffic between others.
fn mix_else() -> Vec<Frame> {
    vec![
        udp("192.168.200.214:5353", "224.0.0.251:5353"),
        udp("192.168.200.226:57621", "192.168.200.255:57621"),
        udp("0.0.0.0:68", "255.255.255.255:67"),
        udp("203.0.113.9:4500", "192.168.200.214:4500"),
        udp("[fe80::214]:5353", "[ff02::fb]:5353"),
        syn("192.168.200.214:52000", "192.168.200.1:80"),
        syn_ack("192.168.200.1:80", "192.168.200.214:52000"),
        syn("[2001:db8:200::214]:52001", "[2001:db8:1::10]:443"),
    ]
}

/// The edges of what is internet, by destination port: 80xx IPv4, 81xx IPv6, 82xx as the source
/// of arriving traffic, 83xx where an internet address must stay because it is not the peer's.
pub(in crate::testdata) fn internet() -> Vec<Frame> {
    let mut frames: Vec<Frame> = [
        "9.255.255.255:8001",
        "10.0.0.0:8002",
        "10.255.255.255:8003",
        "11.0.0.0:8004",
        "172.15.255.255:8005",
        "172.16.0.0:8006",
        "172.31.255.255:8007",
        "172.32.0.0:8008",
        "192.167.255.255:8009",
        "192.168.0.0:8010",
        "192.168.255.255:8011",
        "192.169.0.0:8012",
        // Not routed on the internet, but outside the three private networks.
        "100.64.0.1:8013",
        "169.254.0.1:8014",
        "127.0.0.1:8015",
        "239.255.255.250:8016",
        "255.255.255.255:8017",
        "0.0.0.0:8018",
    ]
    .map(|destination| udp("192.168.200.230:40000", destination))
    .into();
    frames.extend(
        [
            "[1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:8101",
            "[2000::]:8102",
            "[3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:8103",
            "[4000::]:8104",
            "[fc00::]:8105",
            "[fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:8106",
            "[fe80::1]:8107",
            "[ff02::1]:8108",
            // Multicast of global scope is still not global unicast.
            "[ff0e::1]:8109",
            "[::1]:8110",
        ]
        .map(|destination| udp("[2001:db8:200::230]:40000", destination)),
    );
    frames.extend([
        syn("172.15.255.255:50000", "192.168.200.230:8201"),
        syn("172.16.0.0:50000", "192.168.200.230:8202"),
        syn("[2000::]:50000", "[2001:db8:200::230]:8203"),
        syn("[4000::]:50000", "[2001:db8:200::230]:8204"),
        syn("203.0.113.230:50000", "10.0.0.1:8301"),
        syn("198.51.100.7:50000", "203.0.113.230:8302"),
        syn("198.51.100.7:50000", "203.0.113.9:8303"),
    ]);
    frames
}

/// IPv6 addresses as names: one for each rule of RFC 5952, section 4.
pub(in crate::testdata) fn ipv6_text() -> Vec<Frame> {
    vec![
        // 4.1 and 4.3: no leading zeros, lower case.
        udp("[2001:0DB8::0ABC:00DE]:40001", "[fd00::5952]:7001"),
        // 4.2.1: shortened as far as possible.
        udp("[2001:db8:0:0:0:0:2:1]:40002", "[fd00::5952]:7002"),
        // 4.2.2: one field of zeros is not shortened.
        udp("[2001:db8:0:1:1:1:1:1]:40003", "[fd00::5952]:7003"),
        // 4.2.3: the longest run, and of two the first.
        udp("[2001:0:0:1:0:0:0:1]:40004", "[fd00::5952]:7004"),
        udp("[2001:db8:0:0:1:0:0:1]:40005", "[fd00::5952]:7005"),
        // The shortest name, a run at the end, and the longest name.
        udp("[::]:40006", "[fd00::5952]:7006"),
        udp("[1:0:0:0:0:0:0:0]:40007", "[fd00::5952]:7007"),
        udp(
            "[abcd:ef01:2345:6789:abcd:ef01:2345:6789]:40008",
            "[fedc:ba98:7654:3210:fedc:ba98:7654:3210]:7008",
        ),
    ]
}

/// A day of traffic: a file's time is that of its connection's last counted packet, from whichever
/// source port or internet peer. `times.mtimes` has them.
pub(in crate::testdata) fn times() -> Vec<Frame> {
    const HOUR: u64 = 3600;
    vec![
        udp("192.168.200.230:40001", "10.0.0.53:53").at(0),
        udp("10.0.0.53:53", "192.168.200.230:40001").at(1),
        syn("192.168.200.230:50001", "192.0.2.80:443").at(HOUR),
        syn_ack("192.0.2.80:443", "192.168.200.230:50001").at(HOUR + 1),
        ack("192.168.200.230:50001", "192.0.2.80:443").at(HOUR + 2),
        syn("198.51.100.7:51000", "192.168.200.230:22").at(HOUR + 1800),
        // From another port, and its answer two hours after the port was first seen.
        udp("192.168.200.230:40002", "10.0.0.53:53").at(2 * HOUR),
        udp("10.0.0.53:53", "192.168.200.230:40002").at(2 * HOUR + 1),
        // Another server of the internet; its last segment does not count.
        syn("192.168.200.230:50002", "198.51.100.80:443").at(2 * HOUR + 1800),
        ack("192.168.200.230:50002", "198.51.100.80:443").at(3 * HOUR),
        udp("192.168.200.214:5353", "224.0.0.251:5353").at(3 * HOUR + 1800),
        udp("192.168.200.214:5353", "224.0.0.251:5353").at(4 * HOUR),
        udp("[2001:db8:200::230]:40003", "[2001:db8:53::53]:53").at(4 * HOUR + 1800),
        udp("192.0.2.9:40009", "192.168.200.230:4433").at(5 * HOUR),
        udp("203.0.113.9:40010", "192.168.200.230:4433").at(6 * HOUR),
        // The day's first datagram again.
        udp("192.168.200.230:40001", "10.0.0.53:53").at(24 * HOUR),
    ]
}

/// Times that a signed number of 32 bits does not hold.
pub(in crate::testdata) fn times_until_2106() -> Vec<Frame> {
    let at = |unix: u64, frame: Frame| frame.at(unix - START);
    vec![
        at(0x7fff_ffff, udp("192.168.200.230:40001", "10.0.0.1:2037")),
        at(0x8000_0000, udp("192.168.200.230:40001", "10.0.0.1:2038")),
        at(0xffff_ffff, syn("192.168.200.230:50001", "10.0.0.1:2106")),
    ]
}

/// A clock that was far off for one packet. Its neighbours' times are their own.
pub(in crate::testdata) fn times_far_off() -> Vec<Frame> {
    vec![
        udp("192.168.200.230:40001", "10.0.0.1:1001").at(0),
        udp("192.168.200.230:40002", "10.0.0.1:1002").at(0),
        syn("192.168.200.230:50001", "10.0.0.1:1003").at(100_000_000),
        udp("192.168.200.230:40004", "10.0.0.1:1004").at(0),
        // Of a connection's packets the latest counts, also where it is the one that is far off.
        udp("192.168.200.230:40005", "10.0.0.1:1005").at(100_000_000),
        udp("192.168.200.230:40005", "10.0.0.1:1005").at(1),
        udp("192.168.200.230:40006", "10.0.0.1:1006").at(1),
    ]
}
