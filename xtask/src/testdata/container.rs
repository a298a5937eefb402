//! Capture file formats: pcap in three variants, and pcapng.
//!
//! Only what the captures here need, written from the two format drafts: one interface, no options but
//! the time resolution, no truncated frames.

use std::time::Duration;

use super::frame::Frame;
use super::link_type::LinkType;

/// `LINKTYPE_ETHERNET`, <https://www.tcpdump.org/linktypes.html>.
pub(super) const ETHERNET: u16 = 1;
/// `LINKTYPE_IEEE802_11`: a link type that is not supported.
pub(super) const WLAN: u16 = 105;

/// 2026-01-01T00:00:00Z in Unix seconds, when every capture begins.
pub(super) const START: u64 = 1_767_225_600;
const SNAPLEN: u32 = 262_144;

/// How a pcap file is written.
#[derive(Clone, Copy)]
pub(super) enum Pcap {
    /// Little-endian, microseconds: what tcpdump writes.
    Usual,
    /// Little-endian, nanoseconds: `tcpdump --time-stamp-precision=nano`.
    Nanoseconds,
    /// Big-endian, microseconds: from a big-endian machine.
    BigEndian,
}

impl Pcap {
    fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::BigEndian => value.to_be_bytes(),
            Self::Usual | Self::Nanoseconds => value.to_le_bytes(),
        }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::BigEndian => value.to_be_bytes(),
            Self::Usual | Self::Nanoseconds => value.to_le_bytes(),
        }
    }

    /// draft-ietf-opsawg-pcap, section 4: magic number, version 2.4, two reserved words, longest
    /// record, link type.
    pub(super) fn header(self, linktype: u16) -> Vec<u8> {
        let magic = match self {
            Self::Usual | Self::BigEndian => 0xa1b2_c3d4,
            Self::Nanoseconds => 0xa1b2_3c4d,
        };
        let mut bytes = self.u32(magic).to_vec();
        bytes.extend(self.u16(2));
        bytes.extend(self.u16(4));
        for word in [0, 0, SNAPLEN, u32::from(linktype)] {
            bytes.extend(self.u32(word));
        }
        bytes
    }

    /// draft-ietf-opsawg-pcap, section 5: seconds, fraction, captured length, original length.
    pub(super) fn record_header(self, time: Duration, length: u32) -> Vec<u8> {
        let seconds = u32::try_from(time.as_secs()).expect("a pcap's seconds fit 32 bits");
        let fraction = match self {
            Self::Usual | Self::BigEndian => time.subsec_micros(),
            Self::Nanoseconds => time.subsec_nanos(),
        };
        [seconds, fraction, length, length].into_iter().flat_map(|word| self.u32(word)).collect()
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
    let mut file = block(SECTION_HEADER, &section_header());
    file.extend(block(INTERFACE_DESCRIPTION, &interface_description()));
    for (time, bytes) in timed(frames) {
        file.extend(block(ENHANCED_PACKET, &enhanced_packet(time, &bytes)));
    }
    file
}

// Block types, draft-ietf-opsawg-pcapng, section 11.1.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

/// draft-ietf-opsawg-pcapng, section 3.1: type, total length, body padded to 32 bits, total length.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut padded = body.to_vec();
    padded.resize(body.len().next_multiple_of(4), 0);
    let total = (length(&padded) + 12).to_le_bytes();
    [kind.to_le_bytes().as_slice(), &total, &padded, &total].concat()
}

/// draft-ietf-opsawg-pcapng, section 4.1: byte-order magic, version 1.0, section length unknown.
fn section_header() -> Vec<u8> {
    let mut body = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    body.extend(1_u16.to_le_bytes());
    body.extend(0_u16.to_le_bytes());
    body.extend((-1_i64).to_le_bytes());
    body
}

/// draft-ietf-opsawg-pcapng, section 4.2: link type, reserved, longest record; option
/// `if_tsresol` (9) of one byte, 10^-9 s, padded to 32 bits; `opt_endofopt`.
fn interface_description() -> Vec<u8> {
    let mut body = ETHERNET.to_le_bytes().to_vec();
    body.extend(0_u16.to_le_bytes());
    body.extend(SNAPLEN.to_le_bytes());
    body.extend([9, 0, 1, 0, 9, 0, 0, 0]);
    body.extend([0; 4]);
    body
}

/// draft-ietf-opsawg-pcapng, section 4.3: interface, upper and lower half of the time, captured
/// length, original length, the frame.
fn enhanced_packet(time: Duration, bytes: &[u8]) -> Vec<u8> {
    let ticks = u64::try_from(time.as_nanos()).expect("64 bits of nanoseconds last until 2554");
    let upper = u32::try_from(ticks >> 32).expect("half of 64 bits");
    let lower = u32::try_from(ticks & u64::from(u32::MAX)).expect("half of 64 bits");
    let words = [0, upper, lower, length(bytes), length(bytes)];
    let mut body: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
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
