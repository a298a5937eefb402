//! The limit of locked memory, which the flow map counts against before Linux 5.11.

use rustix::{
    process::{Resource, getrlimit},
    thread::{CapabilitySet, capabilities},
};

use super::check::{Check, Keeps};
use crate::host::kernel::{MAPS_ARE_NOT_LOCKED, version};

/// Of the flow map by default, with what comes along.
const NEEDED: u64 = 16 << 20;

pub(super) fn check() -> Check {
    let may_raise =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE));
    judge(version(), getrlimit(Resource::Memlock).maximum, may_raise)
}

fn judge(version: (u32, u32), limit: Option<u64>, may_raise: bool) -> Check {
    const SUBJECT: &str = "locked memory";
    match limit {
        _ if version >= MAPS_ARE_NOT_LOCKED => {
            Check::ok(SUBJECT, "does not matter since Linux 5.11")
        }
        Some(limit) if limit < NEEDED && !may_raise => {
            let found = format!("limited to {limit} bytes, and the flow map takes {NEEDED}");
            let fix =
                "ulimit -l unlimited (systemd: LimitMEMLOCK=infinity), or a smaller --max-flows";
            Check::no(SUBJECT, Keeps::EBPF, found, fix)
        }
        _ => Check::ok(SUBJECT, "enough"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_matters_on_old_kernels_to_who_cannot_raise_it() {
        let keeps = |version, limit, may_raise| judge(version, limit, may_raise).keeps;
        assert_eq!(keeps((5, 10), Some(65_536), false), Keeps::EBPF);
        assert_eq!(keeps((5, 10), Some(65_536), true), Keeps::NONE);
        assert_eq!(keeps((5, 10), Some(NEEDED), false), Keeps::NONE);
        assert_eq!(keeps((5, 10), None, false), Keeps::NONE);
        assert_eq!(keeps((5, 11), Some(65_536), false), Keeps::NONE);
    }
}
