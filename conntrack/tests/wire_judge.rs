//! The frame parser against an independent parser, properties that hold for any bytes, and tables of complete
//! frames. The programs in the kernel are compared in `live_corpus.rs`; each header's parser has unit tests.

use std::{
    cell::RefCell,
    fmt::Debug,
    net::{IpAddr, Ipv4Addr},
};

use crate::support::generator::{
    CUSTOMER_TAG, Damage, Encapsulation, Ethernet, Extension, Frame, IPV4, IPV6, Ipv4, Ipv6, Kind,
    Length, OLD_SERVICE_TAG, Packet, SERVICE_TAG, Transport,
    check::check,
    dissect, flag,
    number::{AUTHENTICATION, DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING},
    strategies::{frames, valid_encapsulated_frames, valid_frames, valid_packet},
};
use conntrack_common::{
    address::Address,
    counters::{Counters, Outcome},
    flow::{FlowKey, Protocol},
    rules,
    wire::{self, LinkLayer, Segment, Skip},
};
use etherparse::{
    IpNumber, Ipv6ExtensionSlice, LaxNetSlice, LaxSlicedPacket, NetSlice, SlicedPacket,
    TcpHeaderSlice, TransportSlice, UdpHeaderSlice, ip_number,
};

const CASES: u32 = 10_000;

/// Fails with both results and their frame if they differ.
fn same<T: PartialEq + Debug>(
    what: &str,
    (one, other): (T, T),
    frame: impl Fn() -> String,
) -> Result<(), String> {
    if one == other {
        return Ok(());
    }
    Err(format!("{what}:\n{one:?}\n{other:?}\n{}", frame()))
}

fn parse(frame: &[u8]) -> Result<Segment, Skip> {
    wire::parse(frame, LinkLayer::Ethernet)
}

/// The result of parser and rules for a frame.
fn flow(frame: &Frame) -> Result<FlowKey, Skip> {
    rules::flow_key(&frame.bytes()[..], LinkLayer::Ethernet)
}

// An independent parser.

#[test]
fn etherparse_agrees_on_valid_ethernet_frames() {
    check(CASES, &valid_frames(), |frame| {
        let frame = frame.bytes();
        let judge = SlicedPacket::from_ethernet(&frame).map_err(|error| error.to_string());
        let both = (parse(&frame), judged(&judge?));
        same("parser, etherparse", both, || dissect::ethernet(&frame))
    });
}

/// Etherparse supports none of these headers, so it parses the packet alone.
#[test]
fn etherparse_agrees_on_packets_behind_other_headers() {
    check(CASES, &valid_encapsulated_frames(), |frame| {
        let packet = frame.packet.bytes();
        let judge = SlicedPacket::from_ip(&packet).map_err(|error| error.to_string());
        let both = (parse(&frame.bytes()), judged(&judge?));
        same("parser, etherparse", both, || format!("{frame:?}"))
    });
}

#[test]
fn etherparse_agrees_on_valid_packets_without_a_link_header() {
    check(CASES, &valid_packet(), |packet| {
        let packet = packet.bytes();
        let judge = SlicedPacket::from_ip(&packet).map_err(|error| error.to_string());
        let both = (wire::parse(&packet[..], LinkLayer::Ip), judged(&judge?));
        same("parser, etherparse", both, || dissect::ip(&packet))
    });
}

/// The expected result, from etherparse's. It does not parse ports of fragments, although the first has them,
/// so ports are read from the IP payload with etherparse's slices.
fn judged(packet: &SlicedPacket<'_>) -> Result<Segment, Skip> {
    let net = packet.net.as_ref().ok_or(Skip::NotIp)?;
    let payload = packet.ip_payload().expect("IP has a payload");
    if is_later_fragment(net) && says_so(net, payload.ip_number) {
        return Err(Skip::LaterFragment);
    }
    let (protocol, src_port, dst_port, tcp_flags) = match payload.ip_number {
        ip_number::TCP => {
            let tcp = TcpHeaderSlice::from_slice(payload.payload).expect("a TCP header");
            (Protocol::Tcp, tcp.source_port(), tcp.destination_port(), tcp_flags(&tcp))
        }
        ip_number::UDP => {
            let udp = UdpHeaderSlice::from_slice(payload.payload).expect("a UDP header");
            (Protocol::Udp, udp.source_port(), udp.destination_port(), 0)
        }
        _ => return Err(Skip::OtherProtocol),
    };
    let (src, dst) = addresses(net);
    Ok(Segment { src, dst, protocol, src_port, dst_port, tcp_flags })
}

fn addresses(net: &NetSlice<'_>) -> (Address, Address) {
    let address = |address: IpAddr| Address::from(address);
    match net {
        NetSlice::Ipv4(ipv4) => {
            let header = ipv4.header();
            (address(header.source_addr().into()), address(header.destination_addr().into()))
        }
        NetSlice::Ipv6(ipv6) => {
            let header = ipv6.header();
            (address(header.source_addr().into()), address(header.destination_addr().into()))
        }
        NetSlice::Arp(_) => panic!("ARP has no ports"),
    }
}

fn is_later_fragment(net: &NetSlice<'_>) -> bool {
    match net {
        NetSlice::Ipv4(ipv4) => ipv4.header().fragments_offset().value() != 0,
        NetSlice::Ipv6(ipv6) => ipv6.extensions().clone().into_iter().any(|extension| {
            let Ipv6ExtensionSlice::Fragment(fragment) = extension else { return false };
            fragment.fragment_offset().value() != 0
        }),
        NetSlice::Arp(_) => false,
    }
}

/// For a later IPv4 fragment of another protocol, our parser reports the protocol, which it reads first.
/// Neither is a flow.
fn says_so(net: &NetSlice<'_>, number: IpNumber) -> bool {
    matches!(net, NetSlice::Ipv6(_)) || matches!(number, ip_number::TCP | ip_number::UDP)
}

fn tcp_flags(tcp: &TcpHeaderSlice<'_>) -> u8 {
    let flags =
        [tcp.fin(), tcp.syn(), tcp.rst(), tcp.psh(), tcp.ack(), tcp.urg(), tcp.ece(), tcp.cwr()];
    flags.into_iter().rev().fold(0, |octet, flag| octet << 1 | u8::from(flag))
}

/// On unusual and invalid frames the two differ on purpose. Etherparse accepts `MACsec` tags, any number of
/// extension headers, AH in IPv4, a wrong IP version and a wrong total length; it rejects hop-by-hop options
/// that are not first and incomplete transport headers. But where both find ports they are the same, and
/// where etherparse finds ports the packet is neither truncated nor a later fragment.
#[test]
fn etherparse_reads_no_other_ports_in_odd_frames() {
    check(CASES, &frames(), |frame| {
        let frame = frame.bytes();
        let Ok(judge) = LaxSlicedPacket::from_ethernet(&frame) else { return Ok(()) };
        let ours = parse(&frame);
        let theirs = judge.transport.as_ref().and_then(ports);
        let differ = match (ours, theirs) {
            (Ok(ours), Some(theirs)) => (ours.src_port, ours.dst_port) != theirs,
            (Err(skip), Some(_)) => matches!(skip, Skip::Truncated | Skip::LaterFragment),
            (_, None) => false,
        };
        if differ {
            let answers = format!("parser: {ours:?}\netherparse: {theirs:?}\n");
            return Err(answers + &dissect::ethernet(&frame));
        }
        Ok(())
    });
}

fn ports(transport: &TransportSlice<'_>) -> Option<(u16, u16)> {
    match transport {
        TransportSlice::Udp(udp) => Some((udp.source_port(), udp.destination_port())),
        TransportSlice::Tcp(tcp) => Some((tcp.source_port(), tcp.destination_port())),
        _ => None,
    }
}

// Properties of the parser.

/// Otherwise the properties would be checked for fewer kinds of frames than they claim.
#[test]
fn the_corpus_has_every_outcome() {
    let seen = RefCell::new(Counters::default());
    let all = check(CASES, &frames(), |frame| {
        let outcome = flow(&frame).map_or_else(Outcome::Skipped, |_| Outcome::Flow);
        seen.borrow_mut().count(outcome);
        Ok(())
    });
    let seen = seen.into_inner();
    // Settings leave flows out, not frames.
    let skips =
        Skip::ALL.into_iter().filter(|skip| !matches!(skip, Skip::LeftOut | Skip::UdpServer));
    for outcome in [Outcome::Flow].into_iter().chain(skips.map(Outcome::Skipped)) {
        let times = seen.get(outcome);
        assert!(times > u64::from(all / 100), "{outcome:?} is only {times} of {all}");
    }
}

#[test]
fn nothing_makes_it_panic() {
    check(CASES, &frames(), |frame| {
        let frame = frame.bytes();
        for link in LinkLayer::ALL {
            let _whatever = wire::parse(&frame[..], link);
        }
        Ok(())
    });
}

/// Truncation never makes a flow of a frame without one, nor a different flow.
#[test]
fn a_cut_frame_says_what_the_whole_says_or_that_it_is_truncated() {
    check(CASES / 2, &frames(), |frame| {
        let frame = frame.bytes();
        let whole = parse(&frame);
        for length in 0..frame.len().min(256) {
            let cut = parse(&frame[..length]);
            if cut != whole && cut != Err(Skip::Truncated) {
                let no = format!("whole: {whole:?}\ncut to {length}: {cut:?}\n");
                return Err(no + &dissect::ethernet(&frame));
            }
        }
        Ok(())
    });
}

/// Padding includes all octets after the end of the packet by its length field.
#[test]
fn what_is_behind_a_packet_changes_nothing() {
    check(CASES, &frames(), |frame| {
        let frame = frame.bytes();
        let Some(end) = end_of_packet(&frame) else { return Ok(()) };
        let (packet, behind) = frame.split_at(end);
        for padding in [behind, &[0; 64], &[0x11; 64], &[0xff; 64]] {
            let padded = [packet, padding].concat();
            let both = (parse(packet), parse(&padded));
            same("without, with padding", both, || dissect::ethernet(&padded))?;
        }
        Ok(())
    });
}

/// End of the packet by its IP length, unless that is 0 or beyond the frame.
fn end_of_packet(frame: &[u8]) -> Option<usize> {
    let packet = LaxSlicedPacket::from_ethernet(frame).ok()?;
    let net = packet.net.as_ref()?;
    let length = match net {
        LaxNetSlice::Ipv4(ipv4) => ipv4.header().total_len(),
        LaxNetSlice::Ipv6(ipv6) => ipv6.header().payload_length(),
        LaxNetSlice::Arp(_) => 0,
    };
    let payload = net.ip_payload_ref()?;
    let end = payload.payload.as_ptr_range().end as usize - frame.as_ptr() as usize;
    (length != 0 && !payload.incomplete).then_some(end)
}

#[test]
fn an_ethernet_header_before_a_packet_changes_nothing() {
    check(CASES, &frames(), |frame| {
        let frame = frame.bytes();
        let (Some(header), Some(packet)) = (frame.get(..14), frame.get(14..)) else {
            return Ok(());
        };
        let version = packet.first().map(|first| first >> 4);
        let link = match (u16::from_be_bytes([header[12], header[13]]), version) {
            (IPV4, Some(4)) => LinkLayer::Ipv4,
            (IPV6, Some(6)) => LinkLayer::Ipv6,
            _ => return Ok(()),
        };
        for link in [LinkLayer::Ip, link] {
            let both = (parse(&frame), wire::parse(packet, link));
            same("with, without the header", both, || dissect::ethernet(&frame))?;
        }
        Ok(())
    });
}

#[test]
fn up_to_two_tags_change_nothing() {
    check(CASES, &frames(), |frame| {
        let link = frame.link.clone().unwrap_or_default();
        // With two tags added, still not too many headers.
        let others = link.inside.iter().filter(|header| !matches!(header, Encapsulation::Tag(_)));
        let link = Ethernet { inside: others.take(6).copied().collect(), ..link };
        let frame = Frame { link: Some(link), damage: Damage::default(), ..frame };
        let tagged = |tpids: &[u16]| frame.clone().tagged(tpids).bytes();
        let untagged = parse(&tagged(&[]));
        for tpids in [&[CUSTOMER_TAG][..], &[SERVICE_TAG, CUSTOMER_TAG]] {
            let frame = tagged(tpids);
            let both = (untagged, parse(&frame));
            same("untagged, tagged", both, || dissect::ethernet(&frame))?;
        }
        let three = tagged(&[SERVICE_TAG, CUSTOMER_TAG, CUSTOMER_TAG]);
        let both = (parse(&three), Err(Skip::TooManyTags));
        same("three tags", both, || dissect::ethernet(&three))
    });
}

// Tables: complete frames through parser and rules.

const SYN: Transport = Transport::tcp(flag::SYN);
const UDP: Transport = Transport::udp();

/// Checks the ports.
#[track_caller]
fn assert_is_flow(frame: &Frame) {
    let ports = flow(frame).map(|key| (key.src_port(), key.dst_port()));
    assert_eq!(ports, Ok((UDP.src_port, UDP.dst_port)), "{}", dissect::ethernet(&frame.bytes()));
}

#[track_caller]
fn assert_skipped(frame: &Frame, skip: Skip) {
    assert_eq!(flow(frame), Err(skip), "{}", dissect::ethernet(&frame.bytes()));
}

#[test]
fn ihl_4_is_a_bad_header() {
    for transport in [SYN, UDP] {
        let packet = Ipv4 { ihl: Some(4), ..Ipv4::of(transport) };
        assert_skipped(&Frame::of(packet), Skip::BadHeader);
    }
}

#[test]
fn ihl_5_is_a_header_without_options_and_15_one_with_40_octets_of_them() {
    for (ihl, options) in [(5, 0), (6, 1), (15, 10)] {
        for transport in [SYN, UDP] {
            let packet = Ipv4 { options, ..Ipv4::of(transport) };
            let frame = Frame::of(packet);
            assert_eq!(frame.bytes()[14], 0x40 | ihl);
            assert_is_flow(&frame);
        }
    }
}

#[test]
fn options_that_are_not_there_are_truncated() {
    let packet = Ipv4 { ihl: Some(15), total_length: Length::Zero, ..Ipv4::of(UDP) };
    assert_skipped(&Frame::of(packet), Skip::Truncated);
}

#[test]
fn the_first_ipv4_fragment_is_a_flow_and_later_ones_are_not() {
    const MORE: u16 = 0x2000;
    for transport in [SYN, UDP] {
        let fragment = |fragment| Frame::of(Ipv4 { fragment, ..Ipv4::of(transport) });
        assert_is_flow(&fragment(MORE));
        for later in [1, 185, 0x1fff, MORE | 1, MORE | 0x1fff] {
            assert_skipped(&fragment(later), Skip::LaterFragment);
        }
    }
}

#[test]
fn the_first_ipv6_fragment_is_a_flow_and_later_ones_are_not() {
    const MORE: u16 = 0x0001;
    for transport in [SYN, UDP] {
        let fragment = |fragment| {
            let header = Extension { fragment, ..Extension::of(FRAGMENT) };
            Frame::of(Ipv6 { extensions: vec![header], ..Ipv6::of(transport) })
        };
        // An atomic fragment (RFC 6946) is a complete packet.
        assert_is_flow(&fragment(0));
        assert_is_flow(&fragment(MORE));
        for later in [1 << 3, 185 << 3, 0xfff8, 1 << 3 | MORE, 0xfff9] {
            assert_skipped(&fragment(later), Skip::LaterFragment);
        }
    }
}

const WALKED: [u8; 5] = [HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION];

#[test]
fn each_extension_header_is_walked() {
    for number in WALKED {
        for transport in [SYN, UDP] {
            assert_is_flow(&Frame::of(Ipv6::of(transport).with(&[number])));
        }
    }
}

#[test]
fn an_extension_header_is_walked_however_long_it_is() {
    for number in [HOP_BY_HOP, ROUTING, AUTHENTICATION, DESTINATION] {
        for units in [2, 3, 100, 255] {
            let header = Extension { units, ..Extension::of(number) };
            assert_is_flow(&Frame::of(Ipv6 { extensions: vec![header], ..Ipv6::of(UDP) }));
        }
    }
}

#[test]
fn eight_extension_headers_are_walked_and_nine_are_too_many() {
    for number in WALKED {
        assert_is_flow(&Frame::of(Ipv6::of(SYN).with(&[number; 8])));
        assert_skipped(&Frame::of(Ipv6::of(SYN).with(&[number; 9])), Skip::TooManyHeaders);
    }
    let mixed = [WALKED, WALKED].concat();
    assert_is_flow(&Frame::of(Ipv6::of(UDP).with(&mixed[..8])));
    assert_skipped(&Frame::of(Ipv6::of(UDP).with(&mixed[..9])), Skip::TooManyHeaders);
}

#[test]
fn a_vlan_tag_and_qinq_are_skipped_and_three_tags_are_too_many() {
    for frame in [Frame::of(Ipv4::of(SYN)), Frame::of(Ipv6::of(UDP))] {
        assert_is_flow(&frame);
        assert_is_flow(&frame.clone().tagged(&[CUSTOMER_TAG]));
        assert_is_flow(&frame.clone().tagged(&[SERVICE_TAG, CUSTOMER_TAG]));
        assert_is_flow(&frame.clone().tagged(&[CUSTOMER_TAG, CUSTOMER_TAG]));
        assert_is_flow(&frame.clone().tagged(&[OLD_SERVICE_TAG, CUSTOMER_TAG]));
        let three = frame.tagged(&[SERVICE_TAG, CUSTOMER_TAG, CUSTOMER_TAG]);
        assert_skipped(&three, Skip::TooManyTags);
    }
}

#[test]
fn headers_between_ethernet_and_ip_are_skipped() {
    use Encapsulation::{Backbone, Mpls, Pppoe, Snap, Tag};
    let customer = [Backbone, Tag(SERVICE_TAG), Tag(CUSTOMER_TAG)];
    let all = [&customer[..], &[Snap, Pppoe, Mpls(3)]].concat();
    let inside: [&[Encapsulation]; 9] = [
        &[Pppoe],
        &[Mpls(1)],
        &[Mpls(16)],
        &[Snap],
        &[Backbone],
        &customer,
        &[Pppoe, Mpls(1)],
        &[Snap, Pppoe],
        &all,
    ];
    for inside in inside {
        for frame in [Frame::of(Ipv4::of(SYN)), Frame::of(Ipv6::of(UDP))] {
            let frame = frame.inside(inside);
            assert_is_flow(&frame);
            assert_is_flow(&frame.clone().tagged(&[CUSTOMER_TAG]));
            assert_is_flow(&frame.clone().tagged(&[OLD_SERVICE_TAG, CUSTOMER_TAG]));
            assert_truncated_before(&frame, frame.bytes().len() - frame.packet.bytes().len());
        }
    }
}

/// Fails unless every frame cut before this length is truncated.
#[track_caller]
fn assert_truncated_before(frame: &Frame, length: usize) {
    for length in 0..length {
        let damage = Damage { cut: Some(length), ..Damage::default() };
        assert_skipped(&Frame { damage, ..frame.clone() }, Skip::Truncated);
    }
}

#[test]
fn too_many_headers_before_ip_are_too_many_tags() {
    use Encapsulation::{Backbone, Mpls, Tag};
    let tag = Tag(CUSTOMER_TAG);
    let inside: [&[Encapsulation]; 4] =
        [&[Mpls(17)], &[Backbone; 9], &[Backbone, tag, tag, tag], &[Backbone, tag, Mpls(17)]];
    for inside in inside {
        assert_skipped(&Frame::of(Ipv4::of(SYN)).inside(inside), Skip::TooManyTags);
    }
    assert_is_flow(&Frame::of(Ipv4::of(SYN)).inside(&[Backbone; 8]));
}

#[test]
fn a_pseudowire_is_not_ip() {
    let ethernet = Frame::of(Ipv4::of(SYN)).bytes();
    let control_word = [0; 4];
    let inside = Packet::Noise([&control_word[..], &ethernet].concat());
    assert_skipped(&Frame::of(inside).inside(&[Encapsulation::Mpls(2)]), Skip::NotIp);
}

#[test]
fn a_frame_cut_at_any_length_before_its_ports_or_flags_is_truncated() {
    let options = Ipv4 { options: 10, ..Ipv4::of(SYN) };
    let chain = Ipv6::of(UDP).with(&WALKED);
    let headers = 8 + 8 + 8 + 12 + 8;
    let frames = [
        (Frame::of(Ipv4::of(UDP)), 14 + 20 + 4),
        (Frame::of(options).tagged(&[SERVICE_TAG, CUSTOMER_TAG]), 14 + 8 + 60 + 14),
        (Frame::of(Ipv6::of(SYN)).tagged(&[CUSTOMER_TAG]), 14 + 4 + 40 + 14),
        (Frame::of(chain), 14 + 40 + headers + 4),
    ];
    for (frame, needed) in frames {
        for length in 0..=frame.bytes().len() {
            let damage = Damage { cut: Some(length), ..Damage::default() };
            let cut = Frame { damage, ..frame.clone() };
            if length < needed {
                assert_skipped(&cut, Skip::Truncated);
            } else {
                assert_is_flow(&cut);
            }
        }
    }
}

#[test]
fn a_packet_that_ends_before_its_ports_is_truncated_whatever_is_behind_it() {
    for missing in 0..8 {
        let length = Length::Off(-missing);
        let v4 = Ipv4 { total_length: length, ..Ipv4::of(UDP) };
        let v6 = Ipv6 { payload_length: length, ..Ipv6::of(UDP) };
        for packet in [Packet::from(v4), v6.into()] {
            let damage = Damage { padding: (46, 0xff), ..Damage::default() };
            let frame = Frame { damage, ..Frame::of(packet) };
            if missing <= 4 {
                assert_is_flow(&frame);
            } else {
                assert_skipped(&frame, Skip::Truncated);
            }
        }
    }
}

#[test]
fn syn_opens_with_or_without_ecn_and_nothing_with_ack_or_without_syn_does() {
    use flag::{ACK, CWR, ECE, FIN, RST, SYN};
    let packets = |flags| {
        let transport = Transport::tcp(flags);
        [Packet::from(Ipv4::of(transport)), Ipv6::of(transport).into()]
    };
    for packet in [SYN, SYN | ECE, SYN | ECE | CWR, SYN | FIN].into_iter().flat_map(packets) {
        assert_is_flow(&Frame::of(packet));
    }
    let others = [SYN | ACK, SYN | ACK | ECE, ACK, FIN, FIN | ACK, RST, RST | ACK, 0];
    for packet in others.into_iter().flat_map(packets) {
        assert_skipped(&Frame::of(packet), Skip::NotOpening);
    }
}

#[test]
fn a_nonsense_data_offset_or_udp_length_still_has_ports() {
    for data_offset in 0..16 {
        let kind = Kind::Tcp { flags: flag::SYN, data_offset };
        assert_is_flow(&Frame::of(Ipv4::of(Transport { kind, ..SYN })));
    }
    for length in [Length::Zero, Length::Any(7), Length::Any(9), Length::Any(0xffff)] {
        let kind = Kind::Udp { length };
        assert_is_flow(&Frame::of(Ipv6::of(Transport { kind, ..UDP })));
    }
}

#[test]
fn an_ipv4_mapped_address_in_ipv6_is_another_flow_than_that_of_ipv4() {
    let v4 = Ipv4::of(UDP);
    let mapped = |octets: [u8; 4]| Ipv4Addr::from(octets).to_ipv6_mapped().octets();
    let v6 = Ipv6 { src: mapped(v4.src), dst: mapped(v4.dst), ..Ipv6::of(UDP) };
    let v6 = flow(&Frame::of(v6)).expect("a flow");
    let v4 = flow(&Frame::of(v4)).expect("a flow");
    assert_ne!(v4, v6);
    assert_eq!(v4.src().ip(), IpAddr::from([192, 0, 2, 1]));
    assert_eq!(v6.src().ip().to_string(), "::ffff:192.0.2.1");
}

#[test]
fn a_jumbogram_and_a_super_packet_have_no_length_and_are_flows() {
    for transport in [SYN, UDP] {
        let transport = Transport { payload: u16::MAX, ..transport };
        let packets = [Packet::from(Ipv4::of(transport)), Ipv6::of(transport).into()];
        let lengths = [16..18, 18..20];
        for (packet, length) in packets.into_iter().zip(lengths) {
            let frame = Frame::of(packet);
            let bytes = frame.bytes();
            assert!(bytes.len() > 0xffff);
            assert_eq!(bytes[length], [0, 0]);
            assert_is_flow(&frame);
        }
    }
}
