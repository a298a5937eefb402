//! Whether the kernel takes the programs, and on which hooks. It is tried, not told by the version.

use super::check::{Check, Keeps};
#[cfg(feature = "ebpf")]
use crate::{
    privilege, program,
    source::{SourceError, ebpf::probe},
};

#[cfg(not(feature = "ebpf"))]
pub(super) fn checks() -> Vec<Check> {
    let fix = "build it with the feature `ebpf`, or use --mode pcap";
    vec![Check::no("eBPF", Keeps::EBPF, "this program was built without", fix)]
}

#[cfg(feature = "ebpf")]
pub(super) fn checks() -> Vec<Check> {
    if privilege::for_ebpf().is_err() {
        return vec![not_tried("the privilege for it is missing")];
    }
    if let Err(error) = probe::load() {
        return vec![refused(&error)];
    }
    let loaded = Check::ok("eBPF", "the kernel takes the programs");
    let mut checks = vec![loaded];
    match probe::hooks() {
        Ok(hooks) => checks.extend(on_hooks(&hooks)),
        Err(error) => {
            checks.push(not_tried(&format!("no network namespace to try it in: {error}")));
        }
    }
    checks
}

#[cfg(feature = "ebpf")]
fn not_tried(why: &str) -> Check {
    let fix = format!("run `{} doctor` as root", program::name());
    Check::warn("eBPF hooks", format!("not tried, {why}"), fix)
}

#[cfg(feature = "ebpf")]
fn refused(error: &SourceError) -> Check {
    let fix = match error {
        SourceError::Refused { .. } => "lift what forbids bpf(2), or use --mode pcap",
        _ => "a kernel with CONFIG_BPF_SYSCALL, 5.8 or later, or use --mode pcap",
    };
    Check::no("eBPF", Keeps::EBPF, error.to_string(), fix)
}

/// One of TCX and clsact is enough.
#[cfg(feature = "ebpf")]
fn on_hooks(hooks: &probe::Hooks) -> [Check; 3] {
    let keeps = if hooks.tcx.is_err() && hooks.clsact.is_err() { Keeps::EBPF } else { Keeps::NONE };
    let check = |subject, tried: &Result<(), SourceError>, keeps, fix: &str| match tried {
        Ok(()) => Check::ok(subject, "works"),
        Err(error) => Check::no(subject, keeps, error.to_string(), fix),
    };
    [
        check("TCX", &hooks.tcx, keeps, "Linux 6.6 or later; until then clsact is used"),
        check("clsact", &hooks.clsact, keeps, "modprobe sch_ingress cls_bpf"),
        check("XDP", &hooks.xdp, Keeps::NONE, "Linux 5.18 or later, or --hook tc"),
    ]
}
