//! `DuckDB`, from `PyPI`, and what it answers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use super::places::{Places, read};
use crate::{command, folder, fresh::step::Log, workspace::entries};

/// Its command line, in this version; `docs/fleet.md` names it.
const PACKAGE: &str = "duckdb-cli==1.5.6";

/// Asks each question about the records in `fleet`, and compares with what was expected.
pub(super) fn ask(places: &Places, fleet: &Path, log: &Log) -> Result<()> {
    let program = install(places, log)?;
    let questions = questions(&places.recipes)?;
    ensure!(questions.len() == 10, "{} questions", questions.len());
    let document = read(&places.workspace.root.join("docs/fleet.md"))?;
    let (name, version) = PACKAGE.split_once("==").unwrap_or_default();
    ensure!(
        document.contains(&format!("DuckDB {version} (`pip install {name}`)")),
        "docs/fleet.md names another DuckDB"
    );
    for question in questions {
        let name = question.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        ensure!(
            document.contains(&format!("(fleet/{name}.sql)")),
            "docs/fleet.md leaves out {name}"
        );
        // Its script names an interpreter of the folder that it was made in.
        let mut duckdb = Command::new(program.join("bin/python3"));
        duckdb.arg(program.join("bin/duckdb"));
        duckdb.current_dir(fleet).arg("-csv").arg("-init").arg(places.recipes.join("records.sql"));
        let answer = command::output(duckdb.arg("-f").arg(&question))?;
        let answer = answer.replace("\r\n", "\n");
        fs::write(places.own.join(format!("{name}.csv")), &answer)?;
        let expected = places.workspace.root.join(format!("xtask/src/fleet/answers/{name}.csv"));
        let expected = read(&expected)?;
        ensure!(answer == expected, "{name}: answered\n{answer}expected\n{expected}");
    }
    Ok(())
}

/// In a virtual environment of its own; once for each version.
fn install(places: &Places, log: &Log) -> Result<PathBuf> {
    let folder = places.own.join("duckdb");
    folder::once(&folder, PACKAGE, |partial| {
        log.run(Command::new("python3").args(["-m", "venv"]).arg(partial))?;
        let mut pip = Command::new(partial.join("bin/python3"));
        log.run(pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            PACKAGE,
        ]))
    })?;
    Ok(folder)
}

/// In the order of their numbers.
fn questions(recipes: &Path) -> Result<Vec<PathBuf>> {
    let mut questions = entries(recipes)?;
    let is_question = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".sql") && name != "records.sql"
    };
    questions.retain(is_question);
    questions.sort_unstable();
    Ok(questions)
}
