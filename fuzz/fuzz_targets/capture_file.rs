//! Arbitrary bytes as a capture file, from decompression to the tracker: formats, parser, rules, flow cache,
//! batches. In process, without threads and files; the complete path to a tree on disk is tested with the
//! corpus (`conntrack/tests/captures.rs`).
//!
//! Checks that nothing panics, nothing is lost, and short reads yield the same packets. Expected packets
//! are in the tests.

#![no_main]

use std::{
    cell::RefCell,
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
use conntrack_common::counters::{Loss, Outcome};
use libfuzzer_sys::fuzz_target;

/// So few that a small capture takes several batches.
const MAX_FLOWS: u32 = 4;
const INTERVAL: Duration = Duration::from_secs(1);

/// Limit of decompressed octets: a short input can expand to gigabytes.
const ENOUGH: u64 = 1 << 14;

thread_local! {
    /// Kept from input to input, because its table of UDP pairs takes a mebibyte. No check depends on what
    /// that remembers.
    static RUN: RefCell<Run> = RefCell::new(Run::new());
}

fuzz_target!(|bytes: &[u8]| {
    let Some(octets) = decompress(bytes) else { return };
    let mut packets = Vec::new();
    let end = RUN.with_borrow_mut(|run| {
        let end = read(&octets[..], |packet| {
            run.add(packet);
            packets.push((packet.data.to_vec(), packet.link_type, packet.time));
        });
        run.end(packets.len());
        end
    });

    let mut others = packets.iter();
    let other_end = read(Trickle { octets: &octets, at: 0 }, |packet| {
        let other = others.next().map(|(data, link_type, time)| (&data[..], *link_type, *time));
        assert_eq!(Some((packet.data, packet.link_type, packet.time)), other, "little by little");
    });
    assert!(others.next().is_none() && end == other_end, "{end} or {other_end}");
});

/// The decompressed capture, up to the limit.
fn decompress(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let decompressed = decompressed(Cursor::new(bytes.to_vec())).ok()?;
    // Octets before an error are valid.
    let _perhaps_broken = decompressed.take(ENOUGH).read_to_end(&mut octets);
    Some(octets)
}

/// Calls `each` with every packet; returns the error message, or nothing.
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

/// A reader of a few octets at a time.
struct Trickle<'a> {
    octets: &'a [u8],
    at: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let few = 1 + self.at % 61;
        let length = few.min(bytes.len()).min(self.octets.len() - self.at);
        bytes[..length].copy_from_slice(&self.octets[self.at..][..length]);
        self.at += length;
        Ok(length)
    }
}

/// Processing of a capture's packets.
struct Run {
    batches: Batches,
    tracker: Tracker,
    /// Packets of all inputs so far.
    packets: u64,
}

impl Run {
    fn new() -> Self {
        let mut tracker = Tracker::new(Settings::default(), []);
        let local = local().into();
        tracker.set_local_addresses(&local);
        let batches = Batches::new(INTERVAL, MAX_FLOWS, &tracker.policy(&local));
        Self { batches: batches.expect("there are random numbers"), tracker, packets: 0 }
    }

    fn add(&mut self, packet: Packet<'_>) {
        let Packet { data, link_type, time } = packet;
        if let Some(batch) = self.batches.add(data, LinkType::layer(link_type), time) {
            self.track(&batch);
        }
    }

    fn end(&mut self, packets: usize) {
        let last = self.batches.complete();
        self.track(&last);
        let counters = self.batches.counters().packets.expect("known in user space");
        self.packets += packets as u64;
        assert_eq!(counters.packets(), self.packets, "each has one outcome");
        let lost = Loss::ALL.map(|loss| counters.get(Outcome::Lost(loss)));
        assert_eq!(lost.iter().sum::<u64>(), 0, "a batch is cut before it is full");
    }

    /// Every connection yields a valid path.
    fn track(&mut self, batch: &FlowBatch) {
        for sighting in self.tracker.track_batch(&batch.flows, batch.is_first) {
            let path = tree::path(&sighting.connection);
            let depth = path.split('/').count();
            assert!(depth == 3 && path.is_ascii() && path.len() < 255, "{path}");
        }
    }
}

/// Local addresses of the corpus' captures.
fn local() -> [IpAddr; 2] {
    let v4 = Ipv4Addr::new(192, 168, 200, 230);
    let v6 = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x230);
    [v4.into(), v6.into()]
}
