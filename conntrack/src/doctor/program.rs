//! Whether capabilities that the program's file has (setcap(8)) count.

use std::path::Path;

use rustix::{
    fs::{StatVfsMountFlags, getxattr, statvfs},
    io::Errno,
    thread::no_new_privs,
};

use super::check::Check;

pub(super) fn check() -> Check {
    const SUBJECT: &str = "file capabilities";
    let Ok(program) = std::env::current_exe() else {
        return Check::ok(SUBJECT, "cannot be told");
    };
    let name = program.display();
    if !has_capabilities(&program) {
        return Check::ok(SUBJECT, format!("{name} has none"));
    }
    let nosuid = |stat: rustix::fs::StatVfs| stat.f_flag.contains(StatVfsMountFlags::NOSUID);
    if statvfs(&program).is_ok_and(nosuid) {
        let found = format!("those of {name} do not count, its file system is mounted nosuid");
        return Check::warn(SUBJECT, found, "move it to another file system, or remount with suid");
    }
    if no_new_privs().unwrap_or(false) {
        let found = format!("those of {name} do not count, it was started with no-new-privs");
        let fix = "start it without (systemd: AmbientCapabilities= in place of setcap)";
        return Check::warn(SUBJECT, found, fix);
    }
    Check::ok(SUBJECT, format!("{name} has some"))
}

fn has_capabilities(program: &Path) -> bool {
    let mut value = [0; 64];
    match getxattr(program, "security.capability", &mut value) {
        Ok(length) => length > 0,
        Err(errno) => errno == Errno::RANGE,
    }
}
