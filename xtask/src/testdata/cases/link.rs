//! Cases about the frame: VLAN tags, what is not TCP or UDP over IP, and frames that end early.

use super::headers::{syn4, syn6, udp4, udp6};
use crate::testdata::frame::{
    ARP, C_TAG, Frame, IPV4, IPV6, LLDP, MPLS, PPPOE, S_TAG, ethernet, ip, llc, syn, udp,
    udp_carrying,
};
use crate::testdata::packet::{
    DCCP, GRE, ICMP, ICMP_FOR_IPV6, IGMP, IPV4_IN_IP, IPV6_IN_IP, SCTP, UDP_LITE,
};

/// Up to two tags of either kind. The destination port tells a frame from the others: from 9000
/// on it must not show up.
pub(in crate::testdata) fn vlan() -> Vec<Frame> {
    vec![
        udp4(1401),
        udp4(1402).vlan(7),
        udp4(1403).qinq(1, 2),
        udp4(1404).tags(&[(C_TAG, 1), (C_TAG, 2)]),
        udp4(1405).tags(&[(S_TAG, 1)]),
        // Priority without a VLAN (VID 0), and all bits of the tag set.
        udp4(1406).vlan(0),
        udp4(1407).tags(&[(C_TAG, 0xe000)]),
        udp4(1408).tags(&[(C_TAG, 0xffff)]),
        syn4(1409).vlan(7),
        syn4(1410).qinq(1, 2),
        udp6(1411).vlan(7),
        udp6(1412).qinq(1, 2),
        syn6(1413).vlan(7),
        syn6(1414).qinq(1, 2),
        udp4(1415).vlan(7).pad_to(64),
        udp4(9401).tags(&[(C_TAG, 1), (C_TAG, 2), (C_TAG, 3)]),
        udp6(9402).tags(&[(S_TAG, 1), (S_TAG, 2), (C_TAG, 3)]),
        syn4(9403).tags(&[(S_TAG, 1), (C_TAG, 2), (C_TAG, 3)]),
        // The version must agree with the type inside the tag; the tag must be whole.
        udp4(9404).vlan(7).ethertype(IPV6),
        udp6(9405).qinq(1, 2).ethertype(IPV4),
        udp4(9406).vlan(7).truncate(15),
        udp4(9407).vlan(7).truncate(17),
        udp4(9408).vlan(7).truncate(14 + 4 + 20 + 3),
        udp4(1416).vlan(7).truncate(14 + 4 + 20 + 4),
    ]
}

/// Everything on the wire that is no flow. The only flows are a tunnel's two ends, by their outer
/// header.
pub(in crate::testdata) fn not_ip() -> Vec<Frame> {
    [not_internet_protocol(), not_tcp_or_udp(), tunnels()].concat()
}

fn not_internet_protocol() -> Vec<Frame> {
    let packet = packet_of(&udp4(9501));
    // RFC 826: Ethernet, IPv4, their address lengths, request; from 192.168.200.230 to 10.0.0.1.
    let arp = [
        0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 168, 200, 230, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1,
    ];
    // IEEE 802.1AB, clause 8: chassis and port by MAC address, 120 s to live, end.
    let lldp = [2, 7, 4, 2, 0, 0, 0, 0, 1, 4, 7, 3, 2, 0, 0, 0, 0, 1, 6, 2, 0, 120, 0, 0];
    // IEEE 802.1D, 9.3: LLC of the spanning tree (0x42), then a topology change notification.
    let spanning_tree = [0x42, 0x42, 3, 0, 0, 0, 0x80];
    // RFC 1042: IPv4 in an 802.3 frame, by SNAP. Has no EtherType and is not looked into.
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], packet.as_slice()].concat();
    // RFC 3032, section 2.1: label 16, bottom of the stack, TTL 64.
    let mpls = [&[0, 1, 1, 64], packet.as_slice()].concat();
    // RFC 2516, section 4: session 1, length; then PPP's number of IPv4.
    let pppoe = [&[0x11, 0, 0, 1, 0, 38, 0, 0x21], packet.as_slice()].concat();
    vec![
        ethernet(ARP, &arp).pad_to(60),
        ethernet(ARP, &arp).vlan(7).pad_to(64),
        ethernet(LLDP, &lldp).pad_to(60),
        llc(&spanning_tree).pad_to(60),
        llc(&spanning_tree).vlan(7).pad_to(64),
        llc(&snap),
        ethernet(MPLS, &mpls),
        ethernet(PPPOE, &pppoe),
        // Nothing behind the type.
        ethernet(IPV4, &[]),
        ethernet(IPV6, &[]),
    ]
}

fn not_tcp_or_udp() -> Vec<Frame> {
    let (us, peer) = ("192.168.200.230", "10.0.0.1");
    // RFC 792: port unreachable, with the packet that was refused.
    let unreachable = [&[3, 3, 0, 0, 0, 0, 0, 0], packet_of(&udp4(9511)).as_slice()].concat();
    // RFC 4861, section 4.3: neighbour solicitation for fd00::1.
    let solicitation =
        [135, 0, 0, 0, 0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    vec![
        // RFC 792: echo request 1, sequence 1.
        ip(us, peer, ICMP, &[8, 0, 0xf7, 0xfd, 0, 1, 0, 1]),
        ip(peer, us, ICMP, &unreachable),
        ip("2001:db8:200::230", "ff02::1:ff00:1", ICMP_FOR_IPV6, &solicitation),
        // RFC 2236: a report for 224.0.0.251.
        ip(us, "224.0.0.251", IGMP, &[0x16, 0, 9, 4, 224, 0, 0, 251]),
        // These have ports where UDP has them.
        udp4(9512).protocol(SCTP),
        udp4(9513).protocol(UDP_LITE),
        udp4(9514).protocol(DCCP),
        udp6(9515).protocol(SCTP),
    ]
}

fn tunnels() -> Vec<Frame> {
    let (us, peer) = ("192.168.200.230", "10.0.0.1");
    // RFC 2784, section 2: no options, version 0, EtherType.
    let in_gre = [&[0, 0, 8, 0], packet_of(&udp4(9521)).as_slice()].concat();
    // RFC 7348, section 5: a valid network identifier, 7; then a whole frame.
    let vxlan = [&[8, 0, 0, 0, 0, 0, 7, 0], udp4(9522).bytes().as_slice()].concat();
    vec![
        ip(us, peer, GRE, &in_gre),
        ip(us, peer, IPV4_IN_IP, &packet_of(&syn4(9523))),
        ip(us, peer, IPV6_IN_IP, &packet_of(&syn6(9524))),
        ip("2001:db8:200::230", "fd00::1", IPV4_IN_IP, &packet_of(&syn4(9525))),
        udp_carrying("192.168.200.230:50001", "10.0.0.2:4789", &vxlan),
        udp_carrying("10.0.0.2:50002", "192.168.200.230:4789", &vxlan),
    ]
}

/// The packet in an untagged frame.
fn packet_of(frame: &Frame) -> Vec<u8> {
    frame.bytes().split_off(14)
}

/// Frames that were cut at every length, up to the first that has all that is asked for: ports,
/// and TCP's flags. The source port is 40000 and the length, so the tree shows where it began.
pub(in crate::testdata) fn truncated() -> Vec<Frame> {
    let (ethernet, ipv4, ipv6) = (14, 20, 40);
    let (ports, flags) = (4, 14);
    let (here, there) = ("192.0.2.1", "198.51.100.1:7000");
    let (here6, there6) = ("[2001:db8::1]", "[2001:db8::2]:7000");
    [
        up_to(ethernet + ipv4 + ports, udp, here, there),
        up_to(ethernet + ipv4 + flags, syn, here, there),
        up_to(ethernet + ipv6 + ports, udp, here6, there6),
        up_to(ethernet + ipv6 + flags, syn, here6, there6),
    ]
    .concat()
}

fn up_to(enough: usize, frame: fn(&str, &str) -> Frame, from: &str, to: &str) -> Vec<Frame> {
    (0..=enough)
        .map(|length| frame(&format!("{from}:{}", 40000 + length), to).truncate(length))
        .collect()
}
