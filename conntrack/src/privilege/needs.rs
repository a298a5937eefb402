//! Capabilities: which each kind of source requires, which are missing, and which it still needs once
//! it is open.

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

impl NotEnough {
    /// All that are required.
    pub fn needed(&self) -> &[&'static str] {
        &self.needed
    }

    /// Those that are missing.
    pub fn missing(&self) -> &[&'static str] {
        &self.missing
    }
}

/// A capability as one of the sets that grant it: `CAP_SYS_ADMIN` still stands for those that
/// were split off it (Linux 5.8).
type Need = (&'static str, CapabilitySet);

const BPF: Need = ("CAP_BPF", CapabilitySet::BPF.union(CapabilitySet::SYS_ADMIN));
const NET_ADMIN: Need = ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN);
/// Without it the verifier takes fewer programs; ours compute where a header starts.
const PERFMON: Need = ("CAP_PERFMON", CapabilitySet::PERFMON.union(CapabilitySet::SYS_ADMIN));
const NET_RAW: Need = ("CAP_NET_RAW", CapabilitySet::NET_RAW);

/// The kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// A device, with eBPF.
    Ebpf,
    /// A device, with libpcap.
    Pcap,
    /// A capture file.
    File,
}

impl Watching {
    /// Its name on the command line and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ebpf => "ebpf",
            Self::Pcap => "pcap",
            Self::File => "file",
        }
    }

    /// The capabilities that it still needs once it is open, out of those that are held. Only decided
    /// here.
    ///
    /// Attaching again, when a device comes back, requires what attaching required. Removing filters
    /// from a clsact qdisc requires `CAP_NET_ADMIN`. Before Linux 5.19 every bpf(2) call, also one on
    /// an open map, requires `CAP_BPF` where unprivileged bpf(2) is disabled.
    pub(super) fn retained(self, held: CapabilitySet) -> CapabilitySet {
        let needs: &[Need] = match self {
            Self::Ebpf => &EBPF,
            Self::Pcap => &PCAP,
            Self::File => &[],
        };
        // Prefer the newer, narrower capability.
        needs.iter().filter_map(|(_, grants)| (held & *grants).iter().last()).collect()
    }
}

/// Watching a device with eBPF.
const EBPF: [Need; 3] = [BPF, NET_ADMIN, PERFMON];
/// Watching a device with libpcap.
const PCAP: [Need; 1] = [NET_RAW];

/// Whether a device can be watched with eBPF: maps (`CAP_BPF`), programs that see packets and
/// attaching them to a device (`CAP_NET_ADMIN`), and reading packets directly (`CAP_PERFMON`).
///
/// # Errors
/// What is missing.
pub fn for_ebpf() -> Result<(), NotEnough> {
    check("--mode ebpf", &EBPF, effective(), ", or use --mode pcap, which needs CAP_NET_RAW")
}

/// Whether a device can be watched with libpcap: a packet socket (`CAP_NET_RAW`).
///
/// # Errors
/// What is missing.
pub fn for_pcap() -> Result<(), NotEnough> {
    check("--mode pcap", &PCAP, effective(), "")
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
        let effective = CapabilitySet::NET_ADMIN | CapabilitySet::PERFMON;
        let error = check("--mode ebpf", &EBPF, effective, "").expect_err("one is missing");
        assert_eq!(
            error.to_string(),
            "not enough privilege: --mode ebpf needs CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, missing \
             CAP_BPF; run it as root or with sudo"
        );
    }

    #[test]
    fn what_is_retained_is_what_attaching_requires() {
        let all = CapabilitySet::all();
        let admin = CapabilitySet::SYS_ADMIN;
        let (net_admin, bpf) =
            (CapabilitySet::NET_ADMIN, CapabilitySet::BPF | CapabilitySet::PERFMON);
        assert_eq!(Watching::Ebpf.retained(all), bpf | net_admin);
        assert_eq!(
            Watching::Ebpf.retained(admin | net_admin),
            admin | net_admin,
            "in place of the others"
        );
        assert_eq!(Watching::Pcap.retained(all), CapabilitySet::NET_RAW);
        assert_eq!(Watching::File.retained(all), CapabilitySet::empty());
        assert_eq!(Watching::Pcap.retained(CapabilitySet::empty()), CapabilitySet::empty());
    }

    #[test]
    fn sys_admin_stands_for_what_was_split_off_it() {
        let effective = CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN;
        assert_eq!(check("--mode ebpf", &EBPF, effective, ""), Ok(()));
        assert!(check("--mode pcap", &PCAP, effective, "").is_err());
    }
}
