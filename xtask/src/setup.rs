//! `cargo xtask setup`: finds or installs what building, linting and testing need, and says each
//! step. What it cannot install it names, with the commands to type. It builds nothing of ours.

mod component;
mod fuzzer;
mod linker;
mod package;

use std::{collections::BTreeSet, fmt::Display};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::{compiler::Compiler, workspace::Workspace};
use linker::{Llvm, State};
use package::{Package, System};

/// What `setup` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to prepare for
    #[arg(long = "for", value_enum, default_value_t = Purpose::All)]
    purpose: Purpose,
}

/// What to prepare for. Building is part of each but the last.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Purpose {
    /// Building only
    Build,
    /// Formatting and clippy
    Lint,
    /// Every test, with those that need root
    Test,
    /// The fuzz targets
    Fuzz,
    /// All of these
    All,
    /// The benchmarks
    Bench,
    /// A minimal Debian, in which a fresh clone then prepares itself
    Fresh,
}

impl Purpose {
    fn builds(self) -> bool {
        !self.is_fresh()
    }

    /// Whether all the components are needed that `rust-toolchain.toml` has.
    fn takes_whole_toolchain(self) -> bool {
        matches!(self, Self::Lint | Self::All | Self::Fresh)
    }

    fn tests(self) -> bool {
        matches!(self, Self::Test | Self::All)
    }

    fn benches(self) -> bool {
        matches!(self, Self::Bench)
    }

    fn fuzzes(self) -> bool {
        matches!(self, Self::Fuzz | Self::All)
    }

    fn is_fresh(self) -> bool {
        matches!(self, Self::Fresh)
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    prepare(&Workspace::find()?, args.purpose)
}

/// Leaves everything ready for `purpose`, or fails with the commands that would make it so.
pub(crate) fn prepare(workspace: &Workspace, purpose: Purpose) -> Result<()> {
    let compiler = Compiler::find()?;
    let linker = purpose.builds().then(|| linker::state(compiler.llvm));
    let is_unfit = linker.as_ref().is_some_and(|state| *state != State::Ready);

    let mut by_hand = component::prepare(&compiler.sysroot, purpose)?;
    let mut packages = Package::wanted(purpose);
    if is_unfit && Llvm::find(&compiler)?.is_none() {
        packages.push(Package::Llvm(compiler.llvm));
    }
    by_hand.extend(package::prepare(&packages, &System::find())?);
    nothing_by_hand(&by_hand)?;
    if purpose.fuzzes() {
        fuzzer::prepare(workspace)?;
    }
    linker.map_or(Ok(()), |state| prepare_linker(workspace, &compiler, &state))
}

/// Finds or installs these programs, each looked for once.
pub(crate) fn find_programs(names: impl Iterator<Item = &'static str>) -> Result<()> {
    let packages: Vec<_> =
        names.collect::<BTreeSet<_>>().into_iter().map(Package::Program).collect();
    nothing_by_hand(&package::prepare(&packages, &System::find())?)
}

/// Fails where there are commands for the user to type.
fn nothing_by_hand(commands: &[String]) -> Result<()> {
    if !commands.is_empty() {
        let commands = commands.join("\n  ");
        bail!("some of it cannot be installed from here. Type this, then try again:\n  {commands}");
    }
    Ok(())
}

/// The last step, because it may need LLVM's package, and because it takes minutes.
fn prepare_linker(workspace: &Workspace, compiler: &Compiler, linker: &State) -> Result<()> {
    if *linker == State::Ready {
        say("bpf-linker", linker);
        return Ok(());
    }
    let llvm = Llvm::find(compiler)?
        .with_context(|| format!("no LLVM {} to build bpf-linker with", compiler.llvm))?;
    say("bpf-linker", format_args!("{linker}, installing"));
    linker::install(workspace, compiler, &llvm)
}

/// One line for one step.
fn say(what: impl Display, step: impl Display) {
    eprintln!("{what}: {step}");
}
