//! Frames: read from a capture or built, and sent over the wire of a laboratory.

use std::{net::SocketAddr, path::Path};

use etherparse::{PacketBuilder, PacketBuilderStep};
use pcap::{Active, Capture};

use super::lab::{DEVICE, Lab, PEER_DEVICE};

/// The frames of a capture, in order.
pub fn of_capture(path: &Path) -> Vec<Vec<u8>> {
    let mut capture = Capture::from_file(path).expect("a capture");
    let mut frames = Vec::new();
    while let Ok(packet) = capture.next_packet() {
        frames.push(packet.data.to_vec());
    }
    frames
}

/// A datagram.
pub fn udp(src: SocketAddr, dst: SocketAddr) -> Vec<u8> {
    udp_with(src, dst, b"payload")
}

/// A datagram with this payload.
pub fn udp_with(src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let step = ip(src, dst).udp(src.port(), dst.port());
    step.write(&mut frame, payload).expect("a Vec takes every byte");
    frame
}

/// TCP flags of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tcp {
    Syn,
    SynAck,
    Ack,
    /// That answers a SYN: with ACK, and without a sequence number.
    Reset,
    /// A reset of an open connection: with a sequence number.
    Abort,
}

/// A TCP segment.
pub fn tcp(src: SocketAddr, dst: SocketAddr, flags: Tcp) -> Vec<u8> {
    let mut frame = Vec::new();
    let sequence_number = u32::from(flags != Tcp::Reset);
    let step = ip(src, dst).tcp(src.port(), dst.port(), sequence_number, 1024);
    let step = match flags {
        Tcp::Syn => step.syn(),
        Tcp::SynAck => step.syn().ack(1),
        Tcp::Ack => step.ack(1),
        Tcp::Reset | Tcp::Abort => step.rst().ack(2),
    };
    step.write(&mut frame, &[]).expect("a Vec takes every byte");
    frame
}

fn ip(src: SocketAddr, dst: SocketAddr) -> PacketBuilderStep<etherparse::IpHeaders> {
    let ethernet = PacketBuilder::ethernet2([0x02, 0, 0, 0, 0, 1], [0x02, 0, 0, 0, 0, 2]);
    match (src, dst) {
        (SocketAddr::V4(src), SocketAddr::V4(dst)) => {
            ethernet.ipv4(src.ip().octets(), dst.ip().octets(), 64)
        }
        (SocketAddr::V6(src), SocketAddr::V6(dst)) => {
            ethernet.ipv6(src.ip().octets(), dst.ip().octets(), 64)
        }
        _ => panic!("{src} and {dst} are of two families"),
    }
}

/// Both ends of a laboratory's wire, for sending.
pub struct Wire {
    host: Capture<Active>,
    peer: Capture<Active>,
}

impl Wire {
    pub fn of(lab: &Lab) -> Self {
        Self::between(lab, DEVICE, PEER_DEVICE)
    }

    /// Of another wire of the laboratory, by the devices at its ends.
    pub fn between(lab: &Lab, host: &str, peer: &str) -> Self {
        let open = |device: &str| {
            let capture = Capture::from_device(device).expect("a device");
            capture.open().expect("a packet socket")
        };
        Self { host: lab.host.enter(|| open(host)), peer: lab.peer.enter(|| open(peer)) }
    }

    /// Sends from the host, through the watched device's egress.
    pub fn leave(&mut self, frame: &[u8]) {
        self.host.sendpacket(frame).expect("sent");
    }

    /// Sends from the peer, to arrive at the watched device's ingress.
    pub fn arrive(&mut self, frame: &[u8]) {
        self.peer.sendpacket(frame).expect("sent");
    }
}
