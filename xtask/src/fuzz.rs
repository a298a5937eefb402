//! `cargo xtask fuzz`: runs the fuzz targets in `fuzz/`, each for a while.
//!
//! The committed corpus is only read. libFuzzer's own finds are kept in the target folder, and the
//! next run continues from them.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    command,
    setup::{self, Purpose},
    workspace::Workspace,
};

/// The files in `fuzz/fuzz_targets/`.
const TARGETS: [&str; 2] = ["frame", "capture_file"];

/// What `fuzz` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Run this target only
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
}

impl Args {
    /// Every target.
    pub(crate) fn all(seconds: u32) -> Self {
        Self { seconds, target: None }
    }
}

/// Runs every target even if one fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    setup::prepare(&workspace, Purpose::Fuzz)?;
    command::run(cargo_fuzz(&workspace, "build").args(&args.target))?;

    let is_wanted = |target: &&str| args.target.as_deref().is_none_or(|only| only == *target);
    let outcomes: Vec<_> = TARGETS
        .into_iter()
        .filter(is_wanted)
        .map(|target| (target, fuzz(&workspace, target, args.seconds)))
        .collect();
    let mut failed = Vec::new();
    for (target, outcome) in outcomes {
        match outcome {
            Ok(executions) => println!("fuzz {target}: {executions} executions, no failure"),
            Err(error) => {
                println!("fuzz {target}: {error:#}");
                failed.push(target);
            }
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Runs one target; returns the number of inputs.
fn fuzz(workspace: &Workspace, target: &str, seconds: u32) -> Result<u64> {
    let found = workspace.target.join("xtask/fuzz").join(target);
    fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    let mut cargo = cargo_fuzz(workspace, "run");
    // libFuzzer writes to the first corpus and reads all of them.
    cargo.arg(target).arg(found).arg(workspace.root.join("fuzz/corpus").join(target)).arg("--");
    cargo.arg(format!("-max_total_time={seconds}"));
    // An input that takes 30 s is a hang; libFuzzer's default is 20 minutes.
    cargo.args(["-timeout=30", "-print_final_stats=1", "-verbosity=0"]);
    eprintln!("+ {}", command::line(&cargo));
    let output = cargo.stdin(Stdio::null()).stdout(Stdio::inherit()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        std::io::stderr().write_all(&output.stderr)?;
        let Some(input) = reproducer(&said) else { bail!("{}", output.status) };
        let mut again = cargo_fuzz(workspace, "run");
        bail!("failed on {input}; try `{}`", command::line(again.args([target, input])));
    }
    executions(&said).with_context(|| format!("no number of executions in: {said}"))
}

/// Coverage counters and the address sanitizer need unstable compiler flags, which `RUSTC_BOOTSTRAP`
/// allows on the pinned stable compiler. The flags differ, so the target folder is separate.
fn cargo_fuzz(workspace: &Workspace, verb: &str) -> Command {
    let mut cargo = workspace.cargo();
    cargo.current_dir(&workspace.root).args(["fuzz", verb, "--target-dir"]);
    cargo.arg(workspace.target.join("fuzz")).env("RUSTC_BOOTSTRAP", "1");
    cargo
}

/// The input that libFuzzer stopped at.
fn reproducer(said: &str) -> Option<&str> {
    let (_, input) = said.rsplit_once("Test unit written to ")?;
    input.lines().next()
}

fn executions(said: &str) -> Option<u64> {
    let field = "stat::number_of_executed_units:";
    said.lines().find_map(|line| line.strip_prefix(field))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::PathBuf};

    use super::*;

    const DONE: &str = "Done 3180 runs in 21 second(s)\nstat::number_of_executed_units: 3180\n\
        stat::average_exec_per_sec:     151\n";
    const CRASH: &str = "==1== ERROR: libFuzzer: deadly signal\nMS: 0 ; base unit: 0000\n\
        artifact_prefix='/w/fuzz/artifacts/frame/'; Test unit written to \
        /w/fuzz/artifacts/frame/crash-da39a3ee\nBase64: \n";

    #[test]
    fn executions_are_what_libfuzzer_counted() {
        assert_eq!(executions(DONE), Some(3180));
        assert_eq!(executions(CRASH), None);
    }

    #[test]
    fn a_failure_leaves_its_input() {
        assert_eq!(reproducer(CRASH), Some("/w/fuzz/artifacts/frame/crash-da39a3ee"));
        assert_eq!(reproducer(DONE), None);
    }

    #[test]
    fn every_target_is_known_and_has_a_corpus() -> Result<()> {
        let fuzz = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz");
        let names = |directory: &str| -> Result<BTreeSet<String>> {
            let entries = fs::read_dir(format!("{fuzz}/{directory}"))?;
            let stem = |path: PathBuf| path.file_stem().map(|it| it.display().to_string());
            Ok(entries.flatten().filter_map(|entry| stem(entry.path())).collect())
        };
        let known = TARGETS.map(str::to_owned).into();
        assert_eq!(names("fuzz_targets")?, known);
        assert_eq!(names("corpus")?, known);
        Ok(())
    }
}
