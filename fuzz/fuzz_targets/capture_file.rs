//! Any bytes as a capture file, up to what the tracker makes of its packets: decompression, the formats,
//! parser, rules, flow cache, batches. In this process, on one thread and without a file; the whole way to
//! a tree on disk is tested on the corpus (`conntrack/tests/captures.rs`).
//!
//! It does not know which packets should come out; the tests do. It holds the program to not panicking,
//! not losing anything, and reading the same however the bytes come.

#![no_main]

use std::{
    io::{self, Cursor, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use conntrack::{
    source::{
        FlowBatch,
        pcap::{
            batches::Batches,
            capture::{Capture, LinkType, Packet, decompressed},
        },
    },
    tracker::{Settings, Tracker},
    tree,
};
use libfuzzer_sys::fuzz_target;

/// So few that a small capture is handed over in several batches.
const MAX_FLOWS: u32 = 4;
const INTERVAL: Duration = Duration::from_secs(1);

/// Octets that are read of what was compressed: a short input can stand for gigabytes.
const ENOUGH: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Some(octets) = decompress(bytes) else { return };
    let mut run = Run::new();
    let mut packets = Vec::new();
    let end = read(&octets[..], |packet| {
        run.add(packet);
        packets.push((packet.data.to_vec(), packet.link_type, packet.time));
    });
    run.end(packets.len());

    let mut others = packets.iter();
    let other_end = read(Trickle { octets: &octets, at: 0 }, |packet| {
        let other = others.next().map(|(data, link_type, time)| (&data[..], *link_type, *time));
        assert_eq!(Some((packet.data, packet.link_type, packet.time)), other, "little by little");
    });
    assert!(others.next().is_none() && end == other_end, "{end} or {other_end}");
});

/// The octets that a capture has when it is not compressed, or the first of them.
fn decompress(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let decompressed = decompressed(Cursor::new(bytes.to_vec())).ok()?;
    // What came before a fault counts.
    let _perhaps_broken = decompressed.take(ENOUGH).read_to_end(&mut octets);
    Some(octets)
}

/// Hands every packet to `each`; how the capture ends, in words.
fn read(octets: impl Read, mut each: impl FnMut(Packet<'_>)) -> String {
    let mut capture = match Capture::new(octets, None) {
        Ok(capture) => capture,
        Err(error) => return error.to_string(),
    };
    loop {
        match capture.next_packet() {
            Ok(Some(packet)) => each(packet),
            Ok(None) => return String::new(),
            Err(error) => return error.to_string(),
        }
    }
}

/// Octets of which few are read at a time.
struct Trickle<'a> {
    octets: &'a [u8],
    at: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let few = 1 + self.at % 7;
        let length = few.min(bytes.len()).min(self.octets.len() - self.at);
        bytes[..length].copy_from_slice(&self.octets[self.at..][..length]);
        self.at += length;
        Ok(length)
    }
}

/// What is made of a capture's packets.
struct Run {
    batches: Batches,
    tracker: Tracker,
}

impl Run {
    fn new() -> Self {
        let mut tracker = Tracker::new(Settings::default(), []);
        let local = local().into();
        tracker.set_local_addresses(&local);
        let batches = Batches::new(INTERVAL, MAX_FLOWS, &tracker.policy(&local));
        Self { batches: batches.expect("there are random numbers"), tracker }
    }

    fn add(&mut self, packet: Packet<'_>) {
        let Packet { data, link_type, time } = packet;
        if let Some(batch) = self.batches.add(data, LinkType::layer(link_type), time) {
            self.track(&batch);
        }
    }

    fn end(mut self, packets: usize) {
        let last = self.batches.complete();
        self.track(&last);
        let counters = self.batches.counters();
        assert_eq!(counters.packets.packets(), packets as u64, "each has one outcome");
        let lost: u64 = counters.losses().iter().map(|loss| loss.packets).sum();
        assert_eq!(lost, 0, "a batch is cut before it is full");
    }

    /// A file's name is a name, whatever the packet.
    fn track(&mut self, batch: &FlowBatch) {
        for sighting in self.tracker.track_batch(&batch.flows, batch.is_first) {
            let path = tree::path(&sighting.connection);
            let depth = path.split('/').count();
            assert!(depth == 3 && path.is_ascii() && path.len() < 255, "{path}");
        }
    }
}

/// The addresses that the corpus' captures were made on.
fn local() -> [IpAddr; 2] {
    let v4 = Ipv4Addr::new(192, 168, 200, 230);
    let v6 = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x230);
    [v4.into(), v6.into()]
}
