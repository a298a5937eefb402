//! `conntrack doctor`: what this machine can do, and what mends what is missing. One file for each
//! subject. It looks and tries, and changes nothing: what is attached, is so in a network namespace of
//! its own.

mod capabilities;
mod device;
mod ebpf;
mod kernel;
mod landlock;
mod libpcap;
mod memory;
mod path;
mod program;

use std::{fmt, path::PathBuf};

/// What is looked at besides the machine.
#[derive(Clone, Debug, Default)]
pub struct Subjects {
    /// Device that is to be watched.
    pub device: Option<String>,
    /// Where the tree is to be written.
    pub path: Option<PathBuf>,
}

/// Which modes something keeps from starting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Keeps {
    ebpf: bool,
    pcap: bool,
}

impl Keeps {
    const NONE: Self = Self { ebpf: false, pcap: false };
    const EBPF: Self = Self { ebpf: true, pcap: false };
    const PCAP: Self = Self { ebpf: false, pcap: true };
    const BOTH: Self = Self { ebpf: true, pcap: true };
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    subject: &'static str,
    found: String,
    /// What to do, if it is not as it should be.
    fix: Option<String>,
    keeps: Keeps,
}

impl Check {
    fn ok(subject: &'static str, found: impl Into<String>) -> Self {
        Self { subject, found: found.into(), fix: None, keeps: Keeps::NONE }
    }

    /// Both modes start, but not everything works.
    fn warn(subject: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::no(subject, Keeps::NONE, found, fix)
    }

    /// Keeps modes from starting.
    fn no(
        subject: &'static str,
        keeps: Keeps,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { subject, found: found.into(), fix: Some(fix.into()), keeps }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, found, fix, keeps } = self;
        match fix {
            None => write!(f, "ok    {subject}: {found}"),
            Some(fix) => {
                let verdict = if *keeps == Keeps::NONE { "warn" } else { "no" };
                write!(f, "{verdict:<5} {subject}: {found}; fix: {fix}")
            }
        }
    }
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

    #[test]
    fn a_line_says_what_and_how_to_mend_it() {
        assert_eq!(Check::ok("kernel", "Linux 6.6").to_string(), "ok    kernel: Linux 6.6");
        let warning = Check::warn("device", "is down", "set it up").to_string();
        assert_eq!(warning, "warn  device: is down; fix: set it up");
        let no = Check::no("path", Keeps::BOTH, "is a file", "move it").to_string();
        assert_eq!(no, "no    path: is a file; fix: move it");
    }
}
