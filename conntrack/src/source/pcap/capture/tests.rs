//! Unusual and hostile captures. The common ones are tested in `tests/captures.rs`.

use std::iter;

use std::io;

use super::*;

const ETHERNET: u16 = 1;
const RAW: u16 = 101;
const PACKET: [u8; 6] = [1, 2, 3, 4, 5, 6];

/// A packet's octets, link type and time.
type Told = (Vec<u8>, u16, Option<Duration>);

/// All packets of a capture, and its end.
fn read(capture: &[u8]) -> (Vec<Told>, Result<(), CaptureError>) {
    let mut packets = Vec::new();
    let mut capture = match Capture::new(capture, None) {
        Ok(capture) => capture,
        Err(error) => return (packets, Err(error)),
    };
    loop {
        match capture.next_packet() {
            Ok(Some(Packet { data, link_type, time })) => {
                packets.push((data.to_vec(), link_type.0, time));
            }
            Ok(None) => return (packets, Ok(())),
            Err(error) => return (packets, Err(error)),
        }
    }
}

/// Fails unless the capture ends with this error after so many packets.
#[track_caller]
fn assert_ends(capture: &[u8], packets: usize, message: &str) {
    let (read, end) = read(capture);
    assert_eq!(read.len(), packets);
    assert_eq!(end.expect_err("an error").to_string(), message);
}

fn bytes_of<const N: usize>(words: [u32; N]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// pcap, little-endian, microseconds, Ethernet.
fn classic_header() -> Vec<u8> {
    bytes_of([0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, ETHERNET.into()])
}

fn record(captured: u32) -> Vec<u8> {
    [&bytes_of([7, 8, captured, captured])[..], &PACKET].concat()
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 12).expect("a short block");
    [&bytes_of([kind, length])[..], body, &bytes_of([length])].concat()
}

fn section() -> Vec<u8> {
    block(0x0a0d_0d0a, &bytes_of([0x1a2b_3c4d, 1, u32::MAX, u32::MAX]))
}

fn interface(options: &[u8]) -> Vec<u8> {
    block(1, &[&bytes_of([RAW.into(), 4])[..], options].concat())
}

/// An enhanced packet block of the first interface at this tick.
fn enhanced(ticks: u64) -> Vec<u8> {
    let [low, high] = [ticks & 0xffff_ffff, ticks >> 32];
    let [low, high] = [low, high].map(|half| u32::try_from(half).expect("half of 64 bits"));
    block(6, &[&bytes_of([0, high, low, 6, 6])[..], &PACKET, &[0, 0]].concat())
}

/// A pcapng file with a section and an interface.
fn pcapng(blocks: &[Vec<u8>]) -> Vec<u8> {
    [section(), interface(&[]), blocks.concat()].concat()
}

/// The time of this tick with these interface options.
#[track_caller]
fn time(options: &[u8], ticks: u64) -> Duration {
    let capture = [section(), interface(options), enhanced(ticks)].concat();
    let (packets, end) = read(&capture);
    end.expect("readable");
    packets[0].2.expect("a time")
}

fn resolution(resolution: u8) -> Vec<u8> {
    vec![9, 0, 1, 0, resolution, 0, 0, 0]
}

fn offset(seconds: i64) -> Vec<u8> {
    [&[14, 0, 8, 0][..], &seconds.to_le_bytes()].concat()
}

#[test]
fn every_cut_of_a_capture_keeps_the_packets_before_it() {
    let classic = [classic_header(), record(6), record(6)].concat();
    let pcapng = pcapng(&[enhanced(1), block(3, &[&bytes_of([6])[..], &PACKET, &[0; 2]].concat())]);
    for whole in [classic, pcapng] {
        let (all, end) = read(&whole);
        end.expect("whole");
        let mut ends = 0;
        for length in 0..whole.len() {
            let (packets, end) = read(&whole[..length]);
            assert_eq!(packets, all[..packets.len()], "length {length}");
            match end {
                Ok(()) => ends += 1,
                Err(error) => assert!(error.to_string().starts_with("truncated: "), "{error}"),
            }
        }
        assert!((2..=4).contains(&ends), "a capture is whole behind a packet: {ends}");
    }
}

#[test]
fn a_packet_that_is_longer_than_any_is_damage() {
    for length in [262_145, u32::MAX] {
        let message = format!("damaged at octet 46: a packet of {length} octets");
        assert_ends(&[classic_header(), record(6), record(length)].concat(), 1, &message);
    }
    let (packets, end) = read(&[classic_header(), record(262_144)].concat());
    assert!(packets.is_empty() && matches!(end, Err(CaptureError::Truncated(_))));
}

#[test]
fn a_block_s_length_is_checked_before_it_is_believed() {
    for kind in [0x0a0d_0d0a, 1, 2, 3, 6, 99] {
        for length in [0, 1, 8, 11, 13, 0xffff_ffff] {
            let wrong = bytes_of([kind, length, 0x1a2b_3c4d, 0, 0, 0, 0, 0]);
            let message = format!("damaged at octet 88: a block of {length} octets");
            assert_ends(&pcapng(&[enhanced(1), wrong]), 1, &message);
        }
    }
}

#[test]
fn a_block_with_a_packet_has_a_limit_and_others_are_stepped_over() {
    const LONG: u32 = 1 << 25;
    let block = bytes_of([6, LONG, 0]);
    assert_ends(&pcapng(&[block]), 0, &format!("damaged at octet 48: a block of {LONG} octets"));

    let unknown = bytes_of([99, LONG]);
    let rest = iter::repeat_n(0, LONG as usize - 8);
    let capture = pcapng(&[unknown]).into_iter().chain(rest).chain(enhanced(1));
    let mut capture = Capture::new(Octets(capture), None).expect("a capture");
    let packet = capture.next_packet().expect("readable").expect("a packet");
    assert_eq!(packet.data, PACKET);
    assert!(capture.next_packet().expect("readable").is_none());
    assert!(capture.buffer.capacity() < 1 << 20);
}

/// A reader of generated octets.
struct Octets<I>(I);

impl<I: Iterator<Item = u8>> Read for Octets<I> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(bytes.iter_mut().zip(&mut self.0).map(|(byte, octet)| *byte = octet).count())
    }
}

#[test]
fn the_two_lengths_of_a_block_must_agree() {
    let mut wrong = enhanced(1);
    let trailer = wrong.len() - 4;
    wrong[trailer] += 4;
    assert_ends(&pcapng(&[enhanced(1), wrong]), 1, "damaged at octet 88: a block of 40 octets");
}

#[test]
fn a_packet_must_fit_into_its_block() {
    for captured in [9_u32, 100, 262_144, 262_145, u32::MAX - 3, u32::MAX] {
        for kind in [6, 2] {
            let body = [&bytes_of([0, 0, 1, captured, 6])[..], &PACKET, &[0; 2]].concat();
            let (packets, end) = read(&pcapng(&[block(kind, &body)]));
            assert!(packets.is_empty(), "{captured} octets");
            let error = end.expect_err("no such packet").to_string();
            assert!(error.starts_with("damaged at octet 48: "), "{error}");
        }
    }
}

#[test]
fn every_shorter_body_of_a_block_is_damage() {
    let bodies = [
        (0x0a0d_0d0a, bytes_of([0x1a2b_3c4d, 1, u32::MAX])),
        (1, bytes_of([RAW.into()])),
        (2, bytes_of([0, 0, 1, 0])),
        (3, Vec::new()),
        (6, bytes_of([0, 0, 1, 0])),
    ];
    for (kind, body) in bodies {
        for length in (0..=body.len()).step_by(4) {
            let (packets, end) = read(&pcapng(&[block(kind, &body[..length])]));
            let error = end.expect_err("too short").to_string();
            assert!(packets.is_empty() && error.starts_with("damaged "), "{kind}: {error}");
        }
    }
}

#[test]
fn an_interface_must_be_described_in_its_section() {
    let message = "damaged at octet 28: a packet of interface 0, which was not described";
    assert_ends(&[section(), enhanced(1)].concat(), 0, message);
    let simple = block(3, &bytes_of([0]));
    assert_ends(&[section(), simple].concat(), 0, message);
    let second = [pcapng(&[enhanced(1)]), section(), enhanced(2)].concat();
    assert_ends(
        &second,
        1,
        "damaged at octet 116: a packet of interface 0, which was not described",
    );
}

#[test]
fn interfaces_are_not_remembered_without_end() {
    let (packets, end) = read(&[section(), interface(&[]).repeat(65_537)].concat());
    assert!(packets.is_empty());
    assert!(end.expect_err("too many").to_string().ends_with("more than 65536 interfaces"));
}

#[test]
fn a_simple_packet_is_cut_to_the_snap_length_of_the_first_interface() {
    let simple = block(3, &[&bytes_of([6])[..], &PACKET, &[0; 2]].concat());
    let other = block(1, &bytes_of([ETHERNET.into(), 2]));
    let (packets, end) = read(&pcapng(&[other, enhanced(5_000_000), simple]));
    end.expect("readable");
    assert_eq!(packets[1], (PACKET[..4].to_vec(), RAW, Some(Duration::from_secs(5))));
}

#[test]
fn ticks_are_what_the_interface_says() {
    let second = Duration::from_secs(1);
    assert_eq!(time(&[], 1_000_001), second + Duration::from_micros(1));
    assert_eq!(time(&resolution(0), 1), second);
    assert_eq!(time(&resolution(3), 1_001), second + Duration::from_millis(1));
    assert_eq!(time(&resolution(9), 1_000_000_001), second + Duration::from_nanos(1));
    assert_eq!(time(&resolution(12), 1_000_000_001_000), second + Duration::from_nanos(1));
    assert_eq!(time(&resolution(0x80), 1), second);
    assert_eq!(time(&resolution(0x80 | 1), 3), second + second / 2);
    assert_eq!(time(&resolution(0x80 | 32), 3 << 31), second + second / 2);
    assert_eq!(time(&resolution(0x80 | 63), u64::MAX), second + Duration::from_nanos(999_999_999));
}

#[test]
fn offsets_count_in_seconds_before_and_after_1970() {
    let second = Duration::from_secs(1);
    assert_eq!(time(&offset(1_000_000_000), 1_000_000), second * 1_000_000_001);
    assert_eq!(time(&offset(-1), 1_500_000), second / 2);
    assert_eq!(time(&offset(-3), 1_000_000), Duration::ZERO);
}

#[test]
fn no_time_is_too_odd() {
    for option in [0, 6, 19, 20, 38, 39, 127, 0x80, 0x80 | 64, 0xff].map(resolution) {
        for offset in [i64::MIN, -1, 0, i64::MAX].map(offset) {
            for ticks in [0, 1, u64::MAX] {
                let _whenever = time(&[option.clone(), offset.clone()].concat(), ticks);
            }
        }
    }
    assert_eq!(time(&resolution(127), u64::MAX), Duration::ZERO);
    assert_eq!(time(&[resolution(0), offset(i64::MAX)].concat(), u64::MAX).as_secs(), u64::MAX);
}

#[test]
fn versions_that_are_not_known_are_damage() {
    let mut classic = classic_header();
    classic[4] = 3;
    assert_ends(&classic, 0, "damaged at octet 0: version 3 of the format");
    let mut pcapng = section();
    pcapng[12] = 2;
    assert_ends(&pcapng, 0, "damaged at octet 0: version 2 of the format");
}

#[test]
fn before_version_2_4_the_lengths_were_in_either_order() {
    let mut header = classic_header();
    header[6] = 3;
    for lengths in [[6, 60], [60, 6]] {
        let record = [&bytes_of([7, 8])[..], &bytes_of(lengths), &PACKET].concat();
        let (packets, end) = read(&[&header[..], &record].concat());
        end.expect("readable");
        assert_eq!(packets[0].0, PACKET);
    }
}

#[test]
fn microseconds_that_are_more_than_a_second_are_added() {
    let record = [&bytes_of([7, u32::MAX, 0, 0])[..]].concat();
    let (packets, _) = read(&[classic_header(), record].concat());
    assert_eq!(packets[0].2, Some(Duration::from_micros(7_000_000 + u64::from(u32::MAX))));
}
