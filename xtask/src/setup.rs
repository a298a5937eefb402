//! `cargo xtask setup`: finds or installs what building, linting and testing need, and prints each
//! step. What it cannot install it names, with the command to type. It builds nothing of ours.

mod component;
mod linker;
mod package;
mod purpose;
mod static_libpcap;
mod step;
mod tool;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

pub(crate) use self::{
    purpose::Purpose,
    static_libpcap::{StaticLibpcap, copyrights},
};
use crate::{compiler::Compiler, workspace::Workspace};
use linker::{Llvm, State};
use package::{Package, System};
use step::say;

/// What `setup` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to prepare for
    #[arg(long = "for", value_enum, default_value_t = Purpose::All)]
    purpose: Purpose,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    prepare(&Workspace::find()?, args.purpose)
}

/// Makes everything ready for `purpose`, or fails with the commands to type.
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
    tool::prepare(workspace, purpose)?;
    if purpose.is_static() {
        static_libpcap::prepare(workspace)?;
    }
    linker.map_or(Ok(()), |state| prepare_linker(workspace, &compiler, &state))
}

/// Finds or installs these programs.
pub(crate) fn find_programs(names: impl Iterator<Item = &'static str>) -> Result<()> {
    let packages: Vec<_> =
        names.collect::<BTreeSet<_>>().into_iter().map(Package::Program).collect();
    nothing_by_hand(&package::prepare(&packages, &System::find())?)
}

/// Fails if there are commands left for the user to type.
fn nothing_by_hand(commands: &[String]) -> Result<()> {
    if !commands.is_empty() {
        let commands = commands.join("\n  ");
        bail!("some of it cannot be installed from here. Type this, then try again:\n  {commands}");
    }
    Ok(())
}

/// The last step, because it may need LLVM's package and takes minutes.
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
