//! `conntrack doctor`: what this machine can do, and what mends what is missing. One file for each
//! subject. It looks and tries, and changes nothing: what is attached, is so in a network namespace of
//! its own.

mod capabilities;
mod check;
mod device;
mod ebpf;
mod kernel;
mod landlock;
mod libpcap;
mod memory;
mod path;
mod program;
mod sockets;

use std::path::PathBuf;

use check::{Check, Keeps};

/// What is looked at besides the machine.
#[derive(Clone, Debug, Default)]
pub struct Subjects {
    /// Device that is to be watched.
    pub device: Option<String>,
    /// Where the tree is to be written.
    pub path: Option<PathBuf>,
}

/// Everything that was looked at.
#[derive(Clone, Debug)]
pub struct Report {
    checks: Vec<Check>,
}

impl Report {
    /// Looks at everything.
    pub fn new(args: &Subjects) -> Self {
        let mut checks = vec![kernel::check()];
        checks.extend(capabilities::checks());
        checks.extend(ebpf::checks());
        checks.extend([memory::check(), libpcap::check(), landlock::check(), program::check()]);
        checks.push(sockets::check());
        checks.extend(args.device.iter().flat_map(|device| device::checks(device)));
        checks.extend(args.path.iter().flat_map(|path| path::checks(path)));
        Self { checks }
    }

    /// One line each.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.checks.iter().map(Check::to_string)
    }

    /// 0 if both modes would start, 3 if only eBPF, 4 if only libpcap, 1 if neither. 2 is a wrong
    /// command line.
    pub fn status(&self) -> u8 {
        let is_kept = |mode: fn(&Keeps) -> bool| self.checks.iter().any(|check| mode(&check.keeps));
        match (is_kept(|keeps| keeps.ebpf), is_kept(|keeps| keeps.pcap)) {
            (false, false) => 0,
            (true, true) => 1,
            (false, true) => 3,
            (true, false) => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_which_modes_would_start() {
        let status = |keeps: &[Keeps]| {
            let check = |keeps| Check::no("something", keeps, "is missing", "get it");
            Report { checks: keeps.iter().copied().map(check).collect() }.status()
        };
        assert_eq!(status(&[]), 0);
        assert_eq!(status(&[Keeps::NONE]), 0);
        assert_eq!(status(&[Keeps::PCAP]), 3);
        assert_eq!(status(&[Keeps::EBPF, Keeps::NONE]), 4);
        assert_eq!(status(&[Keeps::EBPF, Keeps::PCAP]), 1);
        assert_eq!(status(&[Keeps::BOTH]), 1);
    }
}
