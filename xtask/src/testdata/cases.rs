//! The table of captures: which file holds which frames. The reason for a case is beside its frames;
//! the expected tree is `testdata/<case>.tree`, written by hand.

mod directions;
mod headers;
mod link;
mod traffic;

use std::time::Duration;

use super::capture::Capture;
use super::container::{
    ByteOrder, Interface, Pcap, START, WLAN, pcapng, pcapng_obsolete, pcapng_of, pcapng_sections,
    pcapng_simple,
};
use super::frame::{Frame, IPV4, IPV6, udp};
use super::link_type;

/// The folder of captures that cannot be read to their end; they have no tree.
pub(super) const BROKEN: &str = "broken/";

/// Every capture file that belongs under `testdata/`.
pub(super) fn captures() -> Vec<Capture> {
    [readable(), containers(), link_types(), broken()].concat()
}

fn readable() -> Vec<Capture> {
    vec![
        pcap("seed.pcap", &traffic::seed()),
        pcap("mix.pcap", &traffic::mix()),
        pcap("internet.pcap", &traffic::internet()),
        pcap("ipv6-text.pcap", &traffic::ipv6_text()),
        pcap("times.pcap", &traffic::times()),
        pcap("times-until-2106.pcap", &traffic::times_until_2106()),
        pcap("times-far-off.pcap", &traffic::times_far_off()),
        pcap("udp-replies.pcap", &directions::udp_replies()),
        pcap("same-instant.pcap", &directions::same_instant()),
        pcap("clock-steps-back.pcap", &directions::clock_steps_back()),
        pcap("tcp-opening.pcap", &directions::tcp_opening()),
        pcap("ipv4-header.pcap", &headers::ipv4_header()),
        pcap("fragments.pcap", &headers::fragments()),
        pcap("ipv6-ext.pcap", &headers::ipv6_ext()),
        pcap("vlan.pcap", &link::vlan()),
        pcap("encapsulated.pcap", &link::encapsulated()),
        pcap("not-ip.pcap", &link::not_ip()),
        pcap("truncated.pcap", &link::truncated()),
        // Seeing nothing is not an error: the six directories are made.
        pcap("header-only.pcap", &[]),
    ]
}

/// The mix in other containers: the tree must not depend on them.
fn containers() -> Vec<Capture> {
    let mix = traffic::mix();
    let nanoseconds = Pcap::Nanoseconds.file(&mix);
    let big_endian = Pcap::BigEndian.file(&mix);
    let modified = |order| Pcap::Modified(order).file(&mix);
    let modified_big_endian = modified(ByteOrder::Big);
    let interfaces = pcapng_of(ByteOrder::Little, &interfaces(), &mix);
    let big_endian_pcapng = pcapng_of(ByteOrder::Big, &self::interfaces(), &mix);
    vec![
        Capture::new("container-nanoseconds.pcap", nanoseconds),
        Capture::new("container-big-endian.pcap", big_endian),
        Capture::new("container-modified.pcap", modified(ByteOrder::Little)),
        Capture::new("container-modified-big-endian.pcap", modified_big_endian),
        Capture::new("container-pcapng.pcapng", pcapng(&mix)),
        Capture::new("container-pcapng-interfaces.pcapng", interfaces),
        Capture::new("container-pcapng-big-endian.pcapng", big_endian_pcapng),
        Capture::new("container-pcapng-sections.pcapng", pcapng_sections(&mix)),
        Capture::new("container-pcapng-simple.pcapng", pcapng_simple(&mix)),
        Capture::new("container-pcapng-obsolete.pcapng", pcapng_obsolete(&mix)),
        // A day on interfaces whose clocks tick differently: each file has its packet's time.
        Capture::new(
            "times-interfaces.pcapng",
            pcapng_of(ByteOrder::Big, &self::interfaces(), &traffic::times()),
        ),
    ]
}

/// Interfaces that agree in nothing: link type, snap length, and what their times mean.
fn interfaces() -> [Interface; 4] {
    let start = i64::try_from(START).expect("a time of our days");
    [
        Interface { resolution: Some(9), ..Interface::ETHERNET },
        Interface { link_type: Some(link_type::RAW), snaplen: 0, ..Interface::ETHERNET },
        // Ticks of 2^-20 s (0x80 and 20) since the capture's start.
        Interface {
            link_type: Some(link_type::SLL),
            snaplen: 65_535,
            resolution: Some(0x94),
            offset: Some(start),
        },
        Interface {
            link_type: Some(link_type::SLL2),
            snaplen: 1500,
            resolution: Some(0),
            offset: Some(0),
        },
    ]
}

/// The mix behind other link headers: the tree must not depend on them. Two of them carry one IP
/// version only, so they hold the part of the mix with that version.
fn link_types() -> Vec<Capture> {
    let mix = traffic::mix();
    let of = |ethertype: u16| {
        let is_of = |frame: &&Frame| frame.bytes()[12..14] == ethertype.to_be_bytes();
        mix.iter().filter(is_of).cloned().collect::<Vec<_>>()
    };
    let behind = |path, link_type, frames: &[Frame]| {
        Capture::new(path, Pcap::Usual.file_behind(link_type, frames))
    };
    vec![
        behind("link-raw.pcap", link_type::RAW, &mix),
        behind("link-ipv4.pcap", link_type::ONLY_IPV4, &of(IPV4)),
        behind("link-ipv6.pcap", link_type::ONLY_IPV6, &of(IPV6)),
        behind("link-sll.pcap", link_type::SLL, &mix),
        behind("link-sll2.pcap", link_type::SLL2, &mix),
        behind("link-null.pcap", link_type::NULL, &mix),
        behind("link-loop.pcap", link_type::LOOP, &mix),
        behind("link-ppp.pcap", link_type::PPP, &mix),
        behind("link-ppp-hdlc.pcap", link_type::PPP_HDLC, &mix),
    ]
}

/// Captures that end in an error.
fn broken() -> Vec<Capture> {
    let text = b"This is a text, not a capture.\n";
    let wlan = Pcap::Usual.file_of(WLAN, &[a_flow(1)]);
    vec![
        Capture::new("broken/empty.pcap", Vec::new()),
        Capture::new("broken/not-a-capture.pcap", text.to_vec()),
        Capture::new("broken/truncated.pcap", cut_in_third_record()),
        Capture::new("broken/oversized-record.pcap", oversized_second_record()),
        Capture::new("broken/unsupported-linktype.pcap", wlan),
    ]
}

fn pcap(path: &'static str, frames: &[Frame]) -> Capture {
    Capture::new(path, Pcap::Usual.file(frames))
}

/// What a full disk or a killed tcpdump leaves: two whole records and half of a third.
fn cut_in_third_record() -> Vec<u8> {
    let mut file = Pcap::Usual.file(&[a_flow(1), a_flow(2), a_flow(3)]);
    file.truncate(file.len() - 25);
    file
}

/// A whole record, then one that claims to be 2 GiB long.
fn oversized_second_record() -> Vec<u8> {
    let mut file = Pcap::Usual.file(&[a_flow(1)]);
    file.extend(Pcap::Usual.record_header(Duration::from_secs(START + 1), 0x7fff_ffff));
    file.extend([0; 64]);
    file
}

fn a_flow(number: u16) -> Frame {
    udp("192.168.200.230:40000", &format!("10.0.0.1:{number}"))
}
