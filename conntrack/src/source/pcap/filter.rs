//! The filter that the kernel runs for a live capture, in libpcap's language: it keeps out of user
//! space what the parser would skip, and lets through everything that the parser would take.
//!
//! libpcap's own `tcp or udp` does neither: it passes by tags in the frame, knows the TCP flags of
//! IPv4 only and takes every fragment. What the language cannot walk (IPv6 extension headers, tags
//! behind a cooked header) is let through for the parser to judge. Truncated packets are kept out: an
//! instruction that reads behind the end refuses the packet.

use conntrack_common::wire::{LinkLayer, vlan};

/// The filter for frames with this link layer.
pub(super) fn expression(link: LinkLayer) -> String {
    let alternatives = match link {
        // In the kernel a tag that the NIC took off is not in the bytes.
        LinkLayer::Ethernet => (0..=vlan::MAX_TAGS).map(frame_with_tags).collect(),
        LinkLayer::Sll | LinkLayer::Sll2 => vec![by_keyword(), cooked_tag()],
        _ => vec![by_keyword()],
    };
    alternatives.join(" or ")
}

/// An Ethernet frame with this many tags in its bytes, which libpcap's keywords do not look behind.
fn frame_with_tags(tags: usize) -> String {
    let ether_type = 12 + 4 * tags;
    let ip_header = ether_type + 2;
    let is_tag = |at| format!("(ether[{at}:2] == 0x8100 or ether[{at}:2] == 0x88a8)");
    let mut all: Vec<_> = (0..tags).map(|tag| is_tag(12 + 4 * tag)).collect();

    let octets = |at: &str| format!("ether[{ip_header} + {at}");
    let ipv4 = format!("ether[{ether_type}:2] == 0x0800 and {}", opening_ipv4(&octets));
    let ipv6 = format!("ether[{ether_type}:2] == 0x86dd and {}", opening_ipv6(&octets));
    all.push(format!("(({ipv4}) or ({ipv6}))"));
    format!("({})", all.join(" and "))
}

/// A packet whose IP header libpcap finds by itself.
fn by_keyword() -> String {
    let ipv4 = opening_ipv4(&|at| format!("ip[{at}"));
    let ipv6 = opening_ipv6(&|at| format!("ip6[{at}"));
    format!("(ip and {ipv4}) or (ip6 and {ipv6})")
}

fn cooked_tag() -> String {
    "ether proto 0x8100 or ether proto 0x88a8".to_owned()
}

/// SYN without ACK, or UDP; and no later fragment. `octets` opens an access to the IP header, up to
/// the offset: the closing bracket, with a length before it or not, is added here.
fn opening_ipv4(octets: &dyn Fn(&str) -> String) -> String {
    let (fragment, protocol) = (octets("6"), octets("9"));
    let flags = octets(&format!("({}] & 0x0f) * 4 + 13", octets("0")));
    format!(
        "{fragment}:2] & 0x1fff == 0 and \
         ({protocol}] == 17 or ({protocol}] == 6 and {flags}] & 0x12 == 0x02))"
    )
}

/// SYN without ACK, or UDP, or an extension header that the parser will walk; no later fragment, if
/// the fragment header comes first.
fn opening_ipv6(octets: &dyn Fn(&str) -> String) -> String {
    const EXTENSIONS: [u8; 4] = [0, 43, 51, 60];
    let (next, flags, fragment) = (octets("6"), octets("53"), octets("42"));
    let extensions = EXTENSIONS.map(|number| format!("{next}] == {number}")).join(" or ");
    format!(
        "({next}] == 17 or ({next}] == 6 and {flags}] & 0x12 == 0x02) or {extensions} or \
         ({next}] == 44 and {fragment}:2] & 0xfff8 == 0))"
    )
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep, TcpHeader};
    use pcap::{BpfProgram, Capture, Linktype};

    use conntrack_common::{rules, wire::Skip};

    use super::*;

    fn program(link_type: Linktype, link: LinkLayer) -> BpfProgram {
        let capture = Capture::dead(link_type).expect("a capture of nothing");
        capture.compile(&expression(link), true).expect("a valid filter")
    }

    fn ethernet() -> BpfProgram {
        program(Linktype::ETHERNET, LinkLayer::Ethernet)
    }

    fn captures() -> Vec<PathBuf> {
        let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata");
        let entries = testdata.read_dir().expect("testdata");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "pcap")).collect()
    }

    /// Hands every frame of the captures to `each`, with what the parser makes of it.
    fn for_each_frame(mut each: impl FnMut(&Path, &[u8], Result<(), Skip>)) {
        for path in captures() {
            let mut capture = Capture::from_file(&path).expect("a capture");
            if capture.get_datalink() != Linktype::ETHERNET {
                continue;
            }
            while let Ok(packet) = capture.next_packet() {
                let flow = rules::flow_key(packet.data, LinkLayer::Ethernet);
                each(&path, packet.data, flow.map(|_flow| ()));
            }
        }
    }

    #[test]
    fn everything_that_the_parser_takes_gets_through() {
        let (program, mut taken) = (ethernet(), 0);
        for_each_frame(|path, frame, parsed| {
            if parsed.is_ok() {
                taken += 1;
                assert!(program.filter(frame), "{}: {frame:02x?}", path.display());
            }
        });
        assert!(taken > 100, "only {taken} flows in the captures");
    }

    /// Of the kind that is let through unseen.
    fn starts_with_extension_header(frame: &[u8]) -> bool {
        const NEXT_HEADER: usize = 14 + 6;
        frame[12..14] == [0x86, 0xdd] && [0, 43, 51, 60].contains(&frame[NEXT_HEADER])
    }

    #[test]
    fn what_is_no_flow_is_kept_out_but_for_extension_headers() {
        let (program, mut kept_out) = (ethernet(), 0);
        for_each_frame(|path, frame, parsed| {
            let is_readable = |skip| !Skip::UNREADABLE.contains(&skip);
            if parsed.is_err_and(is_readable) && !starts_with_extension_header(frame) {
                kept_out += 1;
                assert!(!program.filter(frame), "{}: {frame:02x?}", path.display());
            }
        });
        assert!(kept_out > 50, "only {kept_out} frames that are no flows");
    }

    #[test]
    fn every_live_link_type_compiles() {
        program(super::super::link::DLT_RAW, LinkLayer::Ip);
        program(Linktype::LINUX_SLL, LinkLayer::Sll);
        program(Linktype::LINUX_SLL2, LinkLayer::Sll2);
    }

    #[test]
    fn what_opens_no_conversation_is_kept_out() {
        let program = program(super::super::link::DLT_RAW, LinkLayer::Ip);
        let ips: [fn() -> PacketBuilderStep<IpHeaders>; 2] = [
            || PacketBuilder::ipv4([10; 4], [10, 0, 0, 1], 64),
            || PacketBuilder::ipv6([0xfd; 16], [0x20; 16], 64),
        ];
        let not_opening: [fn(PacketBuilderStep<TcpHeader>) -> PacketBuilderStep<TcpHeader>; 3] =
            [|tcp| tcp.syn().ack(1), |tcp| tcp.ack(1), PacketBuilderStep::fin];
        for ip in ips {
            for set_flags in not_opening {
                let mut packet = Vec::new();
                let segment = set_flags(ip().tcp(1, 2, 3, 4));
                segment.write(&mut packet, &[]).expect("a Vec takes every byte");
                assert!(!program.filter(&packet), "{packet:02x?}");
            }
            let mut packet = Vec::new();
            ip().tcp(1, 2, 3, 4).syn().write(&mut packet, &[]).expect("a Vec takes every byte");
            assert!(program.filter(&packet), "{packet:02x?}");
        }
    }
}
