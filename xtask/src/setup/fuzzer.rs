//! cargo-fuzz, which compiles and starts fuzz targets: found, or built. Any version will do: it only
//! calls cargo and libFuzzer, which is a dependency of the targets.

use anyhow::Result;

use super::step::say;
use crate::{command, workspace::Workspace};

/// The version to build.
const VERSION: &str = "0.13.2";

pub(super) fn prepare(workspace: &Workspace) -> Result<()> {
    if command::find("cargo-fuzz").is_some() {
        say("cargo-fuzz", "found");
        return Ok(());
    }
    say("cargo-fuzz", "missing, installing");
    let mut cargo = workspace.cargo();
    command::run(cargo.args(["install", "cargo-fuzz", "--version", VERSION, "--locked"]))
}
