//! `cargo xtask fleet`: does what `docs/fleet.md` says with the real programs, from the registries: asks `DuckDB` the
//! questions in `docs/fleet` about a made-up fleet, has promtool check and try the alerts, and has the journal and
//! rsyslog carry events. The programs are kept below `target/xtask/fleet`; nothing is installed.

mod carry;
mod dashboard;
mod duckdb;
mod machines;
mod places;
mod prometheus;

use anyhow::Result;

use self::places::Places;
use crate::{
    folder::{self, start_anew},
    fresh::{debian::Release, step::Steps},
    privilege::Privilege,
    program,
    workspace::Workspace,
};

/// Stops at the first step that fails.
pub(crate) fn run(release: &Release) -> Result<()> {
    let workspace = Workspace::find()?;
    let conntrack = program::build(&workspace)?;
    let own = folder::of_verb(&workspace, "fleet")?;
    let places = Places {
        recipes: workspace.root.join("docs/fleet"),
        conntrack,
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
    steps.take("prometheus", |log| prometheus::check(&places, release, log))?;
    steps.take("dashboard", |_| dashboard::check(&places))?;
    if Privilege::find() != Privilege::Root {
        eprintln!("events: left out, only root can make a Debian and enter it");
        return Ok(());
    }
    steps.take("events", |log| carry::check(&places, release, log))
}
