//! `cargo xtask lint`: formatting, imports, shell scripts and clippy, warnings denied. The eBPF crate is checked
//! separately, because it compiles for its own target only, with the flags that aya-build uses.

use std::process::Command;

use anyhow::Result;

use crate::{
    command,
    compiler::Compiler,
    imports,
    setup::{self, Purpose},
    workspace::{self, ALL_BUT_EBPF, Workspace},
};

pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::find()?;
    setup::prepare(&workspace, Purpose::Lint)?;
    let compiler = Compiler::find()?;
    command::run(workspace.cargo().args(["fmt", "--all", "--check"]))?;
    imports::check(&workspace)?;
    scripts(&workspace)?;
    clippy(all(&workspace))?;
    for feature in ["ebpf", "pcap"] {
        clippy(alone(&workspace, feature))?;
    }
    clippy(ebpf(&workspace, &compiler))
}

/// Scripts for a POSIX shell. Those of RPM have no first line that says so.
fn scripts(workspace: &Workspace) -> Result<()> {
    let mut scripts = Vec::new();
    for folder in [".", "dist/deb", "dist/rpm", "xtask/src/dist", "xtask/src/fresh", "xtask/src/vm"]
    {
        scripts.extend(workspace::entries(&workspace.root.join(folder))?);
    }
    scripts.retain(|path| {
        let is_named = SCRIPTS.iter().any(|name| path.ends_with(name));
        is_named || path.extension().is_some_and(|it| it == "sh")
    });
    command::run(workspace.program("shellcheck").arg("--shell=sh").args(scripts))
}

/// Names of scripts of packages.
const SCRIPTS: [&str; 6] =
    ["post-install", "post-uninstall", "postinst", "postrm", "pre-uninstall", "prerm"];

fn clippy(mut command: Command) -> Result<()> {
    command::run(command.args(["--", "-D", "warnings"]))
}

fn all(workspace: &Workspace) -> Command {
    let mut cargo = workspace.cargo();
    cargo.arg("clippy").args(ALL_BUT_EBPF).arg("--all-targets");
    cargo
}

/// conntrack with one feature only: code that only the other feature uses is a warning here.
fn alone(workspace: &Workspace, feature: &str) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["clippy", "--package", "conntrack"]);
    cargo.args(["--no-default-features", "--features", feature]);
    cargo
}

/// Clippy on the eBPF crate, in a target folder of its own: its compiler flags differ.
fn ebpf(workspace: &Workspace, compiler: &Compiler) -> Command {
    let mut cargo = workspace.cargo();
    cargo
        .args(["clippy", "--release", "--package", "conntrack-ebpf"])
        .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(workspace.target.join("lint-ebpf"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{}\"", compiler.arch()));
    cargo
}
