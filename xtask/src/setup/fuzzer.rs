//! cargo-fuzz, which compiles fuzz targets and starts them: found, or built. Any version will do;
//! it only hands over to cargo and to libFuzzer, which comes with the targets.

use anyhow::Result;

use super::step::say;
use crate::{command, workspace::Workspace};

/// What is built where there is none.
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
