//! Where the tree is to be written: whether it can be, with what came of connections, and how
//! much room there is.

use std::path::Path;

use rustix::{
    fs::{StatVfs, getxattr, statvfs},
    io::Errno,
};

use super::check::{Check, Keeps};
use crate::tree::Tree;

/// Of what the file system has, in percent. With fewer inodes no files are made in `else` by default.
const FEW: u64 = 5;

pub(super) fn checks(path: &Path) -> Vec<Check> {
    if let Err(error) = Tree::check(path) {
        let text = error.to_string();
        // It says what is wrong, then what to do.
        let (found, fix) = text.split_once("; ").unwrap_or((&text, "choose another directory"));
        return vec![Check::no("path", Keeps::BOTH, found, fix)];
    }
    let mut checks = vec![Check::ok("path", format!("{} can be written", path.display()))];
    let there = path.ancestors().find(|it| it.exists()).unwrap_or(Path::new("."));
    checks.push(attributes(there));
    if let Ok(stat) = statvfs(there) {
        checks.extend([inodes(&stat), space(&stat)]);
    }
    checks
}

/// They hold what came of connections. Whether there are any is told by asking for one.
fn attributes(directory: &Path) -> Check {
    const SUBJECT: &str = "extended attributes";
    match getxattr(directory, "user.conntrack.recording", &mut [0_u8; 0]) {
        Err(Errno::NOTSUP) => Check::warn(
            SUBJECT,
            "the file system takes none, so what came of connections is not kept",
            "choose ext4, xfs, btrfs, or tmpfs since Linux 6.6",
        ),
        _ => Check::ok(SUBJECT, "the file system takes them"),
    }
}

/// Each connection takes one.
fn inodes(stat: &StatVfs) -> Check {
    const SUBJECT: &str = "free inodes";
    if stat.f_files == 0 {
        return Check::ok(SUBJECT, "no fixed number");
    }
    room(SUBJECT, stat.f_favail, stat.f_files, "remove files, or leave else out with -e")
}

/// Files are empty; it is their directories that take space.
fn space(stat: &StatVfs) -> Check {
    room("free space", stat.f_bavail, stat.f_blocks, "remove files")
}

fn room(subject: &'static str, free: u64, all: u64, fix: &str) -> Check {
    let percent = u128::from(free) * 100 / u128::from(all.max(1));
    if percent < u128::from(FEW) {
        return Check::warn(subject, format!("only {percent} %"), fix);
    }
    Check::ok(subject, format!("{percent} %"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_room_is_worth_a_warning() {
        let is_fine = |free, all| room("room", free, all, "make some").fix.is_none();
        assert!(is_fine(5, 100) && is_fine(u64::MAX, u64::MAX));
        assert!(!is_fine(4, 100) && !is_fine(0, 0));
    }
}
