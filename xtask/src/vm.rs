//! `cargo xtask vm`: the tests that watch devices, on kernels other than this machine's: several of
//! Debian's and one without bpf(2), each booted in qemu under software emulation. It needs no root,
//! and the machines have no network device.
//!
//! Kernels are in [`kernel`], tests in [`modules`]. Downloads and builds stay under the target folder.

mod architecture;
mod initramfs;
mod kernel;
mod machine;
mod modules;
mod report;
mod suite;
mod without_bpf;

use std::{
    env,
    fs::{self, File},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    document,
    mirror::Mirror,
    setup::{self, Purpose},
    workspace::Workspace,
};
use initramfs::Userland;
use kernel::Kernel;
use report::Boot;
use suite::Suite;

/// What `vm` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// This kernel only; repeatable
    #[arg(long, value_name = "NAME", value_parser = kernel::names())]
    kernel: Vec<String>,
    /// A mirror of Debian's archive; without it, the one that this machine's apt uses
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Write the table into docs/kernels.md; takes every kernel
    #[arg(long, conflicts_with_all = ["kernel", "tests"])]
    save: bool,
    /// Parts of the names of tests, which run alone
    #[arg(last = true)]
    tests: Vec<String>,
}

pub(crate) const TABLE: document::Table =
    document::Table { verb: "vm", document: "docs/kernels.md" };

/// Boots every kernel even if one fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    let is_wanted = |kernel: &&Kernel| {
        args.kernel.is_empty() || args.kernel.iter().any(|name| name == kernel.name)
    };
    let kernels: Vec<_> = kernel::ALL.iter().filter(is_wanted).collect();
    ensure!(env::consts::ARCH == "x86_64", "this takes an x86_64 machine");
    not_hidden(&workspace)?;
    setup::prepare(&workspace, Purpose::Build)?;
    if kernels.iter().any(|kernel| kernel.architecture.cross.is_some()) {
        setup::prepare(&workspace, Purpose::Static)?;
    }
    let _alone = alone(&workspace.target.join("vm"))?;
    setup::find_programs(kernels.iter().flat_map(|kernel| kernel.programs()))?;
    let mirror = Mirror::find(args.mirror.as_deref())?;
    let mut boots = Vec::new();
    for kernel in kernels {
        let boot = boot(&workspace, &mirror, kernel, &args.tests)
            .unwrap_or_else(|error| Boot::impossible(kernel, &error));
        println!("{boot}");
        boots.push(boot);
    }
    let table = report::table(&boots);
    println!("\n{table}\n{}", report::sum(&boots));
    let failed: Vec<_> = boots.iter().filter(|it| !it.passed()).map(|it| it.kernel.name).collect();
    ensure!(failed.is_empty(), "not everything passed on: {}", failed.join(", "));
    if args.save { TABLE.save(&workspace, &table) } else { Ok(()) }
}

/// One kernel, from its package to the results of its tests.
fn boot(
    workspace: &Workspace,
    mirror: &Mirror,
    kernel: &'static Kernel,
    tests: &[String],
) -> Result<Boot> {
    let directory = workspace.target.join("vm").join(kernel.architecture.debian);
    let userland = Userland::fetch(&directory.join("userland"), mirror, kernel.architecture)?;
    let suite = Suite::build(workspace, kernel.architecture, &userland.0)?;
    let image = kernel.fetch(&directory, mirror)?;
    let initramfs = directory.join(kernel.name).join("initramfs");
    userland.pack(&suite, &image, &kernel.plan(tests), &initramfs)?;
    // qemu's emulation of several processors that patch their code is imperfect: now and then a kernel
    // does not come up, or panics later on. What is ours happens again.
    for _ in 1..ATTEMPTS {
        let boot = machine::run(kernel, &image.vmlinuz, &initramfs)?;
        if boot.started() && !boot.died() {
            return Ok(boot);
        }
        println!("{boot}; trying again");
    }
    machine::run(kernel, &image.vmlinuz, &initramfs)
}

/// Boots before a kernel that does not come up, or does not stay up, has failed.
const ATTEMPTS: usize = 3;

/// The tests look for files by their paths on this machine, and the virtual machines mount file
/// systems of their own in these places.
fn not_hidden(workspace: &Workspace) -> Result<()> {
    for folder in ["/dev", "/proc", "/run", "/sys", "/tmp"] {
        let is_below = workspace.root.starts_with(folder) || workspace.target.starts_with(folder);
        ensure!(
            !is_below,
            "this work tree or its target folder is below {folder}: move it elsewhere"
        );
    }
    Ok(())
}

/// A lock: while it is held, no other run writes our files.
fn alone(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let path = folder.join("lock");
    let lock = File::create(&path).with_context(|| path.display().to_string())?;
    lock.lock().with_context(|| path.display().to_string())?;
    Ok(lock)
}
