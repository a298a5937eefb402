//! Whether we are root or can be through sudo, and commands that run as root.

use std::{
    ffi::OsStr,
    fs,
    io::{self, IsTerminal as _},
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};

use crate::command;

/// How to run something as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// We are root.
    Root,
    /// There is a sudo that needs no password, or has a terminal to ask for one.
    Sudo,
    /// Neither.
    None,
}

impl Privilege {
    pub(crate) fn find() -> Self {
        if is_root() {
            Self::Root
        } else if command::find("sudo").is_some() && (sudo_is_open() || sudo_can_ask()) {
            Self::Sudo
        } else {
            Self::None
        }
    }

    /// `program` as root; as ourselves where there is no privilege.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Root | Self::None => Command::new(program),
            Self::Sudo => {
                let mut sudo = Command::new("sudo");
                sudo.arg("--").arg(program);
                sudo
            }
        }
    }
}

/// Stops who is not root, and cannot do this.
pub(crate) fn demand_root(what: &str) -> Result<()> {
    ensure!(is_root(), "only root can {what}: use root");
    Ok(())
}

/// `/proc/self` belongs to the effective user.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn sudo_is_open() -> bool {
    Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn sudo_can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sudo_puts_itself_before_the_program() {
        let line = |privilege: Privilege| command::line(privilege.command("ip").arg("link"));
        assert_eq!(line(Privilege::Root), "ip link");
        assert_eq!(line(Privilege::None), "ip link");
        assert_eq!(line(Privilege::Sudo), "sudo -- ip link");
    }
}
