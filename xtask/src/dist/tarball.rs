//! A tarball: unpack it anywhere, and run what is in it.

use std::path::Path;

use anyhow::Result;

use super::stage::Stage;
use crate::{command, program::Program};

/// The name is the program's own.
const NAME: &str = "conntrack";

/// Makes it in `folder`.
pub(super) fn make(stage: &Stage, program: &Program, folder: &Path) -> Result<()> {
    let name = format!("{NAME}-{}-{}", stage.version.number, program.target.architecture);
    let place = folder.join("stage").join("tar");
    stage.fill(&place.join(&name), NAME, program)?;
    let mut tar = stage.workspace.program("tar");
    tar.args(["--create", "--gzip", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.arg(format!("--mtime=@{}", stage.version.seconds));
    tar.arg("--file").arg(folder.join(format!("{name}.tar.gz")));
    command::run(tar.arg("--directory").arg(&place).arg(&name))
}
