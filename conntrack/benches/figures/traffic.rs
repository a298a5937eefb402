//! What is sent: templates of frames, and how each frame of a flood differs from its template.
//!
//! Only addresses and ports are changed, so the checksums are wrong. We do not read them, and the host
//! drops the packet only behind the hook.

use std::net::SocketAddr;

use super::support::frames::{Tcp, tcp, udp};

/// The watched device's address, and two others that are not in the internet.
pub(crate) const HOST: &str = "192.168.200.230";
const INNER: [&str; 2] = ["10.0.0.0:40000", "172.16.0.1:5000"];

/// Offsets of addresses and ports in an Ethernet frame with an IPv4 header without options.
mod field {
    use std::ops::Range;

    pub(super) const SRC: Range<usize> = 26..30;
    pub(super) const SRC_PORT: Range<usize> = 34..36;
    pub(super) const DST_PORT: Range<usize> = 36..38;
}

/// An address from its text.
pub(crate) fn end(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

/// A connection from the internet, opening.
pub(crate) fn syn() -> Vec<u8> {
    tcp(end("203.0.113.5:45000"), end(&format!("{HOST}:443")), Tcp::Syn)
}

/// From a random address of the internet and a random port.
pub(crate) fn from_anywhere(number: u64, frame: &mut [u8]) {
    let random = scrambled(number).to_be_bytes();
    frame[field::SRC].copy_from_slice(&random[..4]);
    // Above 10.0.0.0/8, which is private, and below 127.0.0.0/8, which is loopback.
    frame[field::SRC.start] = 11 + random[0] % 116;
    frame[field::SRC_PORT].copy_from_slice(&random[4..6]);
}

/// A datagram from the internet.
pub(crate) fn request() -> Vec<u8> {
    udp(end("203.0.113.5:45000"), end(&format!("{HOST}:8000")))
}

/// Unchanged.
pub(crate) fn the_same(_number: u64, _frame: &mut [u8]) {}

/// To the host's port of this number.
pub(crate) fn to_port(number: u64, frame: &mut [u8]) {
    let [.., high, low] = number.to_be_bytes();
    frame[field::DST_PORT].copy_from_slice(&[high, low]);
}

/// From the host's port of this number.
pub(crate) fn from_port(number: u64, frame: &mut [u8]) {
    let [.., high, low] = number.to_be_bytes();
    frame[field::SRC_PORT].copy_from_slice(&[high, low]);
}

/// A datagram between others.
pub(crate) fn of_others() -> Vec<u8> {
    udp(end(INNER[0]), end(INNER[1]))
}

/// From an address of 10.0.0.0/8, another for each number below 2^24, in no order.
pub(crate) fn from_each_other(number: u64, frame: &mut [u8]) {
    // Multiplication by an odd number is a bijection modulo 2^24.
    let [.., a, b, c] = number.wrapping_mul(0x9e_37b1).to_be_bytes();
    frame[field::SRC].copy_from_slice(&[10, a, b, c]);
}

/// splitmix64.
fn scrambled(number: u64) -> u64 {
    let z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
