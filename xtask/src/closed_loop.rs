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
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    bench::passed_on,
    command,
    document::Table,
    fresh::enter::apart,
    privilege::Privilege,
    setup::{self, Purpose},
    workspace::Workspace,
};
use circle::Circle;
use image::Image;
use place::Place;

/// What `loop` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only what starts at once: nginx, sshd, dnsmasq, vsftpd
    #[arg(long)]
    quick: bool,
    /// Debian's release, for instance: bookworm. This machine's, if it is a Debian
    #[arg(long)]
    suite: Option<String>,
    /// A mirror of Debian's archive; without it, the one that this machine's apt uses
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
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
    ensure!(
        Privilege::find() == Privilege::Root,
        "only root can make namespaces and a Debian: use root"
    );
    let workspace = Workspace::find()?;
    setup::prepare(&workspace, Purpose::Loop)?;
    command::run(workspace.cargo().args(["build", "--package", "conntrack"]))?;

    let folder = folder(&workspace)?;
    let _alone = alone(&folder)?;
    let image = Image {
        suite: args.suite.as_deref(),
        mirror: args.mirror.as_deref(),
        is_quick: args.quick,
    };
    let root = image.prepare(&workspace, &folder)?;
    let table = enter(args, &workspace, &folder, &root)?;
    if args.save { TABLE.save(&workspace, &table) } else { Ok(()) }
}

pub(crate) const TABLE: Table = Table { verb: "loop", document: "docs/loop.md" };

/// Runs this program again, inside, and returns its table.
fn enter(args: &Args, workspace: &Workspace, folder: &Path, root: &Path) -> Result<String> {
    let (scratch, logs) = (folder.join("scratch"), folder.join("logs"));
    for folder in [&scratch, &logs] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut inside = apart(workspace);
    inside.arg("--net").arg("sh");
    inside.arg(workspace.root.join("xtask/src/closed_loop/enter.sh")).arg(root).arg(&scratch);
    inside.arg(env::current_exe().context("cannot tell where this program is")?).arg("loop");
    inside.args(args.quick.then_some("--quick"));
    inside.arg("--inside").arg(&scratch).arg(&logs).arg(workspace.target.join("debug/conntrack"));
    passed_on(&mut inside)
}

/// This verb's folder, by its real path.
fn folder(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("xtask/loop");
    let made = fs::create_dir_all(&folder).and_then(|()| fs::canonicalize(&folder));
    made.with_context(|| folder.display().to_string())
}

/// A lock: while it is held, no other run uses our files.
fn alone(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let lock = File::create(&path).with_context(|| path.display().to_string())?;
    lock.try_lock().context("another `cargo xtask loop` is running here")?;
    Ok(lock)
}
