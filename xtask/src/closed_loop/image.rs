//! The Debian that has the daemons: made once, and again if the list of packages has changed. No daemon is
//! started while it is made.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::daemons;
use crate::{
    folder,
    fresh::{debian::Debian, install::install, root::Root, step::Steps},
    workspace::Workspace,
};

/// Which one.
pub(super) struct Image<'a> {
    pub(super) suite: Option<&'a str>,
    pub(super) mirror: Option<&'a str>,
    pub(super) is_quick: bool,
}

/// The first is what the mirror takes, the others what clients and attackers run.
const MINIMUM: [&str; 1] = ["ca-certificates"];
const CLIENTS: [&str; 10] = [
    "bind9-dnsutils",
    "conntrack",
    "curl",
    "iproute2",
    "iputils-ping",
    "isc-dhcp-client",
    "nmap",
    "openssh-client",
    "socat",
    "udhcpc",
];
const MORE: [&str; 4] = ["iptables", "postgresql-client", "snmp", "ufw"];

impl Image<'_> {
    /// The root.
    pub(super) fn prepare(&self, workspace: &Workspace, folder: &Path) -> Result<PathBuf> {
        let debian = Debian::find(self.suite, self.mirror, &MINIMUM)?;
        let name = if self.is_quick { "quick" } else { "root" };
        let path = folder.join(name);
        let packages = self.packages().join(" ");
        let made_of = format!("{} {packages}", debian.suite());
        let steps = Steps::new(folder);
        folder::once(&path, &made_of, |partial| {
            let root = Root::new(partial.to_owned());
            steps.take("debian", |log| debian.unpack(workspace, &root, log))?;
            steps.take("daemons", |log| install(workspace, &root, &packages, log))
        })?;
        Ok(path)
    }

    fn packages(&self) -> Vec<&'static str> {
        let mut packages: Vec<_> = daemons::chosen(self.is_quick).map(|it| it.package).collect();
        packages.extend(CLIENTS);
        if !self.is_quick {
            packages.extend(MORE);
        }
        packages.sort_unstable();
        packages.dedup();
        packages
    }
}
