//! `cargo xtask dist`: what is handed out, in `target/dist`: static programs for both architectures, as
//! tarballs and as packages, with manual pages, completions, licences and checksums; and the crate with the
//! programs for the kernel in it.

mod chroot;
mod container;
mod krate;
mod packages;
mod stage;
mod tarball;
mod third_party;
mod trial;
mod version;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    command,
    folder::start_anew,
    program::Program,
    setup::{self, Purpose},
    workspace::{self, Workspace},
};
use stage::Stage;
use version::Version;

/// What `dist` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the static programs, as `DIR/x86_64/conntrack` and `DIR/aarch64/conntrack`
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Build the programs with `build_linux_on_mac.sh`, in a container on a Debian of its own; as root
    #[arg(long, conflicts_with = "programs")]
    container: bool,
    /// Install what was made before in a Debian of its own, use, upgrade and purge it; as root
    #[arg(long = "try", conflicts_with_all = ["programs", "container"])]
    trial: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    if args.container {
        return container::run(&workspace);
    }
    if args.trial {
        return trial::run(&workspace, &workspace.target.join("dist"));
    }
    let purpose = if args.programs.is_some() { Purpose::Static } else { Purpose::Dist };
    setup::prepare(&workspace, purpose)?;
    let programs = Program::build_all(&workspace)?;
    match &args.programs {
        Some(folder) => programs.iter().try_for_each(|program| program.copy_below(folder)),
        None => make(&workspace, &programs),
    }
}

/// Makes everything, and lists it.
fn make(workspace: &Workspace, programs: &[Program]) -> Result<()> {
    let version = Version::find(workspace)?;
    let folder = workspace.target.join("dist");
    start_anew(&folder)?;
    let stage = Stage::new(workspace, &version, programs)?;
    for program in programs {
        tarball::make(&stage, program, &folder)?;
        packages::make(&stage, program, &folder)?;
    }
    krate::make(workspace, &folder)?;
    check_sums(&folder)?;
    command::run(workspace.program("ls").arg("-l").arg(&folder))
}

/// `SHA256SUMS`, for `sha256sum --check`.
fn check_sums(folder: &Path) -> Result<()> {
    let mut files = workspace::entries(folder)?;
    files.retain(|path| path.is_file());
    files.sort();
    let names: Option<Vec<_>> = files.iter().map(|path| path.file_name()).collect();
    let mut sums = std::process::Command::new("sha256sum");
    sums.current_dir(folder).args(names.context("a file without a name")?);
    stage::write(&folder.join("SHA256SUMS"), &command::output(&mut sums)?)
}
