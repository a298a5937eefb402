//! Landlock (Linux 5.13): limits what this thread and its children may do to files and to other
//! processes. Reading is not limited.

use std::os::fd::{AsFd, OwnedFd};

use landlock::{
    ABI, AccessFs, LandlockStatus, PathBeneath, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetError, Scope,
};

/// Processes that may still be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// None.
    Nobody,
    /// Those listening on an abstract unix socket, such as a service manager.
    AbstractSockets,
}

/// From now on this thread can create files and directories below `made_in`, and nothing else: not open
/// files for writing, truncate, rename, remove, link or execute them. The tree needs no more, because
/// its files are empty. In the directories `replaced_in`, files may be written and replaced.
///
/// Since Linux 6.12 it cannot signal other processes either, nor connect to abstract unix sockets except
/// those of `peers`. Existing connections stay, and others can connect to our sockets.
///
/// Rules belong to the inode, not to the path: a directory created in its place later has none.
///
/// Best effort: applies what the kernel supports.
///
/// # Errors
/// The kernel's refusal.
pub fn limit_reach(
    made_in: impl AsFd,
    replaced_in: &[OwnedFd],
    peers: Peers,
) -> Result<LandlockStatus, RulesetError> {
    let make = AccessFs::MakeDir | AccessFs::MakeReg;
    let replace = AccessFs::MakeReg | AccessFs::WriteFile | AccessFs::RemoveFile;
    let replaced_in = replaced_in.iter().map(|directory| PathBeneath::new(directory, replace));
    let scopes = match peers {
        Peers::Nobody => Scope::Signal | Scope::AbstractUnixSocket,
        Peers::AbstractSockets => Scope::Signal.into(),
    };
    let restricted = Ruleset::default()
        .handle_access(AccessFs::from_write(ABI::V3) | AccessFs::Execute)?
        .scope(scopes)?
        .create()?
        .add_rule(PathBeneath::new(made_in, make))?
        .add_rules(replaced_in.map(Ok::<_, RulesetError>))?
        .restrict_self()?;
    Ok(restricted.landlock)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{ErrorKind, Write as _},
        os::{
            linux::net::SocketAddrExt as _,
            unix::{
                fs::symlink,
                net::{SocketAddr, UnixListener, UnixStream},
            },
        },
        process::Command,
        thread,
    };

    use rustix::{
        fs::{CWD, FileType, Mode, mknodat},
        process::{Pid, test_kill_process},
    };

    use super::*;

    /// Skipped on a kernel without Landlock.
    #[test]
    fn empty_files_are_made_below_the_directory_and_nothing_else_is_done() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let [inside, outside, replaced] =
            ["inside", "outside", "replaced"].map(|name| scratch.path().join(name));
        for directory in [&inside, &outside, &replaced] {
            fs::create_dir(directory).expect("made");
            fs::write(directory.join("there"), "kept").expect("written");
        }
        let limited = || {
            let [inside_it, in_replaced] =
                [&inside, &replaced].map(|path| OwnedFd::from(fs::File::open(path).expect("open")));
            let status = limit_reach(inside_it, &[in_replaced], Peers::Nobody).expect("no refusal");
            if !matches!(status, LandlockStatus::Available { .. }) {
                return;
            }
            fs::write(replaced.join("new"), "").expect("written");
            fs::rename(replaced.join("new"), replaced.join("there")).expect("replaced");
            let make =
                |path| mknodat(CWD, path, FileType::RegularFile, Mode::from_raw_mode(0o644), 0);
            make(inside.join("file")).expect("made");
            fs::create_dir(inside.join("directory")).expect("made");
            for refused in [
                make(outside.join("file")).map_err(Into::into),
                fs::create_dir(outside.join("directory")),
                fs::write(outside.join("there"), ""),
                fs::write(inside.join("there"), ""),
                fs::remove_file(inside.join("there")),
                fs::rename(inside.join("there"), inside.join("elsewhere")),
                symlink("there", inside.join("link")),
                Command::new("true").status().map(|_| ()),
            ] {
                let error = refused.expect_err("refused");
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            }
            assert_eq!(fs::read_to_string(outside.join("there")).expect("read"), "kept");
        };
        thread::scope(|scope| scope.spawn(limited).join()).expect("as it should be");
    }

    /// Whether a process can be signalled, an abstract socket connected to, an old connection used.
    fn talks(peers: Peers) -> Option<[bool; 3]> {
        let mut child = Command::new("sleep").arg("1000").spawn().expect("sleep runs");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        let name = format!("conntrack-test-landlock-{}", child.id());
        let address = SocketAddr::from_abstract_name(name).expect("a name");
        let _listener = UnixListener::bind_addr(&address).expect("bound");
        let connected = UnixStream::connect_addr(&address).expect("connected");
        let limited = || {
            let anywhere = fs::File::open("/tmp").expect("open");
            let status = limit_reach(anywhere, &[], peers).expect("no refusal");
            let LandlockStatus::Available { effective_abi, .. } = status else { return None };
            let signals = test_kill_process(pid).is_ok();
            let connects = UnixStream::connect_addr(&address).is_ok();
            let stays_connected = (&connected).write(&[0]).is_ok();
            (effective_abi >= ABI::V6).then_some([signals, connects, stays_connected])
        };
        let talks = thread::scope(|scope| scope.spawn(limited).join()).expect("no panic");
        child.kill().expect("killed");
        child.wait().expect("ended");
        talks
    }

    /// Skipped on a kernel without scopes.
    #[test]
    fn nobody_is_signalled_and_no_socket_connected_to() {
        if let Some(talks) = talks(Peers::Nobody) {
            assert_eq!(talks, [false, false, true]);
        }
        if let Some(talks) = talks(Peers::AbstractSockets) {
            assert_eq!(talks, [false, true, true]);
        }
    }
}
