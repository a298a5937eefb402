//! Cases about IP headers: where the ports are, and whether there are any.
//!
//! Every frame is the device's, and its destination port identifies it: ports from 9000 on must not
//! show up in the tree.

use crate::testdata::frame::{Frame, IPV4, IPV6, syn, udp, udp_carrying};
use crate::testdata::packet::{
    ESP, Ext, FILLER, Fragment, HIP, ICMP_FOR_IPV6, MOBILITY, NO_NEXT_HEADER, SHIM6,
};

use Ext::{Auth, DestOptions, HopByHop, LongDestOptions, OverlongDestOptions, Routing};
use Fragment::{Atomic, First, Last, Middle, OtherBits};

/// Length of an Ethernet header and an IPv6 header.
const ETHERNET_AND_IPV6: usize = 14 + 40;

pub(super) fn udp4(port: u16) -> Frame {
    udp("192.168.200.230:40000", &format!("10.0.0.1:{port}"))
}

pub(super) fn syn4(port: u16) -> Frame {
    syn("192.168.200.230:50000", &format!("10.0.0.1:{port}"))
}

pub(super) fn udp6(port: u16) -> Frame {
    udp("[2001:db8:200::230]:40000", &format!("[fd00::1]:{port}"))
}

pub(super) fn syn6(port: u16) -> Frame {
    syn("[2001:db8:200::230]:50000", &format!("[fd00::1]:{port}"))
}

/// Lengths in the IPv4 header, right and wrong, and wrong fields of the transport header.
pub(in crate::testdata) fn ipv4_header() -> Vec<Frame> {
    [ipv4_header_length(), ipv4_version(), ipv4_total_length(), transport_nonsense()].concat()
}

fn ipv4_header_length() -> Vec<Frame> {
    vec![
        udp4(1005),
        udp4(1006).ipv4_options(1),
        udp4(1010).ipv4_options(5),
        udp4(1015).ipv4_options(10),
        syn4(1016).ipv4_options(10),
        // Shorter than a header can be.
        udp4(9000).ihl(0),
        udp4(9001).ihl(4),
        syn4(9002).ihl(4),
        // Longer than the packet.
        udp4(9003).ihl(15),
    ]
}

/// The version nibble and the `EtherType` must agree.
fn ipv4_version() -> Vec<Frame> {
    vec![
        udp4(9010).version(6),
        udp4(9011).version(5),
        udp4(9012).version(0),
        udp4(9013).ethertype(IPV6),
        udp6(9014).ethertype(IPV4),
        udp6(9015).version(4),
    ]
}

/// The total length bounds the packet; what lies behind is padding, even where it reads like ports.
fn ipv4_total_length() -> Vec<Frame> {
    vec![
        // Shorter than the header.
        udp4(9020).ip_length(4),
        udp4(9021).ip_length(19),
        udp4(9022).ipv4_options(10).ip_length(59),
        // The header only; then up to and into the ports; for TCP up to the flags.
        udp4(9023).ip_length(20).pad_to(60),
        udp4(9024).cut(0).pad_to(60),
        udp4(9025).ip_length(22).pad_to(60),
        udp4(9026).ip_length(23).pad_to(60),
        udp4(9027).cut(3).pad_to(60),
        udp4(1020).ip_length(24).pad_to(60),
        udp4(1021).cut(4).pad_to(60),
        syn4(9028).ip_length(33).pad_to(60),
        syn4(1022).ip_length(34).pad_to(60),
        syn4(1023).cut(14).pad_to(60),
        // None given: up to the frame's end, be it long or too short.
        udp4(1024).ip_length(0),
        syn4(1025).ip_length(0),
        udp4(1026).ipv4_options(10).ip_length(0),
        udp_carrying("192.168.200.230:40000", "10.0.0.1:1027", &[FILLER; 4000]).ip_length(0),
        udp4(9029).ip_length(0).cut(3),
        // More than the frame has: a capture with a short snaplen.
        udp4(1028).ip_length(60000),
        syn4(1029).ip_length(60000),
    ]
}

/// Ports and flags count, whatever the rest of their header says.
fn transport_nonsense() -> Vec<Frame> {
    vec![
        udp4(1030).udp_length(0),
        udp4(1031).udp_length(7),
        udp4(1032).udp_length(65535),
        syn4(1033).data_offset(0),
        syn4(1034).data_offset(4),
        syn4(1035).data_offset(15),
        udp4(1036).wrong_checksums(),
        syn4(1037).wrong_checksums(),
    ]
}

/// First fragments have ports, later ones only bytes that look like them.
pub(in crate::testdata) fn fragments() -> Vec<Frame> {
    [ipv4_fragments(), ipv6_fragments()].concat()
}

fn ipv4_fragments() -> Vec<Frame> {
    vec![
        udp4(1101).fragment(First),
        udp4(9101).fragment(Middle(185)),
        udp4(9102).fragment(Last(370)),
        syn4(1102).fragment(First),
        syn4(9103).fragment(Last(3)),
        // Each end of the offset field.
        udp4(9104).fragment(Last(1)),
        udp4(9105).fragment(Last(0x100)),
        udp4(9106).fragment(Last(0x1000)),
        syn4(9107).fragment(Middle(0x1fff)),
        // Bits that have nothing to do with it.
        udp4(1103).fragment(OtherBits),
        syn4(1104).fragment(OtherBits),
        // Ports or flags left to the second fragment (RFC 1858), and just not.
        udp4(9108).fragment(First).cut(3),
        syn4(9109).fragment(First).cut(8),
        syn4(9110).fragment(First).cut(13),
        udp4(1105).fragment(First).cut(4),
        udp4(1106).fragment(First).cut(8),
        syn4(1107).fragment(First).cut(14),
        // Behind options.
        udp4(1108).ipv4_options(10).fragment(First),
        udp4(9111).ipv4_options(10).fragment(Last(1)),
    ]
}

fn ipv6_fragments() -> Vec<Frame> {
    vec![
        udp6(1201).fragment(First),
        udp6(9201).fragment(Middle(181)),
        udp6(9202).fragment(Last(362)),
        syn6(1202).fragment(First),
        syn6(9203).fragment(Last(3)),
        udp6(9204).fragment(Last(1)),
        udp6(9205).fragment(Last(0x100)),
        udp6(9206).fragment(Last(0x1000)),
        syn6(9207).fragment(Middle(0x1fff)),
        // Not fragments, though they have the header (RFC 6946).
        udp6(1203).fragment(Atomic),
        syn6(1204).fragment(Atomic),
        udp6(1205).fragment(OtherBits),
        syn6(1206).fragment(OtherBits),
        udp6(9208).fragment(First).cut(3),
        syn6(9209).fragment(First).cut(8),
        syn6(9210).fragment(First).cut(13),
        udp6(1207).fragment(First).cut(4),
        udp6(1208).fragment(First).cut(8),
        syn6(1209).fragment(First).cut(14),
        // Among other headers.
        udp6(1210).ext(&[HopByHop]).fragment(First),
        udp6(1211).fragment(First).ext(&[DestOptions]),
        udp6(9211).ext(&[HopByHop]).fragment(Last(1)),
        udp6(9212).fragment(Last(1)).ext(&[DestOptions]),
    ]
}

/// IPv6 extension headers: walked by their own lengths, at most eight.
pub(in crate::testdata) fn ipv6_ext() -> Vec<Frame> {
    [ipv6_chains(), ipv6_dead_ends(), ipv6_payload_length(), ipv6_cut_chains()].concat()
}

fn ipv6_chains() -> Vec<Frame> {
    let fragment = Ext::Fragment(Atomic);
    let eight = [HopByHop, DestOptions, Routing, fragment, Auth, DestOptions, Routing, DestOptions];
    vec![
        udp6(1300),
        udp6(1301).ext(&[HopByHop]),
        udp6(1302).ext(&[Routing]),
        udp6(1303).ext(&[DestOptions]),
        udp6(1304).ext(&[fragment]),
        udp6(1305).ext(&[Auth]),
        syn6(1306).ext(&[HopByHop]),
        syn6(1307).ext(&[Routing]),
        syn6(1308).ext(&[DestOptions]),
        syn6(1309).ext(&[fragment]),
        syn6(1310).ext(&[Auth]),
        udp6(1311).ext(&[LongDestOptions(31)]),
        udp6(1312).ext(&[LongDestOptions(127)]),
        syn6(1313).ext(&[LongDestOptions(127), Auth]),
        udp6(1314).ext(&eight),
        syn6(1315).ext(&eight),
        udp6(1316).ext(&[DestOptions; 8]),
        udp6(9300).ext(&eight).ext(&[DestOptions]),
        syn6(9301).ext(&eight).ext(&[Auth]),
        udp6(9302).ext(&[DestOptions; 9]),
    ]
}

/// Next headers without ports, though the bytes look like them.
fn ipv6_dead_ends() -> Vec<Frame> {
    vec![
        udp6(9310).protocol(NO_NEXT_HEADER),
        udp6(9311).ext(&[DestOptions]).protocol(NO_NEXT_HEADER),
        udp6(9312).protocol(ESP),
        udp6(9313).ext(&[HopByHop, Routing]).protocol(ESP),
        udp6(9314).protocol(ICMP_FOR_IPV6),
        udp6(9315).protocol(MOBILITY),
        udp6(9316).protocol(HIP),
        udp6(9317).protocol(SHIM6),
    ]
}

/// The payload length bounds the packet, like IPv4's total length; it counts the extension headers.
fn ipv6_payload_length() -> Vec<Frame> {
    vec![
        udp6(9320).ip_length(1),
        udp6(9321).ip_length(3),
        udp6(1320).ip_length(4),
        udp6(9322).cut(3).pad_to(70),
        syn6(9323).ip_length(13),
        syn6(1321).ip_length(14),
        // In the extension header, behind it, in the ports, behind them.
        udp6(9324).ext(&[HopByHop]).ip_length(15),
        udp6(9325).ext(&[HopByHop]).ip_length(16),
        udp6(9326).ext(&[HopByHop]).ip_length(19),
        udp6(1322).ext(&[HopByHop]).ip_length(20),
        // None given: up to the frame's end.
        udp6(1323).ip_length(0),
        syn6(1324).ip_length(0),
        udp6(1325).ext(&[HopByHop]).ip_length(0),
        udp6(9327).ip_length(0).cut(3),
        udp6(1326).ip_length(60000),
    ]
}

/// Header chains that lead out of the packet.
fn ipv6_cut_chains() -> Vec<Frame> {
    vec![
        udp6(9330).ext(&[OverlongDestOptions]),
        udp6(9331).ext(&[OverlongDestOptions]).ip_length(0),
        udp6(9332).ext(&[HopByHop, OverlongDestOptions]),
        udp6(9333).truncate(ETHERNET_AND_IPV6 - 1),
        udp6(9334).ext(&[HopByHop]).truncate(ETHERNET_AND_IPV6),
        udp6(9335).ext(&[HopByHop]).truncate(ETHERNET_AND_IPV6 + 1),
        udp6(9336).ext(&[HopByHop, DestOptions]).truncate(ETHERNET_AND_IPV6 + 16 + 1),
        udp6(9337).ext(&[Auth]).truncate(ETHERNET_AND_IPV6 + 1),
        udp6(9338).fragment(First).truncate(ETHERNET_AND_IPV6 + 3),
        syn6(9339).ext(&[Routing]).truncate(ETHERNET_AND_IPV6 + 24 + 13),
        syn6(1330).ext(&[Routing]).truncate(ETHERNET_AND_IPV6 + 24 + 14),
    ]
}
