//! `cargo xtask fleet`: does what `docs/fleet.md` says with the real programs, from the registries: asks `DuckDB` the
//! questions in `docs/fleet` about a made-up fleet, has promtool check and try the alerts, and has the journal and
//! rsyslog carry events. The programs are kept below `target/xtask/fleet`; nothing is installed.

mod args;
mod carry;
mod dashboard;
mod duckdb;
mod machines;
mod places;
mod prometheus;

use std::fs;

use anyhow::{Context as _, Result};

pub(crate) use self::args::Args;
use self::places::Places;
use crate::{
    command, folder::start_anew, fresh::step::Steps, privilege::Privilege, workspace::Workspace,
};

/// Stops at the first step that fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    command::run(workspace.cargo().args(["build", "--package", "conntrack"]))?;
    let own = workspace.target.join("xtask/fleet");
    fs::create_dir_all(&own).with_context(|| own.display().to_string())?;
    let places = Places {
        recipes: workspace.root.join("docs/fleet"),
        conntrack: workspace.target.join("debug/conntrack"),
        own: own.clone(),
        workspace,
    };
    let steps = Steps::new(&own);
    let fleet = own.join("records");
    steps.take("records", |log| {
        start_anew(&fleet)?;
        machines::write(&places, &fleet, log)
    })?;
    steps.take("duckdb", |log| duckdb::ask(&places, &fleet, log))?;
    steps.take("prometheus", |log| prometheus::check(&places, args, log))?;
    steps.take("dashboard", |_| dashboard::check(&places))?;
    if Privilege::find() != Privilege::Root {
        eprintln!("events: left out, only root can make a Debian and enter it");
        return Ok(());
    }
    steps.take("events", |log| carry::check(&places, args, log))
}
