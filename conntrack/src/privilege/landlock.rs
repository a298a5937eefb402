//! Landlock (Linux 5.13): what this thread, and those that it starts, may still do to files, and to
//! other processes. Reading is left as it is.

use std::os::fd::{AsFd, OwnedFd};

use landlock::{
    ABI, AccessFs, LandlockStatus, PathBeneath, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetError, Scope,
};

/// Which processes may still be talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// None.
    Nobody,
    /// Whoever has an abstract unix socket, as a service manager may.
    AbstractSockets,
}

/// From now on this thread makes files and directories below `made_in` only, and does nothing else
/// to files anywhere: opens none for writing, truncates, renames, removes, links and executes none.
/// The tree needs no more, since its files stay empty. In the directories `replaced_in`, files may be
/// written and replaced too.
///
/// Since Linux 6.12 it sends no signals either, and connects to abstract unix sockets of `peers` only.
/// What is connected stays so, and others may still connect to ours.
///
/// A rule is of the directory that is open here, whatever becomes of its name; one that is made in
/// its place later is another.
///
/// What the kernel has of it: one without Landlock does nothing.
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

    /// Without Landlock in the kernel there is nothing to try.
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

    /// A process and an abstract socket outside, and what is left of the way to them.
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

    /// Without scopes in the kernel there is nothing to try.
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
