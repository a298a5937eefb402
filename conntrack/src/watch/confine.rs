//! What the agent goes on with once everything is open: the tree is opened with the rights that will
//! be left, so what they do not reach is an error at the start; then all others are given up.

use std::os::fd::OwnedFd;

use super::{config::Config, open::Opened};
use crate::{
    connection::{Direction, Protocol, SourcePort},
    privilege::{self, LandlockStatus, Rights, User},
    report::MetricsFile,
    tree::{Owners, Tree, TreeError},
};
use anyhow::anyhow;

/// The rights that the tree is to be written with.
pub(crate) fn rights(config: &Config) -> anyhow::Result<Rights> {
    let user = config.user.as_deref().map(User::find).transpose()?;
    Ok(Rights::new(user))
}

/// A tree, and what is asked of it once.
pub(crate) struct OpenTree {
    pub(crate) tree: Tree,
    pub(crate) requested_ports: Vec<u16>,
    /// Below this it will be written.
    pub(crate) reach: OwnedFd,
}

/// Opens the tree, with these rights alone. They are widened where root's own do not do.
pub(crate) fn open_tree(config: &Config, rights: &mut Rights) -> anyhow::Result<OpenTree> {
    let open = || -> Result<_, TreeError> {
        // Who we are is asked in here: on this thread it is whoever will write.
        let owners = if config.force_path { Owners::Anybody } else { Owners::ours() };
        let tree = Tree::open_or_make_among(owners, &config.path)?.with_limits(config.limits)?;
        let (requested_ports, reach) = (requested_ports(&tree)?, tree.reach()?);
        Ok(OpenTree { tree, requested_ports, reach })
    };
    let opened = match rights.alone(open)? {
        Err(error) if error.is_denied() && rights.widen() => rights.alone(open)?,
        opened => opened,
    };
    opened.map_err(|error| match &config.user {
        Some(user) if error.is_denied() => {
            let path = config.path.display();
            let give = format!("mkdir -p {path} && chown -R {user} {path}");
            anyhow!("as {user}: {error}; or give {path} to them: {give}")
        }
        _ => error.into(),
    })
}

/// System ports that an earlier run saw UDP requests go to, so that a restart does not turn their
/// answers into incoming connections.
fn requested_ports(tree: &Tree) -> Result<Vec<u16>, TreeError> {
    let mut ports = Vec::new();
    tree.for_each(Direction::Out, Protocol::Udp, |connection| {
        if connection.source_port == SourcePort::Any {
            ports.push(connection.destination_port);
        }
    })?;
    Ok(ports)
}

/// Gives up everything that is no longer needed. No other thread runs yet, and those that start later
/// have what is left.
pub(crate) fn confine(
    rights: &Rights,
    opened: &Opened,
    reach: &OwnedFd,
    metrics: Option<&MetricsFile>,
) -> anyhow::Result<()> {
    let replaced_in = metrics.map(MetricsFile::open_directory).transpose()?;
    rights.keep(opened.watching())?;
    match privilege::limit_writing(reach, replaced_in.as_slice()) {
        Ok(LandlockStatus::Available { .. }) => {}
        Ok(_) => log::debug!("this kernel has no Landlock: writing is not limited to the tree"),
        Err(error) => log::warn!("Landlock: {error}; writing is not limited to the tree"),
    }
    Ok(())
}
