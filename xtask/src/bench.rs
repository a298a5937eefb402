//! `cargo xtask bench`: what is promised about speed, measured, as a table; `--save` puts the table
//! into `docs/benchmarks.md`. What is measured and how is in `conntrack/benches/figures/`.
//!
//! Also what other verbs that measure have in common with it: [`Measurement`].

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    command,
    compiler::Compiler,
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

/// A missed target is shown in the table and is no failure.
pub(crate) fn run(args: &Args) -> Result<()> {
    FIGURES.take(&args.subjects, args.save)
}

const FIGURES: Measurement =
    Measurement { verb: "bench", target: "figures", document: "docs/benchmarks.md" };

/// A bench target that prints a table, and the document that keeps it.
pub(crate) struct Measurement {
    pub(crate) verb: &'static str,
    pub(crate) target: &'static str,
    pub(crate) document: &'static str,
}

impl Measurement {
    /// Builds and runs the target as root and passes on its table; `save`d, the document has it.
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
        if save {
            let path = workspace.root.join(self.document);
            let at_path = || path.display().to_string();
            let document = fs::read_to_string(&path).with_context(at_path)?;
            let with_table = self.replaced(&document, &table).with_context(at_path)?;
            fs::write(&path, with_table).with_context(at_path)?;
        }
        Ok(())
    }

    fn cargo(&self, workspace: &Workspace) -> Command {
        let mut cargo = workspace.cargo();
        cargo.args(["bench", "--package", "conntrack", "--bench", self.target]);
        cargo
    }

    /// `document` with `table` between its two marks.
    fn replaced(&self, document: &str, table: &str) -> Result<String> {
        let begin = format!("<!-- table: written by `cargo xtask {} --save` -->\n", self.verb);
        let marks = document.split_once(&begin).and_then(|(before, rest)| {
            let (_old, after) = rest.split_once(END)?;
            Some((before, after))
        });
        let (before, after) = marks.context("the marks of the table are not there")?;
        Ok(format!("{before}{begin}\n{table}\n{END}{after}"))
    }
}

/// What stands behind the table in its document.
const END: &str = "<!-- end of table -->\n";

/// Runs `command` and passes on what it writes, line by line as it comes; all of it.
fn passed_on(command: &mut Command) -> Result<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_table_is_replaced() -> Result<()> {
        const BEGIN: &str = "<!-- table: written by `cargo xtask bench --save` -->\n";
        let document = |table: &str| format!("before\n{BEGIN}\n{table}\n{END}after\n");
        let replaced = FIGURES.replaced(&document("| old |\n"), "| new |\n")?;
        assert_eq!(replaced, document("| new |\n"));
        assert!(FIGURES.replaced(END, "").is_err());
        Ok(())
    }

    #[test]
    fn each_document_has_a_place_for_its_table() -> Result<()> {
        for measurement in [&FIGURES, &crate::soak::SOAK] {
            let path = format!("{}/../{}", env!("CARGO_MANIFEST_DIR"), measurement.document);
            let table = "| what |\n";
            let document = fs::read_to_string(path)?;
            assert!(measurement.replaced(&document, table)?.contains(table));
        }
        Ok(())
    }
}
