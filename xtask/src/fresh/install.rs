//! Packages in a Debian that is not running: what they bring is not started.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::{Context as _, Result};

use super::{enter::apart, root::Root, step::Log};
use crate::workspace::Workspace;

/// Tells packages to start nothing.
const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// Installs them and what they depend on.
pub(crate) fn install(workspace: &Workspace, root: &Root, packages: &str, log: &Log) -> Result<()> {
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
