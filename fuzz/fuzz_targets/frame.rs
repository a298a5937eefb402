//! Arbitrary bytes as a frame, for every link layer: the parser, and the rules about single packets. The
//! first byte selects the link layer, the rest is the frame.
//!
//! Checks properties that hold for all bytes. Expected results of particular frames are in the tests.

#![no_main]

use std::net::IpAddr;

use conntrack_common::{
    address::Address,
    flow::FlowKey,
    rules,
    wire::{self, IPV4, IPV6, LinkLayer, Segment, Skip, glimpse::Glimpse},
};
use libfuzzer_sys::fuzz_target;

/// Padding that must not be read. As a port it is 42405.
const FILLER: u8 = 0xa5;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, frame)) = input.split_first() else { return };
    let link = LinkLayer::ALL[usize::from(choice) % LinkLayer::ALL.len()];
    let parsed = wire::parse(frame, link);
    if let Ok(segment) = &parsed {
        assert_taken_from(frame, segment);
    }
    assert_glimpsed(parsed, Glimpse::of(frame, link));
    assert_decided_once(frame, link);
    if matches!(link, LinkLayer::Ip | LinkLayer::Ipv4 | LinkLayer::Ipv6) {
        assert_ends_where_it_says(frame, link);
        assert_options_are_stepped_over(frame, link);
        assert_later_fragments_have_no_ports(frame, link);
        assert_the_same_over_every_link(frame);
    }
});

/// What is shown of a packet is what it was parsed as, and ports are of TCP and UDP only.
fn assert_glimpsed(parsed: Result<Segment, Skip>, glimpse: Glimpse) {
    match parsed {
        Ok(Segment { src, dst, protocol, src_port, dst_port, .. }) => {
            assert_eq!(glimpse.addresses, Some((src, dst)));
            assert_eq!(glimpse.protocol, Some(protocol as u8));
            assert_eq!(glimpse.ports, Some((src_port, dst_port)));
        }
        Err(Skip::Truncated) => {}
        Err(skip) => assert_eq!(glimpse.ports, None, "{skip:?}"),
    }
}

fn outcome(frame: &[u8], link: LinkLayer) -> Result<FlowKey, Skip> {
    rules::flow_key(frame, link)
}

/// Addresses and ports are bytes of the frame: the two addresses in a row, and the two ports in a row
/// somewhere after them.
fn assert_taken_from(frame: &[u8], segment: &Segment) {
    let octets = |address: &Address| match address.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let addresses = [octets(&segment.src), octets(&segment.dst)].concat();
    let ports = [segment.src_port.to_be_bytes(), segment.dst_port.to_be_bytes()].concat();
    let behind = find(frame, &addresses).map(|at| &frame[at + addresses.len()..]);
    assert!(behind.is_some_and(|rest| find(rest, &ports).is_some()), "{segment:?} made up");
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A growing frame is truncated up to some length; from there on more bytes, its own or padding, change
/// nothing. Finds that length by bisection; over many frames this covers all lengths.
fn assert_decided_once(frame: &[u8], link: LinkLayer) {
    let whole = outcome(frame, link);
    let mut truncated = 0;
    let mut decided = frame.len();
    while truncated + 1 < decided {
        let length = usize::midpoint(truncated, decided);
        match outcome(&frame[..length], link) {
            Err(Skip::Truncated) => truncated = length,
            found => {
                assert_eq!(found, whole, "{length} of {} bytes", frame.len());
                decided = length;
            }
        }
    }
    if whole != Err(Skip::Truncated) {
        assert_eq!(outcome(&[frame, &[FILLER; 64]].concat(), link), whole, "padded");
    }
}

/// Bytes after the end of the IP packet by its length field change nothing.
fn assert_ends_where_it_says(packet: &[u8], link: LinkLayer) {
    if let Some(end) = stated_end(packet).and_then(|end| packet.get(..end)) {
        assert_eq!(outcome(packet, link).ok(), outcome(end, link).ok(), "up to {}", end.len());
    }
}

/// By the total length of IPv4, or the payload length of IPv6 plus header; a length of 0 states nothing.
fn stated_end(packet: &[u8]) -> Option<usize> {
    let (field, header) = if packet.first()? >> 4 == 6 { (4, 40) } else { (2, 0) };
    let length = u16::from_be_bytes(*packet.get(field..)?.first_chunk()?);
    (length != 0).then_some(header + usize::from(length))
}

/// One more option or extension header changes nothing, up to the limit.
fn assert_options_are_stepped_over(packet: &[u8], link: LinkLayer) {
    // Headers whose lengths have different units; both of 16 octets.
    const DESTINATION: (u8, u8) = (60, 1);
    const AUTHENTICATION: (u8, u8) = (51, 2);
    let longer = match packet.first().map(|first| first >> 4) {
        Some(4) => [with_ipv4_option(packet), None],
        Some(6) => [DESTINATION, AUTHENTICATION].map(|(kind, length)| {
            with_extension(packet, kind, &[&[length][..], &[FILLER; 14]].concat())
        }),
        _ => [None, None],
    };
    for longer in longer.into_iter().flatten().map(|longer| outcome(&longer, link)) {
        if longer != Err(Skip::TooManyHeaders) {
            assert_eq!(longer, outcome(packet, link));
        }
    }
}

/// A later fragment has no ports, whatever its offset.
fn assert_later_fragments_have_no_ports(packet: &[u8], link: LinkLayer) {
    const FRAGMENT: u8 = 44;
    for offset in [1_u16, 0x1000] {
        let later = if packet.first().is_some_and(|first| first >> 4 == 6) {
            let [high, low] = (offset << 3).to_be_bytes();
            with_extension(packet, FRAGMENT, &[0, high, low, 0, 0, 0, 1])
        } else {
            with_ipv4_fragment(packet, offset)
        };
        assert!(later.is_none_or(|later| outcome(&later, link).is_err()), "offset {offset}");
    }
}

/// The IPv4 packet with four more octets of options, if they fit.
fn with_ipv4_option(packet: &[u8]) -> Option<Vec<u8>> {
    let length = usize::from(*packet.first()? & 0x0f) * 4;
    let (header, payload) =
        (20..60).contains(&length).then(|| packet.split_at_checked(length))??;
    let total = longer(header, 2, 4)?;
    let mut packet = [header, &[FILLER; 4], payload].concat();
    packet[0] += 1;
    packet[2..4].copy_from_slice(&total);
    Some(packet)
}

fn with_ipv4_fragment(packet: &[u8], offset: u16) -> Option<Vec<u8>> {
    let mut packet = packet.to_vec();
    packet.get_mut(6..8)?.copy_from_slice(&offset.to_be_bytes());
    Some(packet)
}

/// The IPv6 packet with another first extension header: its number, and its content after the next-header
/// field.
fn with_extension(packet: &[u8], kind: u8, extension: &[u8]) -> Option<Vec<u8>> {
    let (header, payload) = packet.split_at_checked(40)?;
    let length = longer(header, 4, 1 + u16::try_from(extension.len()).ok()?)?;
    let mut packet = [header, &[header[6]], extension, payload].concat();
    packet[4..6].copy_from_slice(&length);
    packet[6] = kind;
    Some(packet)
}

/// The length at `field` plus so many octets; 0 stays 0.
fn longer(header: &[u8], field: usize, octets: u16) -> Option<[u8; 2]> {
    let length = u16::from_be_bytes(*header.get(field..)?.first_chunk()?);
    let length = if length == 0 { 0 } else { length.checked_add(octets)? };
    Some(length.to_be_bytes())
}

/// A packet yields the same after any link header.
fn assert_the_same_over_every_link(packet: &[u8]) {
    let ether_type = match packet.first().map(|first| first >> 4) {
        Some(4) => IPV4,
        Some(6) => IPV6,
        // Not IP without a link header, but a bad header after one that announces IP.
        _ => return,
    };
    let bare = outcome(packet, LinkLayer::Ip);
    for link in LinkLayer::ALL {
        for header in headers(link, ether_type) {
            let framed = outcome(&[&header, packet].concat(), link);
            assert_eq!(framed, bare, "{link:?} {header:02x?}");
        }
    }
}

/// Headers between link header and an IP packet of this type, each with its own type first.
fn encapsulations(kind: [u8; 2]) -> Vec<Vec<u8>> {
    const CUSTOMER: [u8; 18] = [0x88, 0xe7, 0, 0, 0, 7, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2];
    const PPPOE: [u8; 9] = [0x88, 0x64, 0x11, 0, 0, 1, 0, 0, 0];
    let ppp = if kind == IPV4.to_be_bytes() { 0x21 } else { 0x57 };
    vec![
        [&PPPOE[..], &[ppp]].concat(),
        [&PPPOE[..8], &[0x02, 0x81, 0, 1, 1, 64]].concat(),
        vec![0x88, 0x47, 0, 1, 1, 64],
        vec![0x88, 0x48, 0, 1, 0, 64, 0, 2, 0, 64, 0, 3, 1, 64],
        [&CUSTOMER[..], &kind].concat(),
        [&[0, 100, 0xaa, 0xaa, 3, 0, 0, 0][..], &kind].concat(),
        [&[0x91, 0, 0, 7][..], &kind].concat(),
    ]
}

/// Link headers for an IP packet of this type.
fn headers(link: LinkLayer, ether_type: u16) -> Vec<Vec<u8>> {
    const C_TAG: [u8; 4] = [0x81, 0x00, 0x00, 0x01];
    const S_TAG: [u8; 4] = [0x88, 0xa8, 0x00, 0x02];
    let kind = ether_type.to_be_bytes();
    let is_v4 = ether_type == IPV4;
    match link {
        LinkLayer::Ethernet => {
            let tags = [&[][..], &C_TAG, &[S_TAG, C_TAG].concat()];
            let mut headers: Vec<_> = tags.map(|tags| [&[2; 12], tags, &kind].concat()).into();
            headers.extend(encapsulations(kind).iter().map(|it| [&[2; 12], &it[..]].concat()));
            headers
        }
        LinkLayer::Ip => vec![vec![]],
        LinkLayer::Ipv4 => {
            if is_v4 {
                vec![vec![]]
            } else {
                vec![]
            }
        }
        LinkLayer::Ipv6 => {
            if is_v4 {
                vec![]
            } else {
                vec![vec![]]
            }
        }
        LinkLayer::Sll => {
            let inside = encapsulations(kind).into_iter().chain([kind.to_vec()]);
            inside.map(|it| [&[0; 14][..], &it].concat()).collect()
        }
        LinkLayer::Sll2 => vec![[&kind[..], &[0; 18]].concat()],
        LinkLayer::BsdLoopback => {
            let family = if is_v4 { 2_u32 } else { 30 };
            vec![family.to_be_bytes().to_vec(), family.to_le_bytes().to_vec()]
        }
        LinkLayer::Ppp => {
            let protocol = if is_v4 { 0x21 } else { 0x57 };
            vec![vec![0x00, protocol], vec![0xff, 0x03, 0x00, protocol]]
        }
    }
}
