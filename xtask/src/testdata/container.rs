//! Capture file formats: pcap in its variants, and pcapng.
//!
//! Only what the captures here need, written from the two format drafts: no options but those about
//! time, no truncated frames.

use std::time::Duration;

use super::frame::Frame;
use super::link_type::{LinkType, RAW, SLL};

/// `LINKTYPE_ETHERNET`, <https://www.tcpdump.org/linktypes.html>.
pub(super) const ETHERNET: u16 = 1;
/// `LINKTYPE_IEEE802_11`: a link type that is not supported.
pub(super) const WLAN: u16 = 105;

/// 2026-01-01T00:00:00Z in Unix seconds, when every capture begins.
pub(super) const START: u64 = 1_767_225_600;
const SNAPLEN: u32 = 262_144;

/// Of the machine that writes.
#[derive(Clone, Copy)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    fn i64(self, value: i64) -> [u8; 8] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }
}

/// How a pcap file is written.
#[derive(Clone, Copy)]
pub(super) enum Pcap {
    /// Little-endian, microseconds: what tcpdump writes.
    Usual,
    /// Little-endian, nanoseconds: `tcpdump --time-stamp-precision=nano`.
    Nanoseconds,
    /// Big-endian, microseconds: from a big-endian machine.
    BigEndian,
    /// As Kuznetzov's libpcap wrote it, with more about each packet.
    Modified(ByteOrder),
}

impl Pcap {
    fn order(self) -> ByteOrder {
        match self {
            Self::Usual | Self::Nanoseconds => ByteOrder::Little,
            Self::BigEndian => ByteOrder::Big,
            Self::Modified(order) => order,
        }
    }

    /// draft-ietf-opsawg-pcap, section 4: magic number, version 2.4, two reserved words, longest
    /// record, link type.
    pub(super) fn header(self, linktype: u16) -> Vec<u8> {
        let magic = match self {
            Self::Usual | Self::BigEndian => 0xa1b2_c3d4,
            Self::Nanoseconds => 0xa1b2_3c4d,
            Self::Modified(_) => 0xa1b2_cd34,
        };
        let order = self.order();
        let mut bytes = order.u32(magic).to_vec();
        bytes.extend(order.u16(2));
        bytes.extend(order.u16(4));
        for word in [0, 0, SNAPLEN, u32::from(linktype)] {
            bytes.extend(order.u32(word));
        }
        bytes
    }

    /// draft-ietf-opsawg-pcap, section 5: seconds, fraction, captured length, original length. In a
    /// modified file then interface 2, IPv4, for us, and a filler.
    pub(super) fn record_header(self, time: Duration, length: u32) -> Vec<u8> {
        let seconds = u32::try_from(time.as_secs()).expect("a pcap's seconds fit 32 bits");
        let fraction = match self {
            Self::Nanoseconds => time.subsec_nanos(),
            _ => time.subsec_micros(),
        };
        let order = self.order();
        let words = [seconds, fraction, length, length];
        let mut bytes: Vec<u8> = words.into_iter().flat_map(|word| order.u32(word)).collect();
        if let Self::Modified(_) = self {
            bytes.extend(order.u32(2));
            bytes.extend(order.u16(0x0800));
            bytes.extend([0, 0]);
        }
        bytes
    }

    /// A whole file of Ethernet frames.
    pub(super) fn file(self, frames: &[Frame]) -> Vec<u8> {
        self.file_of(ETHERNET, frames)
    }

    /// A whole file whose header claims `linktype`.
    pub(super) fn file_of(self, linktype: u16, frames: &[Frame]) -> Vec<u8> {
        self.file_with(linktype, frames, |frame| frame)
    }

    /// A whole file of the same packets behind another link header.
    pub(super) fn file_behind(self, link_type: LinkType, frames: &[Frame]) -> Vec<u8> {
        self.file_with(link_type.number, frames, |frame| link_type.instead_of_ethernet(&frame))
    }

    fn file_with(
        self,
        linktype: u16,
        frames: &[Frame],
        rewrite: impl Fn(Vec<u8>) -> Vec<u8>,
    ) -> Vec<u8> {
        let mut file = self.header(linktype);
        for (time, frame) in timed(frames) {
            let bytes = rewrite(frame);
            file.extend(self.record_header(time, length(&bytes)));
            file.extend(bytes);
        }
        file
    }
}

/// A whole pcapng file, little-endian, with times in nanoseconds.
pub(super) fn pcapng(frames: &[Frame]) -> Vec<u8> {
    pcapng_of(
        ByteOrder::Little,
        &[Interface { resolution: Some(9), ..Interface::ETHERNET }],
        frames,
    )
}

/// A whole pcapng file, one frame of each interface in turn. All are described before the first frame.
pub(super) fn pcapng_of(order: ByteOrder, interfaces: &[Interface], frames: &[Frame]) -> Vec<u8> {
    let mut file = section(order, interfaces);
    let in_turn = (0..).zip(interfaces).cycle();
    for ((time, frame), (id, interface)) in timed(frames).zip(in_turn) {
        let bytes = interface.packet(&frame);
        let body = enhanced_packet(order, id, interface.ticks(time), &bytes);
        file.extend(block(order, ENHANCED_PACKET, &body));
    }
    file
}

/// A whole pcapng file, half of the frames in a section of each byte order. Their interfaces have the
/// same number and are not the same.
pub(super) fn pcapng_sections(frames: &[Frame]) -> Vec<u8> {
    let (first, second) = frames.split_at(frames.len() / 2);
    let raw = Interface { link_type: Some(RAW), ..Interface::ETHERNET };
    let mut file = pcapng_of(ByteOrder::Big, &[Interface::ETHERNET], first);
    file.extend(pcapng_of(ByteOrder::Little, &[raw], second));
    file
}

/// A whole pcapng file of packets without times, with a block between them that nobody knows.
pub(super) fn pcapng_simple(frames: &[Frame]) -> Vec<u8> {
    const UNKNOWN: u32 = 0x0bad_cafe;
    let order = ByteOrder::Little;
    let mut file = section(order, &[Interface::ETHERNET]);
    for (_, frame) in timed(frames) {
        // draft-ietf-opsawg-pcapng, section 4.4: original length, the frame.
        let body = [&order.u32(length(&frame))[..], &frame].concat();
        file.extend(block(order, SIMPLE_PACKET, &body));
        file.extend(block(order, UNKNOWN, b"skip me"));
    }
    file
}

/// A whole pcapng file as it was written before there were enhanced packets.
pub(super) fn pcapng_obsolete(frames: &[Frame]) -> Vec<u8> {
    let order = ByteOrder::Little;
    let interfaces = [Interface { link_type: Some(SLL), ..Interface::ETHERNET }];
    let mut file = section(order, &interfaces);
    let [interface] = &interfaces;
    for (time, frame) in timed(frames) {
        let bytes = interface.packet(&frame);
        let mut body = enhanced_packet(order, 0, interface.ticks(time), &bytes);
        // draft-ietf-opsawg-pcapng, appendix A: interface 0, of 16 bits, and 7 lost packets.
        body[..4].copy_from_slice(&[0, 0, 7, 0]);
        file.extend(block(order, OBSOLETE_PACKET, &body));
    }
    file
}

/// How an interface of a pcapng file is described.
#[derive(Clone, Copy)]
pub(super) struct Interface {
    /// `None`: Ethernet.
    pub(super) link_type: Option<LinkType>,
    pub(super) snaplen: u32,
    /// What a tick is, as the option has it; `None`: a microsecond, and no option.
    pub(super) resolution: Option<u8>,
    /// When tick 0 was, in Unix seconds.
    pub(super) offset: Option<i64>,
}

impl Interface {
    pub(super) const ETHERNET: Self =
        Self { link_type: None, snaplen: SNAPLEN, resolution: None, offset: None };

    /// The frame's packet behind this interface's header.
    fn packet(self, frame: &[u8]) -> Vec<u8> {
        self.link_type.map_or(frame.to_vec(), |link_type| link_type.instead_of_ethernet(frame))
    }

    fn ticks(self, time: Duration) -> u64 {
        let resolution = u32::from(self.resolution.unwrap_or(6));
        let per_second: u128 =
            if resolution < 0x80 { 10_u128.pow(resolution) } else { 1 << (resolution - 0x80) };
        let offset = u64::try_from(self.offset.unwrap_or(0)).expect("not before 1970");
        let since = time.as_nanos() - Duration::from_secs(offset).as_nanos();
        u64::try_from(since * per_second / 1_000_000_000).expect("ticks of a capture fit 64 bits")
    }

    /// draft-ietf-opsawg-pcapng, section 4.2: link type, reserved, longest record; options `if_tsresol`
    /// (9) of one byte and `if_tsoffset` (14) of eight; `opt_endofopt`.
    fn description(self, order: ByteOrder) -> Vec<u8> {
        let mut body = order.u16(self.link_type.map_or(ETHERNET, |it| it.number)).to_vec();
        body.extend(order.u16(0));
        body.extend(order.u32(self.snaplen));
        if let Some(resolution) = self.resolution {
            body.extend(option(order, 9, &[resolution]));
        }
        if let Some(offset) = self.offset {
            body.extend(option(order, 14, &order.i64(offset)));
        }
        body.extend([0; 4]);
        body
    }
}

// Block types, draft-ietf-opsawg-pcapng, section 11.1.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// draft-ietf-opsawg-pcapng, section 3.1: type, total length, body padded to 32 bits, total length.
fn block(order: ByteOrder, kind: u32, body: &[u8]) -> Vec<u8> {
    let mut padded = body.to_vec();
    padded.resize(body.len().next_multiple_of(4), 0);
    let total = order.u32(length(&padded) + 12);
    [&order.u32(kind)[..], &total, &padded, &total].concat()
}

/// draft-ietf-opsawg-pcapng, section 3.5: code, length, value padded to 32 bits.
fn option(order: ByteOrder, code: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("an option is short");
    let mut padded = value.to_vec();
    padded.resize(value.len().next_multiple_of(4), 0);
    [&order.u16(code)[..], &order.u16(length), &padded].concat()
}

/// A section's header and its interfaces.
fn section(order: ByteOrder, interfaces: &[Interface]) -> Vec<u8> {
    let mut bytes = block(order, SECTION_HEADER, &section_header(order));
    for interface in interfaces {
        bytes.extend(block(order, INTERFACE_DESCRIPTION, &interface.description(order)));
    }
    bytes
}

/// draft-ietf-opsawg-pcapng, section 4.1: byte-order magic, version 1.0, section length unknown.
fn section_header(order: ByteOrder) -> Vec<u8> {
    let mut body = order.u32(0x1a2b_3c4d).to_vec();
    body.extend(order.u16(1));
    body.extend(order.u16(0));
    body.extend(order.i64(-1));
    body
}

/// draft-ietf-opsawg-pcapng, section 4.3: interface, upper and lower half of the time, captured
/// length, original length, the frame.
fn enhanced_packet(order: ByteOrder, interface: u32, ticks: u64, bytes: &[u8]) -> Vec<u8> {
    let upper = u32::try_from(ticks >> 32).expect("half of 64 bits");
    let lower = u32::try_from(ticks & u64::from(u32::MAX)).expect("half of 64 bits");
    let words = [interface, upper, lower, length(bytes), length(bytes)];
    let mut body: Vec<u8> = words.into_iter().flat_map(|word| order.u32(word)).collect();
    body.extend(bytes);
    body
}

/// Each frame's bytes and time: its own, else one millisecond for each frame before it.
fn timed(frames: &[Frame]) -> impl Iterator<Item = (Duration, Vec<u8>)> {
    frames.iter().zip(0..).map(|(frame, index)| {
        let since_start = frame.time().unwrap_or(Duration::from_millis(index));
        (Duration::from_secs(START) + since_start, frame.bytes())
    })
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a frame's length fits 32 bits")
}
