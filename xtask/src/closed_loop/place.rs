//! Who is where: the namespaces of `network.sh`, and commands in them, with the server's programs or with this
//! machine's.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::command;

/// A network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// It is recorded, and its rules are tried.
    Server,
    /// Between the LAN and the internet, with the provider's DHCP.
    Router,
    /// A client in the LAN.
    Lan,
    /// A client in the LAN that has no address yet.
    Newcomer,
    /// A client in the internet, and the server's server.
    Friend,
    /// An attacker in the LAN.
    Intruder,
    /// An attacker in the internet.
    Stranger,
}

impl Who {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Router => "router",
            Self::Lan => "lan",
            Self::Newcomer => "newcomer",
            Self::Friend => "friend",
            Self::Intruder => "intruder",
            Self::Stranger => "stranger",
        }
    }
}

/// What programs of the Debian find below this folder of its root: settings, keys, what is served.
pub(super) const HOME: &str = "/loop";

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The root of the Debian, and the folder of what is kept of a run.
pub(super) struct Place {
    root: PathBuf,
    logs: PathBuf,
}

impl Place {
    pub(super) fn new(scratch: &Path, logs: &Path) -> Self {
        Self { root: scratch.join("root"), logs: logs.to_owned() }
    }

    /// The path outside of a file below [`HOME`].
    pub(super) fn home(&self, name: &str) -> PathBuf {
        self.root.join(HOME.trim_start_matches('/')).join(name)
    }

    pub(super) fn kept(&self, name: &str) -> PathBuf {
        self.logs.join(name)
    }

    /// `script`, for a shell in the Debian, with a `/run` of its own.
    pub(super) fn inside(&self, who: Who, script: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", who.name(), "sh", "-c"]);
        command
            .arg(r#"mount -t tmpfs tmpfs "$0/run" && exec chroot "$0" env -i "$@""#)
            .arg(&self.root);
        command.args([&format!("PATH={PATH}"), "LANG=C.UTF-8", "HOME=/root", "sh", "-c", script]);
        command.stdin(Stdio::null());
        command
    }

    /// One of this machine's programs.
    pub(super) fn outside(who: Who, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", who.name()]).arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// Starts `command`, with its output in the log `name`.
    pub(super) fn start(&self, name: &str, command: &mut Command) -> Result<Child> {
        let path = self.kept(&format!("{name}.log"));
        let log = File::create(&path).with_context(|| path.display().to_string())?;
        command.stdout(log.try_clone()?).stderr(log);
        command.spawn().with_context(|| format!("cannot start `{}`", command::line(command)))
    }

    /// What the log `name` has so far.
    pub(super) fn said(&self, name: &str) -> String {
        let bytes = fs::read(self.kept(&format!("{name}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_namespace() {
        use Who::{Friend, Intruder, Lan, Newcomer, Router, Server, Stranger};
        let network = include_str!("network.sh");
        for who in [Server, Router, Lan, Newcomer, Friend, Intruder, Stranger] {
            let name = who.name();
            let made = ["ip netns add", "lan", "internet"].map(|how| format!("\n{how} {name}"));
            assert!(made.iter().any(|it| network.contains(it)), "{name}");
        }
    }
}
