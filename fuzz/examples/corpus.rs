//! Generates the committed corpus: `cargo run --example corpus` in `fuzz/`. The output is deterministic, so
//! that changes can be reviewed.
//!
//! Frames are written by hand, with only the fields that the parser reads; captures are the first records of
//! those in `testdata/`. Inputs found by the fuzzer are not committed.

use std::{
    error::Error,
    fs,
    io::{self, Write as _},
    path::Path,
};

use conntrack_common::wire::LinkLayer;
use flate2::{Compression, write::GzEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let frames = frames().into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    write(&fuzz.join("corpus/frame"), frames)?;
    write(&fuzz.join("corpus/capture_file"), captures(&fuzz.join("../testdata"))?)
}

/// Replaces the content of `directory` with these files.
fn write(directory: &Path, files: Vec<(String, Vec<u8>)>) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(directory)?,
    }
    for (name, bytes) in files {
        fs::write(directory.join(name), bytes)?;
    }
    Ok(())
}

// Numbers from the IANA registries.
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const ARP: [u8; 2] = [0x08, 0x06];
const C_TAG: [u8; 4] = [0x81, 0x00, 0x00, 0x01];
const S_TAG: [u8; 4] = [0x88, 0xa8, 0x00, 0x02];
const OLD_S_TAG: [u8; 4] = [0x91, 0x00, 0x00, 0x03];

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Inputs of the target `frame`, named after their content.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let mut frames = plain_frames();
    frames.extend(ipv4_frames());
    frames.extend(ipv6_frames());
    frames.extend(encapsulated_frames());
    frames.extend(truncated_frames());
    frames.extend(other_links());
    frames
}

fn plain_frames() -> Vec<(&'static str, Vec<u8>)> {
    let udp4 = ipv4(UDP, &udp());
    let syn6 = ipv6(TCP, &tcp(SYN));
    vec![
        ("udp4", ethernet(&[], IPV4, &udp4)),
        ("syn4", ethernet(&[], IPV4, &ipv4(TCP, &tcp(SYN)))),
        ("syn-ack4", ethernet(&[], IPV4, &ipv4(TCP, &tcp(SYN | ACK)))),
        ("icmp4", ethernet(&[], IPV4, &ipv4(ICMP, &[8; 8]))),
        ("udp6", ethernet(&[], IPV6, &ipv6(UDP, &udp()))),
        ("syn6", ethernet(&[], IPV6, &syn6)),
        ("arp", ethernet(&[], ARP, &[0; 28])),
        ("vlan", ethernet(&[C_TAG], IPV4, &udp4)),
        ("qinq", ethernet(&[S_TAG, C_TAG], IPV6, &syn6)),
        ("three-tags", ethernet(&[S_TAG, C_TAG, C_TAG], IPV4, &udp4)),
        ("padded", [ethernet(&[], IPV4, &udp4), vec![0; 18]].concat()),
    ]
}

fn ipv4_frames() -> Vec<(&'static str, Vec<u8>)> {
    let bent = |bends: &[(usize, u8)]| ethernet(&[], IPV4, &bend(ipv4(UDP, &udp()), bends));
    let options = [&[1; 40][..], &udp()].concat();
    vec![
        ("ipv4-options", ethernet(&[], IPV4, &bend(ipv4(UDP, &options), &[(0, 0x4f)]))),
        ("ipv4-ihl-4", bent(&[(0, 0x44)])),
        ("ipv4-first-fragment", bent(&[(6, 0x20)])),
        ("ipv4-later-fragment", bent(&[(7, 0x01)])),
        ("ipv4-length-zero", bent(&[(3, 0)])),
        ("ipv4-length-in-header", bent(&[(3, 19)])),
        ("ipv4-length-in-ports", bent(&[(3, 23)])),
    ]
}

fn ipv6_frames() -> Vec<(&'static str, Vec<u8>)> {
    let chain = |kinds: &[u8]| ethernet(&[], IPV6, &extended(kinds, 0, UDP, &udp()));
    let fragment = |offset| ethernet(&[], IPV6, &extended(&[FRAGMENT], offset, TCP, &tcp(SYN)));
    let length = |octets| ethernet(&[], IPV6, &bend(ipv6(UDP, &udp()), &[(5, octets)]));
    vec![
        ("udp6-hop-by-hop", chain(&[HOP_BY_HOP])),
        ("udp6-routing-destination", chain(&[ROUTING, DESTINATION])),
        ("udp6-authentication", chain(&[AUTHENTICATION])),
        ("udp6-eight-extensions", chain(&[DESTINATION; 8])),
        ("udp6-nine-extensions", chain(&[DESTINATION; 9])),
        ("syn6-first-fragment", fragment(0)),
        ("syn6-later-fragment", fragment(1)),
        ("ipv6-length-zero", length(0)),
        ("ipv6-length-in-ports", length(3)),
    ]
}

/// Headers with their own types first.
fn encapsulated_frames() -> Vec<(&'static str, Vec<u8>)> {
    const PPPOE: &[u8] = &[0x88, 0x64, 0x11, 0, 0, 1, 0, 30, 0x00, 0x21];
    const PPPOE_MPLS: &[u8] = &[0x88, 0x64, 0x11, 0, 0, 1, 0, 34, 0x02, 0x81, 0, 1, 1, 64];
    const MPLS: &[u8] = &[0x88, 0x47, 0, 1, 0, 64, 0, 1, 1, 64];
    const BACKBONE: &[u8] = &[0x88, 0xe7, 0, 0, 0, 7, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 8, 0];
    const SNAP: &[u8] = &[0, 36, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    let udp4 = ipv4(UDP, &udp());
    let behind = |header: &[u8]| over(LinkLayer::Ethernet, &[&[2; 12], header].concat(), &udp4);
    vec![
        ("pppoe", behind(PPPOE)),
        ("pppoe-mpls", behind(PPPOE_MPLS)),
        ("mpls", behind(MPLS)),
        ("mpls-without-end", behind(&[0x88, 0x47].repeat(40))),
        ("backbone", behind(BACKBONE)),
        ("snap", behind(SNAP)),
        ("old-service-tag", ethernet(&[OLD_S_TAG, C_TAG], IPV4, &udp4)),
    ]
}

fn truncated_frames() -> Vec<(&'static str, Vec<u8>)> {
    let cut = |frame: Vec<u8>, length| frame[..=length].to_vec(); // and the choice before it
    let udp4 = ethernet(&[C_TAG], IPV4, &ipv4(UDP, &udp()));
    let syn6 = ethernet(&[], IPV6, &extended(&[DESTINATION], 0, TCP, &tcp(SYN)));
    vec![
        ("truncated-ethernet", cut(udp4.clone(), 13)),
        ("truncated-vlan", cut(udp4.clone(), 17)),
        ("truncated-ipv4", cut(udp4.clone(), 18 + 19)),
        ("truncated-ports", cut(udp4, 18 + 20 + 3)),
        ("truncated-extension", cut(syn6.clone(), 14 + 40 + 7)),
        ("truncated-flags", cut(syn6, 14 + 40 + 8 + 13)),
    ]
}

fn other_links() -> Vec<(&'static str, Vec<u8>)> {
    let udp4 = ipv4(UDP, &udp());
    let syn6 = ipv6(TCP, &tcp(SYN));
    let sll2 = [&IPV6[..], &[0; 18]].concat();
    vec![
        ("ip-udp4", over(LinkLayer::Ip, &[], &udp4)),
        ("ip-syn6", over(LinkLayer::Ip, &[], &syn6)),
        ("ipv4", over(LinkLayer::Ipv4, &[], &udp4)),
        ("ipv6", over(LinkLayer::Ipv6, &[], &syn6)),
        ("sll-vlan", over(LinkLayer::Sll, &[&[0; 14][..], &C_TAG, &IPV4].concat(), &udp4)),
        ("sll2", over(LinkLayer::Sll2, &sll2, &syn6)),
        ("null", over(LinkLayer::BsdLoopback, &[2, 0, 0, 0], &udp4)),
        ("loop", over(LinkLayer::BsdLoopback, &[0, 0, 0, 24], &syn6)),
        ("ppp", over(LinkLayer::Ppp, &[0x00, 0x21], &udp4)),
        ("ppp-hdlc", over(LinkLayer::Ppp, &[0xff, 0x03, 0x00, 0x57], &syn6)),
    ]
}

/// An input: the number of the link layer, and the frame.
fn over(link: LinkLayer, header: &[u8], packet: &[u8]) -> Vec<u8> {
    let choice = (0..).zip(LinkLayer::ALL).find_map(|(at, each)| (each == link).then_some(at));
    [&[choice.expect("it is one of all")], header, packet].concat()
}

fn ethernet(tags: &[[u8; 4]], ether_type: [u8; 2], payload: &[u8]) -> Vec<u8> {
    let header = [&[2; 12][..], &tags.concat(), &ether_type].concat();
    over(LinkLayer::Ethernet, &header, payload)
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let start = [0x45, 0, 0, octet(20 + payload.len()), 0, 0, 0, 0, 64, protocol, 0, 0];
    [&start[..], &[192, 0, 2, 1], &[198, 51, 100, 2], payload].concat()
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let start = [0x60, 0, 0, 0, 0, octet(payload.len()), next, 64];
    [&start[..], &[0x20; 16], &[0xfd; 16], payload].concat()
}

/// An IPv6 packet with extension headers of minimal length.
fn extended(kinds: &[u8], fragment_offset: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut nexts = kinds.iter().copied().skip(1).chain([protocol]);
    let mut headers = Vec::new();
    for &kind in kinds {
        let next = nexts.next().expect("one for each kind");
        headers.extend(match kind {
            FRAGMENT => [next, 0, 0, fragment_offset << 3, 0, 0, 0, 1],
            AUTHENTICATION => [next, 0, 0, 0, 0, 0, 0, 0],
            _ => [next, 0, 1, 4, 0, 0, 0, 0],
        });
    }
    ipv6(kinds[0], &[&headers, payload].concat())
}

/// From port 40000 to port 53, and no payload.
fn udp() -> Vec<u8> {
    vec![0x9c, 0x40, 0, 53, 0, 8, 0, 0]
}

/// From port 40000 to port 443.
fn tcp(flags: u8) -> Vec<u8> {
    [&[0x9c, 0x40, 0x01, 0xbb][..], &[0; 8], &[0x50, flags], &[0; 6]].concat()
}

/// The packet with these octets replaced.
fn bend(mut packet: Vec<u8>, bends: &[(usize, u8)]) -> Vec<u8> {
    for &(at, octet) in bends {
        packet[at] = octet;
    }
    packet
}

fn octet(length: usize) -> u8 {
    u8::try_from(length).expect("packets of the corpus are short")
}

/// Captures of `testdata/`, one of each kind.
const CAPTURES: [&str; 29] = [
    "broken/empty.pcap",
    "broken/not-a-capture.pcap",
    "broken/oversized-record.pcap",
    "broken/truncated.pcap",
    "broken/unsupported-linktype.pcap",
    "clock-steps-back.pcap",
    "container-big-endian.pcap",
    "container-modified.pcap",
    "container-nanoseconds.pcap",
    "container-pcapng-big-endian.pcapng",
    "container-pcapng-interfaces.pcapng",
    "container-pcapng-obsolete.pcapng",
    "container-pcapng-sections.pcapng",
    "container-pcapng-simple.pcapng",
    "container-pcapng.pcapng",
    "encapsulated.pcap",
    "header-only.pcap",
    "internet.pcap",
    "ipv6-text.pcap",
    "link-loop.pcap",
    "link-null.pcap",
    "link-ppp-hdlc.pcap",
    "link-raw.pcap",
    "link-sll2.pcap",
    "seed.pcap",
    "times-far-off.pcap",
    "times-until-2106.pcap",
    "times.pcap",
    "udp-replies.pcap",
];

/// Short inputs are faster, and more of their mutations matter.
const LONGEST: usize = 1024;

fn captures(testdata: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut captures = Vec::new();
    for path in CAPTURES {
        let bytes = read(&testdata.join(path))?;
        let end = if bytes.len() > LONGEST { whole_records(&bytes) } else { bytes.len() };
        captures.push((path.replace('/', "-"), bytes[..end].to_vec()));
    }
    let seed = read(&testdata.join("seed.pcap"))?;
    captures.push(("seed.pcap.gz".to_owned(), gzip(&seed)?));
    captures
        .push(("seed.pcap.zst".to_owned(), compress_to_vec(&seed[..], CompressionLevel::Fastest)));
    Ok(captures)
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// End of the last record within the limit.
fn whole_records(file: &[u8]) -> usize {
    let mut end = 0;
    while let Some(next) = next_record(file, end).filter(|next| *next <= LONGEST) {
        end = next;
    }
    end
}

/// End of the record or block at `at`; the file header of pcap counts as one.
fn next_record(file: &[u8], at: usize) -> Option<usize> {
    let word = |at| file.get(at..)?.first_chunk().copied();
    let length = match word(0)? {
        [0x0a, 0x0d, 0x0d, 0x0a] if word(8)?[0] == 0x1a => u32::from_be_bytes(word(at + 4)?),
        [0x0a, 0x0d, 0x0d, 0x0a] => u32::from_le_bytes(word(at + 4)?),
        _ if at == 0 => 24,
        [0xa1, ..] => 16 + u32::from_be_bytes(word(at + 8)?),
        [0x34, ..] => 24 + u32::from_le_bytes(word(at + 8)?),
        _ => 16 + u32::from_le_bytes(word(at + 8)?),
    };
    Some(at + usize::try_from(length).ok()?)
}
