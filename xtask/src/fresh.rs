//! `cargo xtask fresh`: the newcomer's first minutes. It makes a minimal Debian, enters it with
//! nothing but rustup's toolchain, git and gcc, clones this work tree there and types the README's two
//! commands.
//!
//! It is not a virtual machine: kernel and network are this machine's. Its mounts are private to its
//! mount namespace and end with it. The folder is removed at the end, or by the next start after a
//! kill. Only the pristine Debian is kept, as an archive in `target/xtask/fresh`.

pub(crate) mod debian;
pub(crate) mod enter;
mod home;
pub(crate) mod install;
mod newcomer;
pub(crate) mod root;
pub(crate) mod step;
pub(crate) mod toolchain;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    privilege::Privilege,
    setup::{self, Purpose},
    test,
    workspace::Workspace,
};
use debian::Debian;
use enter::Entrance;
use root::Root;
use step::Steps;
use toolchain::Toolchain;

/// What `fresh` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Debian's release, for instance: bookworm. This machine's, if it is a Debian
    #[arg(long)]
    suite: Option<String>,
    /// A mirror of Debian's archive; without it, the one that this machine's apt uses
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
}

/// Stops at the first step that fails; removes what was made in any case.
pub(crate) fn run(args: &Args) -> Result<()> {
    let privilege = Privilege::find();
    ensure!(privilege == Privilege::Root, "only root can make a Debian and enter it: use root");
    if let Some(obstacle) = test::obstacle(privilege) {
        bail!("cannot enter a Debian from here ({obstacle})");
    }
    let workspace = Workspace::find()?;
    setup::prepare(&workspace, Purpose::Fresh)?;
    let debian = Debian::find(args.suite.as_deref(), args.mirror.as_deref(), &debian::NEWCOMERS)?;
    let toolchain = Toolchain::find(&workspace)?;

    let place = place(&workspace)?;
    let _alone = alone(&place)?;
    let root = Root::new(place.join("root"));
    let entrance = Entrance { workspace: &workspace, root: &root, toolchain: &toolchain };
    let steps = Steps::new(&place);
    root.remove().context("what an earlier run left")?;
    let outcome = newcomers_way(&debian, &entrance, &steps);
    let removal = steps.take("removal", |_| root.remove());
    outcome.and(removal)
}

fn newcomers_way(debian: &Debian, entrance: &Entrance, steps: &Steps) -> Result<()> {
    let root = entrance.root;
    steps.take("debian", |log| debian.unpack(entrance.workspace, root, log))?;
    steps.take("toolchain", |_| entrance.toolchain.install(root))?;
    steps.take("clone", |log| newcomer::clone(entrance, log))?;
    steps.take("run", |log| newcomer::run(entrance, log))?;
    steps.take("test", |log| newcomer::test(entrance, log))
}

/// This verb's folder, by its real path: `/proc/self/mountinfo` has real paths.
fn place(workspace: &Workspace) -> Result<PathBuf> {
    let place = workspace.target.join("xtask/fresh");
    let made = fs::create_dir_all(&place).and_then(|()| fs::canonicalize(&place));
    made.with_context(|| place.display().to_string())
}

/// A lock: while it is held, no other run removes our files.
fn alone(place: &Path) -> Result<File> {
    let path = place.join("lock");
    let lock = File::create(&path).with_context(|| path.display().to_string())?;
    lock.try_lock().context("another `cargo xtask fresh` is running here")?;
    Ok(lock)
}
