//! `cargo xtask run -- ARGS`: builds conntrack in release mode and becomes it, with these arguments.

use std::{ffi::OsString, os::unix::process::CommandExt as _};

use anyhow::{Context as _, Result};

use crate::{
    command,
    privilege::Privilege,
    setup::{self, Purpose},
    workspace::Workspace,
};

/// What `run` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for conntrack, for instance: -d eth0 -p /var/lib/conntrack
    #[arg(last = true)]
    conntrack: Vec<OsString>,
}

/// Returns only on failure: otherwise this process has become conntrack, so that signals and exit
/// status are conntrack's own.
pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    setup::prepare(&workspace, Purpose::Build)?;
    let mut build = workspace.cargo();
    command::run(build.args(["build", "--release", "--package", "conntrack"]))?;

    let program = workspace.target.join("release/conntrack");
    let mut conntrack = Privilege::find().command(program);
    conntrack.args(&args.conntrack);
    let line = command::line(&conntrack);
    eprintln!("+ {line}");
    Err(conntrack.exec()).with_context(|| format!("cannot start `{line}`"))
}
