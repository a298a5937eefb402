//! What most live tests have in common: the host's address, the ways to watch it, and a connection of
//! its own that shows in the tree.

use std::net::SocketAddr;

use super::{
    Files,
    frames::{Tcp, tcp},
};

/// The watched device's address.
pub const HOST: &str = "192.168.200.230";

pub const TCX: &[&str] = &["--mode", "ebpf", "--tc-hook", "tcx"];
pub const CLSACT: &[&str] = &["--mode", "ebpf", "--tc-hook", "clsact"];
pub const XDP: &[&str] = &["--mode", "ebpf", "--hook", "xdp"];
pub const PCAP: &[&str] = &["--mode", "pcap"];

/// An address with a port, from its text.
pub fn end(text: &str) -> SocketAddr {
    text.parse().expect("an address with a port")
}

/// A connection from [`HOST`] to this port of another, and the file that shows it.
pub fn request(port: u16) -> (Vec<u8>, Files) {
    let host = SocketAddr::new(HOST.parse().expect("an address"), 40_000);
    let frame = tcp(host, SocketAddr::new(end("10.0.0.1:0").ip(), port), Tcp::Syn);
    (frame, [format!("out/tcp/{HOST}-PORT-10.0.0.1-{port}")].into())
}
