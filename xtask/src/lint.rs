//! `cargo xtask lint`: formatting, imports and clippy, warnings denied. The eBPF crate is checked
//! separately, because it compiles for its own target only, with the flags that aya-build uses.

use std::process::Command;

use anyhow::Result;

use crate::{
    command,
    compiler::Compiler,
    imports,
    setup::{self, Purpose},
    workspace::{ALL_BUT_EBPF, Workspace},
};

pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::find()?;
    setup::prepare(&workspace, Purpose::Lint)?;
    let compiler = Compiler::find()?;
    command::run(workspace.cargo().args(["fmt", "--all", "--check"]))?;
    imports::check(&workspace)?;
    clippy(all(&workspace))?;
    for feature in ["ebpf", "pcap"] {
        clippy(alone(&workspace, feature))?;
    }
    clippy(ebpf(&workspace, &compiler))
}

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
