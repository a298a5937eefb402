//! The kernel by its version.

use super::check::Check;
use crate::host::kernel::{EBPF, release, version};

pub(super) fn check() -> Check {
    let release = release();
    if version() >= EBPF {
        return Check::ok("kernel", format!("Linux {release}"));
    }
    let (major, minor) = EBPF;
    let found = format!("Linux {release}; eBPF takes {major}.{minor}");
    Check::warn("kernel", found, "update the kernel, or use --mode pcap")
}
