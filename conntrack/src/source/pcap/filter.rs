//! The kernel's filter for live captures, in libpcap's language. It passes every packet that the parser
//! would count as a flow and drops most others.
//!
//! libpcap's own `tcp or udp` does neither: it ignores tags in the frame, knows TCP flags for IPv4 only and
//! passes every fragment. Headers that the language cannot walk (IPv6 extension headers, tags after a cooked
//! header, MPLS) pass for the parser to decide. Unknown `EtherType`s pass to be counted. Truncated packets
//! are dropped, because a load beyond the end rejects the packet.

use conntrack_common::wire::{IPV4, IPV6, LinkLayer, llc, pppoe, vlan};

/// The filter for frames with this link layer.
pub(super) fn expression(link: LinkLayer) -> String {
    let alternatives = match link {
        // The kernel's filter does not see the tag that the NIC strips.
        LinkLayer::Ethernet => (0..=vlan::MAX_TAGS).map(frame_with_tags).collect(),
        LinkLayer::Sll => vec![by_keyword(), cooked(14, 16)],
        LinkLayer::Sll2 => vec![by_keyword(), cooked(0, 20)],
        _ => vec![by_keyword()],
    };
    alternatives.join(" or ")
}

/// An Ethernet frame with this many tags in its bytes. libpcap's keywords ignore such tags.
fn frame_with_tags(tags: usize) -> String {
    let at = 12 + 4 * tags;
    let mut all: Vec<_> = (0..tags).map(|tag| one_of(12 + 4 * tag, &TAGS)).collect();
    let kinds = [opening_ip(at, [IPV4, IPV6], at + 2), pppoe_session(at), unusual(at, at + 2)];
    all.push(format!("({})", kinds.join(" or ")));
    format!("({})", all.join(" and "))
}

/// A `PPPoE` session packet with IP or MPLS.
fn pppoe_session(ether_type: usize) -> String {
    const IP: [u16; 2] = [0x0021, 0x0057];
    const MPLS: [u16; 2] = [0x0281, 0x0283];
    let is_session = one_of(ether_type, &[pppoe::SESSION]);
    let ppp = ether_type + 8;
    format!("({is_session} and ({} or {}))", opening_ip(ppp, IP, ppp + 2), one_of(ppp, &MPLS))
}

/// A frame with a cooked header and no IP, given the offsets of its protocol field and payload.
fn cooked(protocol: usize, payload: usize) -> String {
    let kinds =
        [one_of(protocol, &TAGS), one_of(protocol, &[pppoe::SESSION]), unusual(protocol, payload)];
    kinds.join(" or ")
}

/// An `EtherType` whose payload may contain IP, or an unknown one.
fn unusual(ether_type: usize, payload: usize) -> String {
    const ARP: u16 = 0x0806;
    let told = [&TAGS[..], &[IPV4, IPV6, pppoe::SESSION, ARP]].concat();
    let is_other = format!("not {}", one_of(ether_type, &told));
    let first = llc::FIRST_TYPE;
    format!("({is_other} and (link[{ether_type}:2] >= {first} or link[{payload}:2] == 0xaaaa))")
}

/// All types of VLAN tags.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// The two octets at this offset are one of these numbers.
fn one_of(at: usize, numbers: &[u16]) -> String {
    let is = |number| format!("link[{at}:2] == {number}");
    let alternatives: Vec<_> = numbers.iter().map(is).collect();
    format!("({})", alternatives.join(" or "))
}

/// An IPv4 or IPv6 packet that passes, by its protocol number at the offset `number`.
fn opening_ip(number: usize, [ipv4, ipv6]: [u16; 2], header: usize) -> String {
    let octets = |at: &str| format!("link[{header} + {at}");
    let opening = [(ipv4, opening_ipv4(&octets)), (ipv6, opening_ipv6(&octets))];
    let [ipv4, ipv6] = opening.map(|(is, opens)| format!("link[{number}:2] == {is} and {opens}"));
    format!("({ipv4}) or ({ipv6})")
}

/// A packet whose IP header libpcap finds by itself.
fn by_keyword() -> String {
    let ipv4 = opening_ipv4(&|at| format!("ip[{at}"));
    let ipv6 = opening_ipv6(&|at| format!("ip6[{at}"));
    format!("(ip and {ipv4}) or (ip6 and {ipv6})")
}

/// TCP that opens, answers or refuses, or UDP; and no later fragment. `octets` opens an access to the IP
/// header, up to the offset: the closing bracket, with a length before it or not, is added here.
fn opening_ipv4(octets: &dyn Fn(&str) -> String) -> String {
    let fragment = octets("6");
    let protocol = octets("9");
    let header = format!("({}] & 0x0f) * 4", octets("0"));
    let tcp = telling_tcp(&|at| octets(&format!("{header} + {at}")));
    format!("{fragment}:2] & 0x1fff == 0 and ({protocol}] == 17 or ({protocol}] == 6 and {tcp}))")
}

/// The same, or an extension header that the parser will walk; no later fragment, if the fragment
/// header comes first.
fn opening_ipv6(octets: &dyn Fn(&str) -> String) -> String {
    const EXTENSIONS: [u8; 4] = [0, 43, 51, 60];
    let next = octets("6");
    let fragment = octets("42");
    let tcp = telling_tcp(&|at| octets(&format!("{}", 40 + at)));
    let extensions = EXTENSIONS.map(|number| format!("{next}] == {number}")).join(" or ");
    format!(
        "({next}] == 17 or ({next}] == 6 and {tcp}) or {extensions} or \
         ({next}] == 44 and {fragment}:2] & 0xfff8 == 0))"
    )
}

/// SYN, SYN-ACK, or RST-ACK without a sequence number. `octets` opens an access to the TCP header.
fn telling_tcp(octets: &dyn Fn(usize) -> String) -> String {
    let flags = octets(13);
    let sequence_number = octets(4);
    format!(
        "({flags}] & 0x12 == 0x02 or {flags}] & 0x16 == 0x12 or \
         ({flags}] & 0x14 == 0x14 and {sequence_number}:4] == 0))"
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

    /// Calls `each` with every frame of the captures and the parser's result.
    fn for_each_frame(mut each: impl FnMut(&Path, &[u8], Result<(), Skip>)) {
        for path in captures() {
            let mut capture = Capture::from_file(&path).expect("a capture");
            if capture.get_datalink() != Linktype::ETHERNET {
                continue;
            }
            while let Ok(packet) = capture.next_packet() {
                let observed = rules::observe(packet.data, LinkLayer::Ethernet);
                each(&path, packet.data, observed.map(|_packet| ()));
            }
        }
    }

    #[test]
    fn everything_that_the_parser_takes_gets_through() {
        let program = ethernet();
        let mut taken = 0;
        for_each_frame(|path, frame, parsed| {
            if parsed.is_ok() {
                taken += 1;
                assert!(program.filter(frame), "{}: {frame:02x?}", path.display());
            }
        });
        assert!(taken > 100, "only {taken} flows in the captures");
    }

    /// Passes for the parser to decide: IPv6 extension headers, and headers that may precede IP.
    fn is_for_the_parser_to_judge(frame: &[u8]) -> bool {
        const NEXT_HEADER: usize = 14 + 6;
        let tags = frame[12..]
            .chunks(4)
            .take_while(|tag| [[0x81, 0], [0x88, 0xa8], [0x91, 0]].contains(&[tag[0], tag[1]]));
        let at = 12 + 4 * tags.count();
        match u16::from_be_bytes([frame[at], frame[at + 1]]) {
            IPV6 => [0, 43, 51, 60].contains(&frame[NEXT_HEADER]),
            IPV4 | 0x0806 => false,
            length if length < llc::FIRST_TYPE => frame[at + 2] == 0xaa,
            _ => true,
        }
    }

    #[test]
    fn what_is_no_flow_is_kept_out_unless_only_the_parser_can_tell() {
        let program = ethernet();
        let mut kept_out = 0;
        for_each_frame(|path, frame, parsed| {
            let is_readable = |skip| !Skip::UNREADABLE.contains(&skip);
            if parsed.is_err_and(is_readable) && !is_for_the_parser_to_judge(frame) {
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
    fn tcp_that_neither_opens_nor_answers_is_kept_out() {
        let program = program(super::super::link::DLT_RAW, LinkLayer::Ip);
        let ips: [fn() -> PacketBuilderStep<IpHeaders>; 2] = [
            || PacketBuilder::ipv4([10; 4], [10, 0, 0, 1], 64),
            || PacketBuilder::ipv6([0xfd; 16], [0x20; 16], 64),
        ];
        let silent: [fn(PacketBuilderStep<TcpHeader>) -> PacketBuilderStep<TcpHeader>; 3] =
            [|tcp| tcp.psh().ack(1), |tcp| tcp.ack(1), PacketBuilderStep::fin];
        let telling: [fn(PacketBuilderStep<TcpHeader>) -> PacketBuilderStep<TcpHeader>; 3] =
            [PacketBuilderStep::syn, |tcp| tcp.syn().ack(1), |tcp| tcp.rst().ack(1)];
        for ip in ips {
            for set_flags in silent {
                let mut packet = Vec::new();
                let segment = set_flags(ip().tcp(1, 2, 3, 4));
                segment.write(&mut packet, &[]).expect("a Vec takes every byte");
                assert!(!program.filter(&packet), "{packet:02x?}");
            }
            for set_flags in telling {
                let mut packet = Vec::new();
                let segment = set_flags(ip().tcp(1, 2, 0, 4));
                segment.write(&mut packet, &[]).expect("a Vec takes every byte");
                assert!(program.filter(&packet), "{packet:02x?}");
            }
        }
    }
}
