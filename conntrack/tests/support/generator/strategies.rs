//! Which frames there are, and how often.
//!
//! What is simplest stands first everywhere, because that is what a failure shrinks to. Large parts
//! are boxed: unoptimised, what proptest makes of them does not fit on a test thread's stack.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    CUSTOMER_TAG, Damage, Encapsulation, Ethernet, Extension, Frame, IPV4, IPV6, Ipv4, Ipv6, Kind,
    Length, OLD_SERVICE_TAG, Packet, SERVICE_TAG, Tag, Transport,
    flag::{ACK, CWR, ECE, FIN, RST, SYN},
    number::{
        AUTHENTICATION, DESTINATION, ESP, EXPERIMENTAL, FRAGMENT, GRE, HOP_BY_HOP, HOST_IDENTITY,
        ICMPV6, MOBILITY, NO_NEXT_HEADER, ROUTING, SCTP,
    },
};

/// Beyond this a frame is cut: a jumbo frame of 9,000 octets with its header.
const LONGEST: usize = 9_014;

/// Extension headers that are walked over, and what may stand in their place.
const WALKED: [u8; 5] = [DESTINATION, HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION];
const NOT_WALKED: [u8; 6] = [ESP, NO_NEXT_HEADER, ICMPV6, MOBILITY, HOST_IDENTITY, EXPERIMENTAL];
/// Transport protocols whose payload the judge does not open, so that it need not be valid.
const UNOPENED: [u8; 5] = [GRE, ESP, NO_NEXT_HEADER, SCTP, EXPERIMENTAL];

/// ARP, `PPPoE` discovery, `MACsec`, `PPPoE`, MPLS, two lengths (IEEE 802.3 clause 3.2.6), local
/// experimental: they do not match the payload.
const OTHER_TYPES: [u16; 8] = [0x0806, 0x8863, 0x88e5, 0x8864, 0x8847, 0x0004, 0x05dc, 0x88b5];

/// Any frame: a third of them valid but perhaps damaged, most of the rest odd, some mere noise.
/// None is longer than a jumbo frame.
pub fn frames() -> BoxedStrategy<Frame> {
    let inside = prop_oneof![3 => vec(odd_encapsulation(), 0..=0), 1 => valid_encapsulation()];
    let sound = (vec(tag(), 0..=2), inside, valid_packet()).prop_map(|(tags, inside, packet)| {
        let link = Some(Ethernet { tags, inside, ether_type: None });
        Frame { link, packet, damage: Damage::default() }
    });
    let odd = (odd_link(), odd_packet()).prop_map(|(link, packet)| Frame {
        link,
        packet,
        damage: Damage::default(),
    });
    (prop_oneof![3 => sound.boxed(), 6 => odd.boxed()], damage())
        .prop_map(|(frame, mut damage)| {
            damage.cut = Some(damage.cut.unwrap_or(LONGEST));
            Frame { damage, ..frame }
        })
        .boxed()
}

/// Frames that keep to every RFC, with up to two tags and some padding.
pub fn valid_frames() -> impl Strategy<Value = Frame> {
    let padding = (0..64_usize, any::<u8>());
    (vec(tag(), 0..=2), valid_packet(), padding).prop_map(|(tags, packet, padding)| Frame {
        link: Some(Ethernet { tags, ..Ethernet::default() }),
        packet,
        damage: Damage { padding, ..Damage::default() },
    })
}

/// The same with headers between tags and packet, without padding.
pub fn valid_encapsulated_frames() -> impl Strategy<Value = Frame> {
    (vec(tag(), 0..=2), valid_encapsulation(), valid_packet()).prop_map(|(tags, inside, packet)| {
        let link = Some(Ethernet { tags, inside, ether_type: None });
        Frame { link, packet, damage: Damage::default() }
    })
}

/// IP packets that keep to every RFC.
pub fn valid_packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        valid_ipv4().prop_map(Packet::V4).boxed(),
        valid_ipv6().prop_map(Packet::V6).boxed(),
    ]
}

/// IP packets, odd ones and noise.
pub fn odd_packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        5 => odd_ipv4().prop_map(Packet::V4).boxed(),
        8 => odd_ipv6().prop_map(Packet::V6).boxed(),
        1 => vec(any::<u8>(), 0..=80).prop_map(Packet::Noise).boxed(),
    ]
}

fn tag() -> impl Strategy<Value = Tag> {
    let tpid = select(&[CUSTOMER_TAG, SERVICE_TAG, OLD_SERVICE_TAG][..]);
    (tpid, any::<u16>()).prop_map(|(tpid, tci)| Tag { tpid, tci })
}

fn odd_link() -> impl Strategy<Value = Option<Ethernet>> {
    let tags = prop_oneof![5 => vec(tag(), 0..=0), 2 => vec(tag(), 1..=2), 1 => vec(tag(), 3..=3)];
    let ether_type = prop_oneof![
        12 => Just(None),
        1 => select(&[IPV4, IPV6][..]).prop_map(Some),
        1 => select(&OTHER_TYPES[..]).prop_map(Some),
    ];
    let inside = prop_oneof![
        12 => vec(odd_encapsulation(), 0..=0),
        3 => vec(odd_encapsulation(), 1..=3),
        1 => vec(odd_encapsulation(), 5..=9),
    ];
    let link = (tags, inside, ether_type).prop_map(|(tags, inside, ether_type)| Ethernet {
        tags,
        inside,
        ether_type,
    });
    option::weighted(0.95, link)
}

/// With or without a backbone tag, SNAP, `PPPoE` and MPLS, in this order.
fn valid_encapsulation() -> impl Strategy<Value = Vec<Encapsulation>> {
    let tags = vec(select(&[CUSTOMER_TAG, SERVICE_TAG][..]).prop_map(Encapsulation::Tag), 0..=2);
    let customer = tags.prop_map(|tags| [vec![Encapsulation::Backbone], tags].concat());
    let outer = prop_oneof![2 => Just(Vec::new()), 1 => customer];
    let snap = prop_oneof![2 => Just(Vec::new()), 1 => Just(vec![Encapsulation::Snap])];
    let labels = prop_oneof![4 => 1..=4_u8, 1 => 5..=16_u8];
    let inner = (0..4_u8, labels).prop_map(|(kind, labels)| match kind {
        0 => Vec::new(),
        1 => vec![Encapsulation::Pppoe],
        2 => vec![Encapsulation::Mpls(labels)],
        _ => vec![Encapsulation::Pppoe, Encapsulation::Mpls(labels)],
    });
    (outer, snap, inner).prop_map(|(outer, snap, inner)| [outer, snap, inner].concat())
}

fn odd_encapsulation() -> impl Strategy<Value = Encapsulation> {
    let tpid = select(&[CUSTOMER_TAG, SERVICE_TAG, OLD_SERVICE_TAG][..]);
    prop_oneof![
        2 => Just(Encapsulation::Pppoe),
        2 => (0..=18_u8).prop_map(Encapsulation::Mpls),
        1 => Just(Encapsulation::Backbone),
        1 => tpid.prop_map(Encapsulation::Tag),
        2 => Just(Encapsulation::Snap),
    ]
}

fn valid_ipv4() -> impl Strategy<Value = Ipv4> {
    let fragment = prop_oneof![8 => select(&[0x0000, 0x4000][..]), 2 => ipv4_fragment()];
    let parts = (options(), fragment, ipv4_address(), ipv4_address(), valid_transport());
    parts.prop_map(|(options, fragment, src, dst, transport)| {
        let ipv4 = Ipv4::of(transport);
        Ipv4 { options, fragment, src, dst, ..ipv4 }
    })
}

fn odd_ipv4() -> impl Strategy<Value = Ipv4> {
    let version = prop_oneof![30 => Just(4), 1 => 0..16_u8];
    let ihl = option::weighted(0.2, 0..16_u8);
    let fields = (version, ihl, options(), length(), odd_fragment(), odd_protocol());
    let ends = (ipv4_address(), ipv4_address(), odd_transport());
    (fields, ends).prop_map(|(fields, (src, dst, transport))| {
        let (version, ihl, options, total_length, fragment, protocol) = fields;
        Ipv4 { version, ihl, options, total_length, fragment, protocol, src, dst, transport }
    })
}

/// A first fragment or a later one, by RFC 791 section 3.1: no reserved bit.
fn ipv4_fragment() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0x2000), 1..0x4000_u16]
}

fn odd_fragment() -> impl Strategy<Value = u16> {
    prop_oneof![12 => Just(0), 1 => 0..32_u16, 1 => Just(0x2000), 1 => any::<u16>()]
}

fn options() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(0), 2 => 0..=10_u8]
}

fn ipv4_address() -> impl Strategy<Value = [u8; 4]> {
    any::<u32>().prop_map(u32::to_be_bytes)
}

fn valid_ipv6() -> impl Strategy<Value = Ipv6> {
    let parts = (valid_extensions(), ipv6_address(), ipv6_address(), valid_transport());
    parts.prop_map(|(extensions, src, dst, transport)| {
        let ipv6 = Ipv6::of(transport);
        Ipv6 { extensions, src, dst, ..ipv6 }
    })
}

fn odd_ipv6() -> impl Strategy<Value = Ipv6> {
    let version = prop_oneof![30 => Just(6), 1 => 0..16_u8];
    let chain = prop_oneof![
        3 => vec(odd_extension(), 0..=3),
        1 => vec(plain_extension(), 7..=9),
        1 => vec(odd_extension(), 0..=10),
    ];
    let fields = (version, length(), chain, odd_protocol());
    let ends = (ipv6_address(), ipv6_address(), odd_transport());
    (fields, ends).prop_map(|(fields, (src, dst, transport))| {
        let (version, payload_length, extensions, protocol) = fields;
        Ipv6 { version, payload_length, extensions, protocol, src, dst, transport }
    })
}

/// RFC 8200 section 4.1: hop-by-hop only first; the others in any order, each any number of times.
/// Behind the header of a later fragment there is no other header.
fn valid_extensions() -> impl Strategy<Value = Vec<Extension>> {
    const ANY_ORDER: &[u8] = &[DESTINATION, ROUTING, AUTHENTICATION];
    let hop_by_hop = option::weighted(0.3, valid_extension(&[HOP_BY_HOP]));
    let before = vec(valid_extension(ANY_ORDER), 0..=3);
    let fragment = option::weighted(0.2, ipv6_fragment());
    let behind = vec(valid_extension(ANY_ORDER), 0..=3);
    let parts = (hop_by_hop, before, fragment, behind);
    parts.prop_map(|(hop_by_hop, before, fragment, behind)| {
        let is_later = fragment.is_some_and(|header| header.fragment >> 3 != 0);
        let behind = if is_later { Vec::new() } else { behind };
        hop_by_hop.into_iter().chain(before).chain(fragment).chain(behind).collect()
    })
}

/// In IPv6 an AH too is a multiple of 8 octets long (RFC 4302 section 2.2).
fn valid_extension(numbers: &'static [u8]) -> impl Strategy<Value = Extension> {
    (select(numbers), 0..4_u8).prop_map(|(number, more)| {
        let units = if number == AUTHENTICATION { 2 + more * 2 } else { more };
        Extension { units, ..Extension::of(number) }
    })
}

/// An atomic fragment, a first or a later one. The two reserved bits are 0 (RFC 8200 section 4.5).
fn ipv6_fragment() -> impl Strategy<Value = Extension> {
    let fragment = prop_oneof![Just(0x0000), Just(0x0001), any::<u16>()];
    fragment.prop_map(|any| Extension { fragment: any & 0xfff9, ..Extension::of(FRAGMENT) })
}

/// One that can be walked over, so that long chains get to their end.
fn plain_extension() -> impl Strategy<Value = Extension> {
    (select(&WALKED[..]), 0..3_u8)
        .prop_map(|(number, units)| Extension { units, ..Extension::of(number) })
}

fn odd_extension() -> impl Strategy<Value = Extension> {
    let number = prop_oneof![15 => select(&WALKED[..]), 1 => select(&NOT_WALKED[..])];
    let units = prop_oneof![20 => 0..4_u8, 1 => any::<u8>()];
    let length = option::weighted(0.05, prop_oneof![0..20_u8, any::<u8>()]);
    (number, units, length, odd_fragment())
        .prop_map(|(number, units, length, fragment)| Extension { number, units, length, fragment })
}

/// Some of them IPv4-mapped (RFC 4291 section 2.5.5.2).
fn ipv6_address() -> impl Strategy<Value = [u8; 16]> {
    let mapped = any::<u32>().prop_map(|v4| u128::from(v4) | 0xffff_0000_0000);
    prop_oneof![8 => any::<u128>(), 1 => mapped].prop_map(u128::to_be_bytes)
}

fn length() -> impl Strategy<Value = Length> {
    prop_oneof![
        8 => Just(Length::Right),
        2 => Just(Length::Zero),
        3 => (-100..100_i16).prop_map(Length::Off),
        1 => any::<u16>().prop_map(Length::Any),
    ]
}

fn odd_protocol() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![20 => Just(None), 1 => any::<u8>().prop_map(Some)]
}

fn valid_transport() -> impl Strategy<Value = Transport> {
    let tcp = tcp_flags().prop_map(|flags| Kind::Tcp { flags, data_offset: 5 });
    transport(prop_oneof![
        8 => Just(Kind::Udp { length: Length::Right }),
        8 => tcp,
        1 => select(&UNOPENED[..]).prop_map(Kind::Other),
    ])
}

fn odd_transport() -> impl Strategy<Value = Transport> {
    let tcp =
        (tcp_flags(), 0..16_u8).prop_map(|(flags, data_offset)| Kind::Tcp { flags, data_offset });
    transport(prop_oneof![
        8 => length().prop_map(|length| Kind::Udp { length }),
        8 => tcp,
        1 => any::<u8>().prop_map(Kind::Other),
    ])
}

fn transport(kind: impl Strategy<Value = Kind>) -> impl Strategy<Value = Transport> {
    let payload = prop_oneof![4 => 0..40_u16, 1 => 0..1500_u16];
    (kind, any::<u16>(), any::<u16>(), payload).prop_map(|(kind, src_port, dst_port, payload)| {
        Transport { kind, src_port, dst_port, payload }
    })
}

fn tcp_flags() -> impl Strategy<Value = u8> {
    prop_oneof![
        5 => Just(SYN),
        3 => Just(SYN | ACK),
        3 => select(&[SYN | ECE | CWR, SYN | ECE, ACK, FIN, FIN | ACK, RST, 0, 0xff][..]),
        3 => any::<u8>(),
    ]
}

/// Headers are within the first 160 octets of most frames.
fn damage() -> impl Strategy<Value = Damage> {
    let flip = (0..120_usize, 0..8_u8);
    let flips = prop_oneof![4 => vec(flip.clone(), 0..=0), 1 => vec(flip, 1..=3)];
    let padding = prop_oneof![3 => (Just(0), Just(0)), 1 => (0..64_usize, any::<u8>())];
    let cut = option::weighted(0.15, 0..160_usize);
    (flips, padding, cut).prop_map(|(flips, padding, cut)| Damage { flips, padding, cut })
}
