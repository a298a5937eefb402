//! What a report is about: what is watched, and how.

use std::fmt::{self, Display};

use crate::privilege::Watching;

/// What the counters are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The devices' names, or the file's.
    pub names: Vec<String>,
    /// How it is watched.
    pub watching: Watching,
    /// Where programs are attached, in words; empty where there are none.
    pub hook: String,
}

impl Subject {
    /// The label that its name has in metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self.watching {
            Watching::Ebpf | Watching::Pcap => "device",
            Watching::File => "file",
        }
    }
}

impl Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.watching {
            Watching::Ebpf => write!(f, "eBPF, {}", self.hook),
            Watching::Pcap => write!(f, "libpcap"),
            Watching::File => write!(f, "reading a file"),
        }
    }
}
