//! Which version is handed out, and of when: the same sources make the same files.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{command, workspace::Workspace};

pub(super) struct Version {
    pub(super) number: String,
    /// Seconds since 1970: of the commit, or of now where there is none.
    pub(super) seconds: String,
}

impl Version {
    pub(super) fn find(workspace: &Workspace) -> Result<Self> {
        let mut git = workspace.program("git");
        git.arg("-C").arg(&workspace.root).args(["log", "-1", "--format=%ct"]);
        let seconds = command::output(&mut git)
            .or_else(|_| command::output(Command::new("date").arg("+%s")))?;
        // All crates have the version of the workspace, and so has this one.
        let number = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Self { number, seconds: seconds.trim().to_owned() })
    }

    /// Its day, in the format of date(1).
    pub(super) fn day(&self, format: &str) -> Result<String> {
        let mut date = Command::new("date");
        date.args(["--utc", &format!("--date=@{}", self.seconds), format]).env("LC_ALL", "C");
        Ok(command::output(&mut date).context("no date")?.trim().to_owned())
    }
}
