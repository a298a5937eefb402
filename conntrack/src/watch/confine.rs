//! Dropping privileges. Everything that will be written is opened or checked with the remaining rights,
//! so that missing permission is an error at the start.

use std::{io::ErrorKind, os::fd::OwnedFd, path::Path};

use super::{config::Config, open::Opened, statement::Before};
use crate::{
    connection::{Direction, Protocol, SourcePort},
    privilege::{self, LandlockStatus, Peers, Rights, RightsError, User},
    report::{MetricsError, MetricsFile, Notifier, log::shell_quoted},
    tree::{Claim, Owners, Tree, TreeError},
};
use anyhow::anyhow;

/// The rights that the tree is written with.
pub(crate) fn rights(config: &Config) -> anyhow::Result<Rights> {
    let user = config.user.as_deref().map(User::find).transpose()?;
    Ok(Rights::new(user))
}

/// Runs `work` with only these rights. If root is denied, widens them and tries again.
fn with_rights<T: Send, E: Send>(
    rights: &mut Rights,
    is_denied: impl Fn(&E) -> bool,
    work: impl Fn() -> Result<T, E> + Sync,
) -> Result<Result<T, E>, RightsError> {
    match rights.alone(&work)? {
        Err(error) if is_denied(&error) && rights.widen() => rights.alone(&work),
        done => Ok(done),
    }
}

/// The metrics file, if one is configured and its directory is writable.
pub(crate) fn metrics_file(
    config: &Config,
    rights: &mut Rights,
) -> anyhow::Result<Option<MetricsFile>> {
    let Some(path) = &config.metrics_file else { return Ok(None) };
    let file = with_rights(rights, MetricsError::is_denied, || MetricsFile::new(path))?;
    file.map(Some).map_err(|error| match &config.user {
        Some(user) if error.is_denied() => {
            anyhow!("as {user}: {error}; choose a directory that they can write to")
        }
        _ => error.into(),
    })
}

/// An open tree, and what is read from it at the start.
pub(crate) struct OpenTree {
    pub(crate) tree: Tree,
    pub(crate) requested_ports: Vec<u16>,
    pub(crate) before: Before,
    /// All writes are below this directory.
    pub(crate) reach: OwnedFd,
    /// `None` where the file system has no locks.
    pub(crate) claim: Option<Claim>,
}

/// Checks that the tree can be opened or made, and makes nothing.
pub(crate) fn check_tree(config: &Config, rights: &mut Rights) -> anyhow::Result<()> {
    with_tree(config, rights, |owners| Tree::check_among(owners, &config.path))
}

/// Opens the tree.
pub(crate) fn open_tree(config: &Config, rights: &mut Rights) -> anyhow::Result<OpenTree> {
    with_tree(config, rights, |owners| {
        let tree = Tree::open_or_make_among(owners, &config.path)?
            .with_limits(config.limits)?
            .telling(config.telling());
        let before = Before { provenance: tree.provenance()?, is_empty: tree.is_empty()? };
        let requested_ports = requested_ports(&tree)?;
        let reach = tree.reach()?;
        let claim = tree.claim().inspect_err(|error| log::debug!("{error}")).ok();
        Ok(OpenTree { tree, requested_ports, before, reach, claim })
    })
}

/// Works on the tree with these rights, and with the owners that are fine for them.
fn with_tree<T: Send>(
    config: &Config,
    rights: &mut Rights,
    work: impl Fn(Owners) -> Result<T, TreeError> + Sync,
) -> anyhow::Result<T> {
    // `Owners::ours` depends on the thread's user, so it belongs in here.
    let work = || work(if config.force_path { Owners::Anybody } else { Owners::ours() });
    let done = with_rights(rights, TreeError::is_denied, work)?;
    done.map_err(|error| match &config.user {
        Some(user) if error.is_denied() => {
            let advice = how_to_make(&config.path, user).unwrap_or_default();
            anyhow!("as {user}: {error}{advice}")
        }
        _ => error.into(),
    })
}

/// The command that creates a missing directory for a user. Never advises to change the owner of an
/// existing one.
fn how_to_make(path: &Path, user: &str) -> Option<String> {
    let is_missing = path.symlink_metadata().is_err_and(|it| it.kind() == ErrorKind::NotFound);
    let user = user.split(':').next().filter(|_| is_missing)?;
    let path = shell_quoted(path.to_str()?)?;
    let user = shell_quoted(user)?;
    Some(format!("; or make it for them: sudo install -d -o {user} -- {path}"))
}

/// System ports of recorded UDP requests, so that after a restart their answers are not recorded as
/// incoming connections.
fn requested_ports(tree: &Tree) -> Result<Vec<u16>, TreeError> {
    let mut ports = Vec::new();
    tree.for_each(Direction::Out, Protocol::Udp, |connection| {
        if connection.source_port == SourcePort::Any {
            ports.push(connection.destination_port);
        }
    })?;
    Ok(ports)
}

/// Drops privileges that are no longer needed. No other thread runs yet; later ones inherit what is
/// left. Returns whether Landlock limits writing to `reach`.
pub(crate) fn confine(
    rights: &Rights,
    opened: &Opened,
    reach: &OwnedFd,
    metrics: Option<&MetricsFile>,
    notifier: &Notifier,
) -> anyhow::Result<bool> {
    let replaced_in = metrics.map(MetricsFile::open_directory).transpose()?;
    // To reconnect to a service manager that restarted.
    let peers = if notifier.is_abstract() { Peers::AbstractSockets } else { Peers::Nobody };
    rights.reduce_to(opened.watching())?;
    match privilege::limit_reach(reach, replaced_in.as_slice(), peers) {
        Ok(LandlockStatus::Available { .. }) => return Ok(true),
        Ok(_) => log::debug!("this kernel has no Landlock: writing is not limited to the tree"),
        Err(error) => log::warn!("Landlock: {error}; writing is not limited to the tree"),
    }
    Ok(false)
}
