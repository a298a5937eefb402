//! Shared by most live tests: the host's address, the ways to watch it, features of this kernel, and a
//! connection that shows in the tree.

use std::net::SocketAddr;

use rustix::system::uname;

use super::{
    Files,
    collector::Collector,
    frames::{Tcp, Wire, tcp},
};

/// The watched device's address.
pub const HOST: &str = "192.168.200.230";

/// eBPF, with the default hook.
pub const EBPF: &[&str] = &["--mode", "ebpf"];
pub const TCX: &[&str] = &["--mode", "ebpf", "--tc-hook", "tcx"];
pub const CLSACT: &[&str] = &["--mode", "ebpf", "--tc-hook", "clsact"];
pub const XDP: &[&str] = &["--mode", "ebpf", "--hook", "xdp"];
pub const PCAP: &[&str] = &["--mode", "pcap"];

/// Makes four tests of each function, one for each way to watch a device and named after it, so that
/// the tests of a way that a kernel lacks can be skipped by name.
macro_rules! each_way {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            use crate::support::usual::{CLSACT, PCAP, TCX, XDP};

            #[test]
            fn tcx() {
                super::$test(TCX);
            }

            #[test]
            fn clsact() {
                super::$test(CLSACT);
            }

            #[test]
            fn xdp() {
                super::$test(XDP);
            }

            #[test]
            fn pcap() {
                super::$test(PCAP);
            }
        }
    )+};
}
pub(crate) use each_way;

/// Whether this kernel has TCX, by its version (Linux 6.6): the tests must fail on a newer kernel
/// without it.
pub fn has_tcx() -> bool {
    let kernel = uname();
    let release = kernel.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|it| it.parse::<u32>().ok()).expect("a version");
    (number(), number()) >= (6, 6)
}

/// An address with a port, from its text.
pub fn end(text: &str) -> SocketAddr {
    text.parse().expect("an address with a port")
}

/// A connection from [`HOST`] to this port of another host, and its file.
pub fn request(port: u16) -> (Vec<u8>, Files) {
    let host = SocketAddr::new(HOST.parse().expect("an address"), 40_000);
    let frame = tcp(host, SocketAddr::new(end("10.0.0.1:0").ip(), port), Tcp::Syn);
    (frame, [format!("out/tcp/{HOST}-PORT-10.0.0.1-{port}")].into())
}

/// Has every collector hand out its first batch, which judges UDP in a way of its own; what shows that it
/// is over: a file of `else`.
pub fn pass_first_batch(wire: &mut Wire, collectors: &[&Collector]) -> Files {
    let [src, dst] = ["10.9.9.1:1", "10.9.9.2:2"].map(end);
    wire.arrive(&tcp(src, dst, Tcp::Syn));
    let shown = Files::from(["else/tcp/10.9.9.1-1-10.9.9.2-2".to_owned()]);
    for collector in collectors {
        collector.wait_for_files(&shown);
    }
    shown
}
