//! The Debian that has the daemons: made once, and again if the list of packages has changed. No daemon is
//! started while it is made.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::daemons;
use crate::{
    folder,
    fresh::{
        debian::Debian,
        enter::apart,
        root::Root,
        step::{Log, Steps},
    },
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
const MORE_CLIENTS: [&str; 2] = ["postgresql-client", "snmp"];

/// Tells packages to start nothing.
const POLICY: &str = "#!/bin/sh\nexit 101\n";

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
            packages.extend(MORE_CLIENTS);
        }
        packages.sort_unstable();
        packages.dedup();
        packages
    }
}

fn install(workspace: &Workspace, root: &Root, packages: &str, log: &Log) -> Result<()> {
    let policy = "/usr/sbin/policy-rc.d";
    root.write(policy, POLICY)?;
    let path = root.outside(policy);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .with_context(|| path.display().to_string())?;
    let script = format!(
        "mount -t proc proc /proc
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q
        apt-get install -q -y --no-install-recommends {packages}
        apt-get clean"
    );
    let mut chroot = apart(workspace);
    chroot.arg("chroot").arg(root.path()).args(["sh", "-eu", "-c", &script]);
    log.run(&mut chroot)
}
