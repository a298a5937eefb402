//! Cases about the frame: VLAN tags, other headers before IP, what is not TCP or UDP over IP, and
//! frames that end early.

use super::headers::{syn4, syn6, udp4, udp6};
use crate::testdata::frame::{
    ARP, C_TAG, Frame, I_TAG, IPV4, IPV6, LLDP, MACSEC, MPLS, MPLS_MULTICAST, OLD_S_TAG, PPPOE,
    PPPOE_DISCOVERY, S_TAG, ethernet, ip, llc, syn, udp, udp_carrying,
};
use crate::testdata::packet::{
    DCCP, Fragment, GRE, ICMP, ICMP_FOR_IPV6, IGMP, IPV4_IN_IP, IPV6_IN_IP, SCTP, UDP_LITE,
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
        // Before 802.1ad a provider's tag had this type.
        udp4(1417).tags(&[(OLD_S_TAG, 1)]),
        syn6(1418).tags(&[(OLD_S_TAG, 1), (C_TAG, 2)]),
        udp4(1419).tags(&[(OLD_S_TAG, 1), (OLD_S_TAG, 2)]),
        udp4(9409).tags(&[(OLD_S_TAG, 1), (C_TAG, 2), (C_TAG, 3)]),
    ]
}

/// IP behind other headers than tags. From 9000 on a port must not show up.
pub(in crate::testdata) fn encapsulated() -> Vec<Frame> {
    [in_pppoe(), in_mpls(), in_backbone(), in_llc()].concat()
}

fn in_pppoe() -> Vec<Frame> {
    let [udp, syn] = [packet_of(&udp4(1501)), packet_of(&syn6(1502))];
    let later = packet_of(&syn4(9603).fragment(Fragment::Last(1)));
    vec![
        ethernet(PPPOE, &pppoe(PPP_IPV4, &udp)),
        ethernet(PPPOE, &pppoe(PPP_IPV6, &syn)),
        ethernet(PPPOE, &pppoe(PPP_IPV4, &packet_of(&udp4(1504)))).vlan(7),
        ethernet(PPPOE, &pppoe(PPP_IPV4, &packet_of(&udp4(1505)))).qinq(1, 2),
        ethernet(PPPOE, &pppoe(PPP_MPLS, &mpls(1, &packet_of(&udp4(1506))))),
        // The shortest frame has padding.
        ethernet(PPPOE, &pppoe(PPP_IPV4, &packet_of(&syn4(1507)))).pad_to(60),
        // A later fragment, as without PPP.
        ethernet(PPPOE, &pppoe(PPP_IPV4, &later)),
        // PPP's number is the other family's.
        ethernet(PPPOE, &pppoe(PPP_IPV6, &packet_of(&udp4(9601)))),
        // It ends inside the ports.
        ethernet(PPPOE, &pppoe(PPP_IPV4, &packet_of(&udp4(9602)))).truncate(14 + 8 + 20 + 3),
    ]
}

fn in_mpls() -> Vec<Frame> {
    let stack = |labels, frame: &Frame| mpls(labels, &packet_of(frame));
    vec![
        ethernet(MPLS, &stack(1, &udp4(1511))),
        ethernet(MPLS, &stack(3, &syn6(1512))),
        ethernet(MPLS_MULTICAST, &stack(2, &udp4(1513))),
        ethernet(MPLS, &stack(2, &syn4(1514))).vlan(7),
        ethernet(MPLS, &stack(16, &udp6(1515))),
        ethernet(MPLS, &stack(17, &udp4(9611))),
        ethernet(MPLS, &stack(4, &udp4(9612))).truncate(14 + 15),
    ]
}

fn in_backbone() -> Vec<Frame> {
    let frame = |frame: &Frame| backbone(&frame.bytes());
    vec![
        ethernet(I_TAG, &frame(&udp4(1521))),
        ethernet(I_TAG, &frame(&udp4(1522))).tags(&[(S_TAG, 1)]),
        ethernet(I_TAG, &frame(&syn6(1523).vlan(7))).tags(&[(S_TAG, 1)]),
        // A backbone's tags and a customer's are counted each for themselves.
        ethernet(I_TAG, &frame(&udp4(1524).qinq(1, 2))).qinq(3, 4),
        ethernet(I_TAG, &frame(&ethernet(PPPOE, &pppoe(PPP_IPV4, &packet_of(&udp4(1525)))))),
        ethernet(I_TAG, &frame(&udp4(9621).tags(&[(S_TAG, 1), (C_TAG, 2), (C_TAG, 3)]))),
        ethernet(I_TAG, &frame(&udp4(9622))).truncate(14 + 17),
    ]
}

fn in_llc() -> Vec<Frame> {
    let in_snap = |organisation, frame: &Frame| {
        let ether_type = if frame.bytes()[12..14] == IPV6.to_be_bytes() { IPV6 } else { IPV4 };
        llc(&snap(organisation, ether_type, &packet_of(frame)))
    };
    vec![
        in_snap(RFC_1042, &udp4(1531)),
        in_snap(RFC_1042, &syn6(1532)),
        in_snap(BRIDGE_TUNNEL, &udp4(1533)),
        in_snap(RFC_1042, &udp4(1534)).vlan(7).pad_to(64),
        llc(&snap(RFC_1042, PPPOE, &pppoe(PPP_IPV4, &packet_of(&udp4(1535))))),
        // Of another organisation a type says nothing that we know.
        in_snap(CISCO, &udp4(9631)),
        in_snap(RFC_1042, &udp4(9632)).truncate(14 + 7),
    ]
}

const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
const PPP_MPLS: u16 = 0x0281;

/// RFC 2516, section 4: version 1 and type 1, session data, session 1, length; then PPP's protocol.
fn pppoe(protocol: u16, packet: &[u8]) -> Vec<u8> {
    let length = u16::try_from(packet.len() + 2).expect("a packet of the table is short");
    [&[0x11, 0, 0, 1], &length.to_be_bytes()[..], &protocol.to_be_bytes(), packet].concat()
}

/// RFC 3032, section 2.1: so many times label 16, TTL 64; the last is the bottom of the stack.
fn mpls(labels: usize, packet: &[u8]) -> Vec<u8> {
    let mut bytes = [0, 1, 0, 64].repeat(labels);
    bytes[labels * 4 - 2] = 1;
    bytes.extend(packet);
    bytes
}

/// IEEE 802.1Q, clause 9.7: priority 0 and instance 7; then the customer's frame.
fn backbone(frame: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 7], frame].concat()
}

/// RFC 1042, and the organisation of bridges by IEEE 802.1H.
const RFC_1042: [u8; 3] = [0, 0, 0];
const BRIDGE_TUNNEL: [u8; 3] = [0, 0, 0xf8];
const CISCO: [u8; 3] = [0, 0, 0x0c];

/// LLC of SNAP, unnumbered information; then whose type it is, and the type.
fn snap(organisation: [u8; 3], ether_type: u16, packet: &[u8]) -> Vec<u8> {
    [&[0xaa, 0xaa, 3], &organisation[..], &ether_type.to_be_bytes(), packet].concat()
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
    // RFC 2516, section 5.1: initiation, any service.
    let discovery = [0x11, 9, 0, 0, 0, 4, 1, 1, 0, 0];
    // RFC 1661, section 5: configure request 1 of link control, without options.
    let link_control = pppoe(0xc021, &[1, 1, 0, 4]);
    // RFC 2516, section 4: version 2, and a code that is not of a session.
    let mut other_version = pppoe(PPP_IPV4, &packet);
    other_version[0] = 0x12;
    let mut other_code = pppoe(PPP_IPV4, &packet);
    other_code[1] = 0xa7;
    // RFC 4448, section 4.6: a control word, then a whole frame.
    let pseudowire = mpls(1, &[&[0; 4], udp4(9502).bytes().as_slice()].concat());
    // IEEE 802.1AE, clause 9: tag control information, short length, packet number; then what is
    // encrypted.
    let macsec = [&[0x0c, 0, 0, 0, 0, 1], packet.as_slice()].concat();
    vec![
        ethernet(ARP, &arp).pad_to(60),
        ethernet(ARP, &arp).vlan(7).pad_to(64),
        ethernet(LLDP, &lldp).pad_to(60),
        llc(&spanning_tree).pad_to(60),
        llc(&spanning_tree).vlan(7).pad_to(64),
        ethernet(PPPOE_DISCOVERY, &discovery).pad_to(60),
        ethernet(PPPOE, &link_control).pad_to(60),
        ethernet(PPPOE, &other_version),
        ethernet(PPPOE, &other_code),
        ethernet(MPLS, &pseudowire),
        ethernet(MACSEC, &macsec),
        // Nothing behind the type.
        ethernet(IPV4, &[]),
        ethernet(IPV6, &[]),
    ]
}

fn not_tcp_or_udp() -> Vec<Frame> {
    let us = "192.168.200.230";
    let peer = "10.0.0.1";
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
    let us = "192.168.200.230";
    let peer = "10.0.0.1";
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
    let ethernet = 14;
    let ipv4 = 20;
    let ipv6 = 40;
    let ports = 4;
    let flags = 14;
    let here = "192.0.2.1";
    let there = "198.51.100.1:7000";
    let here6 = "[2001:db8::1]";
    let there6 = "[2001:db8::2]:7000";
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
