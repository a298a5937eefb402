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
pub(crate) mod kept;
mod newcomer;
pub(crate) mod root;
pub(crate) mod step;
pub(crate) mod toolchain;

use anyhow::{Context as _, Result, bail};

use crate::{
    folder,
    privilege::{Privilege, demand_root},
    setup::{self, Purpose},
    test,
    workspace::Workspace,
};
use debian::{Debian, Release};
use enter::Entrance;
use root::Root;
use step::Steps;
use toolchain::Toolchain;

/// Stops at the first step that fails; removes what was made in any case.
pub(crate) fn run(release: &Release) -> Result<()> {
    demand_root("make a Debian and enter it")?;
    if let Some(obstacle) = test::obstacle(Privilege::Root) {
        bail!("cannot enter a Debian from here ({obstacle})");
    }
    let workspace = Workspace::find()?;
    setup::prepare(&workspace, Purpose::Fresh)?;
    let debian = Debian::find(release, &debian::NEWCOMERS)?;
    let toolchain = Toolchain::find(&workspace)?;

    let place = folder::of_verb(&workspace, "fresh")?;
    let _alone = folder::alone(&place, "fresh")?;
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
