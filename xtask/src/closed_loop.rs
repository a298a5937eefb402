//! `cargo xtask loop`: the closed loop with real servers. Daemons of Debian serve in network namespaces and are
//! used and scanned while `conntrack --learn` records; the rules made of that must let through all of the use and
//! none of the attacks, and the audit must have said so.
//!
//! The daemons are in a Debian of their own, which is kept in `target/xtask/loop`. Everything runs in mount, PID
//! and network namespaces that end with this program, however it ends.

mod attacks;
mod checks;
mod circle;
mod daemons;
mod image;
mod place;
mod rules;
mod sessions;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    bench::passed_on,
    document::Table,
    folder,
    fresh::{debian::Release, enter::beside_copy, root::Root},
    privilege::demand_root,
    program,
    setup::{self, Purpose},
    workspace::Workspace,
};
use circle::Circle;
use place::Place;

/// What `loop` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only what starts at once: nginx, sshd, dnsmasq, vsftpd
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    release: Release,
    /// Write the table into docs/loop.md
    #[arg(long, conflicts_with = "quick")]
    save: bool,
    /// Be the program in the namespaces
    #[arg(long, hide = true, num_args = 3, value_names = ["SCRATCH", "LOGS", "PROGRAM"])]
    inside: Option<Vec<PathBuf>>,
}

/// Fails if a legitimate check is cut, an attack is let in, or the audit said otherwise.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some([scratch, logs, program]) = args.inside.as_deref() {
        let place = Place::new(scratch, logs);
        return Circle { place, program: program.clone(), is_quick: args.quick }.go();
    }
    demand_root("make namespaces and a Debian")?;
    let workspace = Workspace::find()?;
    setup::prepare(&workspace, Purpose::Loop)?;
    let program = program::build(&workspace)?;

    let folder = folder::of_verb(&workspace, "loop")?;
    let _alone = folder::alone(&folder, "loop")?;
    let root = image::prepare(&workspace, &folder, &args.release, args.quick)?;
    let mut inside = inside(&workspace, &folder, &root, args.quick)?;
    let table = passed_on(inside.arg(program))?;
    if args.save { TABLE.save(&workspace, &table) } else { Ok(()) }
}

pub(crate) const TABLE: Table = Table { verb: "loop", document: "docs/loop.md" };

/// This program again, inside; append the path of conntrack.
fn inside(workspace: &Workspace, folder: &Path, root: &Root, is_quick: bool) -> Result<Command> {
    let (scratch, logs) = (folder.join("scratch"), folder.join("logs"));
    for folder in [&scratch, &logs] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut inside = beside_copy(workspace, root, &scratch);
    inside.arg(env::current_exe().context("cannot tell where this program is")?).arg("loop");
    inside.args(is_quick.then_some("--quick")).arg("--inside").arg(&scratch).arg(&logs);
    Ok(inside)
}
