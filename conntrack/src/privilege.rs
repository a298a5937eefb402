//! Privileges: what watching needs, and what is missing, before anything is tried.

use rustix::thread::{CapabilitySet, capabilities};

/// Capabilities that are missing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "not enough privilege: {mode} needs {}, missing {}; run it as root or with sudo{advice}",
    .needed.join(", "),
    .missing.join(", ")
)]
pub struct NotEnough {
    mode: &'static str,
    needed: Vec<&'static str>,
    missing: Vec<&'static str>,
    advice: &'static str,
}

/// A capability as one of the sets that grant it: `CAP_SYS_ADMIN` still stands for those that
/// were split off it (Linux 5.8).
type Need = (&'static str, CapabilitySet);

const BPF: Need = ("CAP_BPF", CapabilitySet::BPF.union(CapabilitySet::SYS_ADMIN));
const NET_ADMIN: Need = ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN);
const NET_RAW: Need = ("CAP_NET_RAW", CapabilitySet::NET_RAW);

/// Whether a device can be watched with eBPF: maps (`CAP_BPF`), programs that see packets, and
/// attaching them to a device (`CAP_NET_ADMIN`).
///
/// # Errors
/// What is missing.
pub fn for_ebpf() -> Result<(), NotEnough> {
    check(
        "--mode ebpf",
        &[BPF, NET_ADMIN],
        effective(),
        ", or use --mode pcap, which needs CAP_NET_RAW",
    )
}

/// Whether a device can be watched with libpcap: a packet socket (`CAP_NET_RAW`).
///
/// # Errors
/// What is missing.
pub fn for_pcap() -> Result<(), NotEnough> {
    check("--mode pcap", &[NET_RAW], effective(), "")
}

/// Of this thread. Where the kernel does not say, it will when something is tried.
fn effective() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::all(), |sets| sets.effective)
}

fn check(
    mode: &'static str,
    needs: &[Need],
    effective: CapabilitySet,
    advice: &'static str,
) -> Result<(), NotEnough> {
    let is_missing = |need: &&Need| !effective.intersects(need.1);
    let missing: Vec<_> = needs.iter().filter(is_missing).map(|need| need.0).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let needed = needs.iter().map(|need| need.0).collect();
    Err(NotEnough { mode, needed, missing, advice })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let effective = CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
        let error =
            check("--mode ebpf", &[BPF, NET_ADMIN], effective, "").expect_err("one is missing");
        assert_eq!(
            error.to_string(),
            "not enough privilege: --mode ebpf needs CAP_BPF, CAP_NET_ADMIN, missing CAP_BPF; \
             run it as root or with sudo"
        );
    }

    #[test]
    fn sys_admin_stands_for_what_was_split_off_it() {
        let effective = CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN;
        assert_eq!(check("--mode ebpf", &[BPF, NET_ADMIN], effective, ""), Ok(()));
        assert!(check("--mode pcap", &[NET_RAW], effective, "").is_err());
    }
}
