//! The capabilities that each mode takes.

use std::env;

use super::check::{Check, Keeps};
use crate::privilege::{self, NotEnough};

pub(super) fn checks() -> [Check; 2] {
    [
        check("privilege for --mode ebpf", privilege::for_ebpf(), Keeps::EBPF),
        check("privilege for --mode pcap", privilege::for_pcap(), Keeps::PCAP),
    ]
}

fn check(subject: &'static str, enough: Result<(), NotEnough>, keeps: Keeps) -> Check {
    let Err(error) = enough else { return Check::ok(subject, "enough") };
    let program = env::current_exe().unwrap_or_else(|_| "conntrack".into());
    let capabilities = error.needed().join(",").to_lowercase();
    let fix = format!("run it as root, or: setcap {capabilities}=ep {}", program.display());
    Check::no(subject, keeps, format!("missing {}", error.missing().join(", ")), fix)
}
