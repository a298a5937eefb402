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
mod units;

use std::path::PathBuf;

use check::{Check, Keeps};
use serde::Serialize;

/// What is looked at besides the machine.
#[derive(Clone, Debug, Default)]
pub struct Subjects {
    /// Devices that are to be watched; else the one that would be.
    pub devices: Vec<String>,
    /// Where the tree is to be written.
    pub path: Option<PathBuf>,
}

/// Everything that was looked at.
#[derive(Clone, Debug, Default)]
pub struct Report {
    checks: Vec<Check>,
}

/// Looks at one thing, or at several that belong together.
type Look<'a> = Box<dyn FnOnce() -> Vec<Check> + 'a>;

impl Report {
    /// Looks at everything. `each` gets a line as soon as it is known: some things take seconds.
    pub fn look(args: &Subjects, each: impl FnMut(String)) -> Self {
        let mut looks: Vec<Look<'_>> = vec![
            Box::new(|| vec![kernel::check()]),
            Box::new(|| capabilities::checks().into()),
            Box::new(ebpf::checks),
            Box::new(|| vec![memory::check(), libpcap::check(), landlock::check()]),
            Box::new(|| vec![program::check(), sockets::check(), units::check()]),
            Box::new(|| device::checks(&args.devices)),
        ];
        if let Some(path) = &args.path {
            looks.push(Box::new(|| path::checks(path)));
        }
        Self::of(looks, each)
    }

    fn of(looks: Vec<Look<'_>>, mut each: impl FnMut(String)) -> Self {
        let mut report = Self::default();
        for look in looks {
            let checks = look();
            for check in &checks {
                each(check.to_string());
            }
            report.checks.extend(checks);
        }
        report
    }

    /// The same for programs.
    pub fn json(&self) -> String {
        let Keeps { ebpf, pcap } = self.keeps();
        let object = Object { checks: &self.checks, modes: Modes { ebpf: !ebpf, pcap: !pcap } };
        serde_json::to_string_pretty(&object).unwrap_or_default()
    }

    fn keeps(&self) -> Keeps {
        let is_kept = |mode: fn(&Keeps) -> bool| self.checks.iter().any(|check| mode(&check.keeps));
        Keeps { ebpf: is_kept(|keeps| keeps.ebpf), pcap: is_kept(|keeps| keeps.pcap) }
    }

    /// 0 if both modes would start, 3 if only eBPF, 4 if only libpcap, 1 if neither. 2 is a wrong
    /// command line.
    pub fn status(&self) -> u8 {
        let Keeps { ebpf, pcap } = self.keeps();
        match (ebpf, pcap) {
            (false, false) => 0,
            (true, true) => 1,
            (false, true) => 3,
            (true, false) => 4,
        }
    }
}

#[derive(Serialize)]
struct Object<'a> {
    checks: &'a [Check],
    /// Which modes would start.
    modes: Modes,
}

#[derive(Serialize)]
struct Modes {
    ebpf: bool,
    pcap: bool,
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_line_is_told_before_the_next_thing_is_looked_at() {
        let told = RefCell::new(Vec::new());
        let look = |subject: &'static str| -> Look<'_> {
            let told = &told;
            Box::new(move || {
                told.borrow_mut().push(format!("looks at {subject}"));
                vec![Check::ok(subject, "fine")]
            })
        };
        Report::of(vec![look("one"), look("other")], |line| told.borrow_mut().push(line));
        let expected = ["looks at one", "ok    one: fine", "looks at other", "ok    other: fine"];
        assert_eq!(*told.borrow(), expected);
    }

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
