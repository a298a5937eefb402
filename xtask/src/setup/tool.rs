//! Programs that cargo installs: cargo-fuzz, and what makes packages. Found, or built. Any version will do
//! that is there: they only call other programs, or write a format that has settled.

use anyhow::Result;

use super::{purpose::Purpose, step::say};
use crate::{command, workspace::Workspace};

/// A program, and the version to build.
type Tool = (&'static str, &'static str);

const FUZZER: Tool = ("cargo-fuzz", "0.13.2");
const PACKERS: [Tool; 2] = [("cargo-deb", "3.8.0"), ("cargo-generate-rpm", "0.21.1")];

pub(super) fn prepare(workspace: &Workspace, purpose: Purpose) -> Result<()> {
    let fuzzer = purpose.fuzzes().then_some(FUZZER);
    let packers = PACKERS.into_iter().filter(|_| purpose.packs());
    for (name, version) in fuzzer.into_iter().chain(packers) {
        if command::find(name).is_some() {
            say(name, "found");
            continue;
        }
        say(name, "missing, installing");
        let mut cargo = workspace.cargo();
        command::run(cargo.args(["install", name, "--version", version, "--locked"]))?;
    }
    Ok(())
}
