//! `cargo xtask bench`: measures what is promised about speed and prints a table; `--save` writes the
//! table into `docs/benchmarks.md`. The measurements are in `conntrack/benches/figures/`.
//!
//! [`Measurement`] is shared with the other verbs that measure.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    command,
    compiler::Compiler,
    document::Table,
    privilege::Privilege,
    setup::{self, Purpose},
    test,
    workspace::Workspace,
};

/// What `bench` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the table into docs/benchmarks.md
    #[arg(long, conflicts_with = "subjects")]
    save: bool,
    /// What to measure, for instance: kernel latency. Everything, if none is named
    #[arg(last = true)]
    subjects: Vec<String>,
}

/// A missed target is shown in the table; it is not a failure.
pub(crate) fn run(args: &Args) -> Result<()> {
    FIGURES.take(&args.subjects, args.save)
}

pub(crate) const FIGURES: Measurement = Measurement {
    target: "figures",
    table: Table { verb: "bench", document: "docs/benchmarks.md" },
};

/// A bench target that prints a table, and the document that holds it.
pub(crate) struct Measurement {
    pub(crate) target: &'static str,
    pub(crate) table: Table,
}

impl Measurement {
    /// Builds and runs the target as root and prints its table; with `save`, writes it into the
    /// document.
    pub(crate) fn take(&self, arguments: &[impl AsRef<OsStr>], save: bool) -> Result<()> {
        let workspace = Workspace::find()?;
        setup::prepare(&workspace, Purpose::Bench)?;
        command::run(self.cargo(&workspace).arg("--no-run"))?;

        let privilege = Privilege::find();
        if let Some(obstacle) = test::obstacle(privilege) {
            bail!("nothing can be measured ({obstacle}): use root");
        }
        let mut target = self.cargo(&workspace);
        if privilege == Privilege::Sudo {
            target.env(Compiler::find()?.runner_variable(), "sudo -E");
        }
        let table = passed_on(target.arg("--").args(arguments))?;
        if save { self.table.save(&workspace, &table) } else { Ok(()) }
    }

    fn cargo(&self, workspace: &Workspace) -> Command {
        let mut cargo = workspace.cargo();
        cargo.args(["bench", "--package", "conntrack", "--bench", self.target]);
        cargo
    }
}

/// Runs `command`, prints its output line by line as it comes, and returns all of it.
pub(crate) fn passed_on(command: &mut Command) -> Result<String> {
    let line = command::line(command);
    eprintln!("+ {line}");
    let started = command.stdout(Stdio::piped()).spawn();
    let mut child = started.with_context(|| format!("cannot start `{line}`"))?;
    let mut text = String::new();
    for said in BufReader::new(child.stdout.take().context("no pipe")?).lines() {
        let said = said?;
        println!("{said}");
        text += &said;
        text.push('\n');
    }
    let status = child.wait()?;
    ensure!(status.success(), "`{line}` failed: {status}");
    Ok(text)
}
