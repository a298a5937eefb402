//! What a report is about: what is watched, and how.

use std::fmt::{self, Display};

/// What the counters are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What it is: `device` or `file`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// How it is watched: `ebpf`, `pcap` or `file`.
    pub mode: &'static str,
    /// Where programs are attached, in words; empty where there are none.
    pub hook: String,
}

impl Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.mode, self.hook.as_str()) {
            ("ebpf", hook) => write!(f, "eBPF, {hook}"),
            ("pcap", _) => write!(f, "libpcap"),
            _ => write!(f, "reading a file"),
        }
    }
}
