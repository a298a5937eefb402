//! Whether the kernel limits where the agent can write.

use std::{fs::File, io};

use super::check::Check;
use crate::{
    host::thread::on_own_thread,
    privilege::{LandlockStatus, Peers, limit_reach},
};

pub(super) fn check() -> Check {
    const SUBJECT: &str = "Landlock";
    let without = "without, the agent's writing is not limited to the tree";
    match status() {
        Ok(LandlockStatus::Available { effective_abi, kernel_abi }) => {
            let version = kernel_abi.unwrap_or(effective_abi as i32);
            Check::ok(SUBJECT, format!("ABI {version}"))
        }
        Ok(LandlockStatus::NotEnabled) => {
            let fix = "add `landlock` to the kernel's lsm= parameter";
            Check::warn(SUBJECT, format!("not enabled; {without}"), fix)
        }
        Ok(LandlockStatus::NotImplemented) => {
            let fix = "Linux 5.13 or later, with CONFIG_SECURITY_LANDLOCK";
            Check::warn(SUBJECT, format!("not in this kernel; {without}"), fix)
        }
        Err(error) => Check::warn(SUBJECT, format!("{error}; {without}"), "lift what forbids it"),
    }
}

/// Found out by a thread that is limited, and ends.
fn status() -> io::Result<LandlockStatus> {
    let limited = || limit_reach(File::open("/")?, &[], Peers::Nobody).map_err(io::Error::other);
    on_own_thread(limited)?
}
