//! The Debian that has the daemons: made once, and again if the list of packages has changed. No daemon is
//! started while it is made.

use std::path::Path;

use anyhow::Result;

use super::daemons;
use crate::{
    fresh::{
        debian::{Debian, Release},
        kept::kept,
        root::Root,
        step::Steps,
    },
    workspace::Workspace,
};

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

/// The one in `folder`.
pub(super) fn prepare(
    workspace: &Workspace,
    folder: &Path,
    release: &Release,
    is_quick: bool,
) -> Result<Root> {
    let debian = Debian::find(release, &MINIMUM)?;
    let place = folder.join(if is_quick { "quick" } else { "root" });
    let packages = packages(is_quick).join(" ");
    Steps::new(folder).take("debian", |log| kept(workspace, &place, &debian, &packages, log))
}

fn packages(is_quick: bool) -> Vec<&'static str> {
    let mut packages: Vec<_> = daemons::chosen(is_quick).map(|it| it.package).collect();
    packages.extend(CLIENTS);
    if !is_quick {
        packages.extend(MORE);
    }
    packages.sort_unstable();
    packages.dedup();
    packages
}
