//! The packages for Debian and for RPM, out of one folder and one description: `dist/package.toml`.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::stage::{PACKAGED, Stage, copy, make as make_folder, read, write};
use crate::{command, program::Program, workspace};

/// Scripts and files of one kind of package, in `dist`.
const SCRIPTS: [(&str, &str); 2] = [("deb", "scripts"), ("rpm", "rpm")];

/// Makes both in `folder`.
pub(super) fn make(stage: &Stage, program: &Program, folder: &Path) -> Result<()> {
    let place = folder.join("stage").join(program.target.debian);
    stage.fill(&place, PACKAGED, program)?;
    describe(stage, &place)?;
    compress(stage, &place)?;
    make_deb(stage, program, &place, folder)?;
    make_rpm(stage, program, &place, folder)
}

fn describe(stage: &Stage, place: &Path) -> Result<()> {
    let ours = stage.workspace.root.join("dist");
    for (kind, name) in SCRIPTS {
        let scripts = make_folder(place, name)?;
        for script in workspace::entries(&ours.join(kind))? {
            copy(&script, &scripts.join(script.file_name().context("a file")?))?;
        }
    }
    // These two are no scripts.
    copy(&ours.join("deb/lintian-overrides"), &place.join("lintian-overrides"))?;
    let copyright = read(&ours.join("deb/copyright"))? + &mit(&read(&place.join("LICENSE-MIT"))?);
    write(&place.join("copyright"), &copyright)?;
    write(&place.join("changelog"), &changelog(stage)?)?;
    let description = read(&ours.join("package.toml"))?;
    write(&place.join("Cargo.toml"), &description.replace("@VERSION@", &stage.version.number))?;
    // cargo wants something to build, which nobody does.
    write(&make_folder(place, "src")?.join("lib.rs"), "")
}

/// The licence as Debian's format has it: lines begin with a space, and empty ones are a dot.
fn mit(text: &str) -> String {
    let line = |line: &str| if line.is_empty() { " .\n".into() } else { format!(" {line}\n") };
    format!("License: MIT\n{}", text.lines().map(line).collect::<String>())
}

fn changelog(stage: &Stage) -> Result<String> {
    let (version, day) =
        (&stage.version.number, stage.version.day("+%a, %d %b %Y %H:%M:%S +0000")?);
    let description = read(&stage.workspace.root.join("dist/package.toml"))?;
    let maintainer = description
        .lines()
        .find_map(|line| line.strip_prefix("maintainer = "))
        .context("no maintainer in dist/package.toml")?
        .trim_matches('"');
    Ok(format!(
        "{PACKAGED} ({version}-1) unstable; urgency=medium\n\n  \
         * What is new is in CHANGELOG.md.\n\n -- {maintainer}  {day}\n"
    ))
}

/// Without the time, so that the same page is the same file.
fn compress(stage: &Stage, place: &Path) -> Result<()> {
    let mut gzip = stage.workspace.program("gzip");
    gzip.args(["--best", "--no-name"]);
    gzip.args(["CHANGELOG.md", "THIRD-PARTY"].map(|file| place.join(file)));
    command::run(gzip.args(workspace::entries(&place.join("man"))?))
}

fn make_deb(stage: &Stage, program: &Program, place: &Path, folder: &Path) -> Result<()> {
    let mut cargo = stage.workspace.cargo();
    cargo.current_dir(place).args(["deb", "--no-build", "--no-strip", "--quiet", "--target"]);
    cargo.arg(program.target.rust).arg("--output").arg(folder);
    command::run(cargo.env("SOURCE_DATE_EPOCH", &stage.version.seconds))
}

fn make_rpm(stage: &Stage, program: &Program, place: &Path, folder: &Path) -> Result<()> {
    let mut cargo = stage.workspace.cargo();
    cargo.current_dir(place).args(["generate-rpm", "--auto-req", "disabled"]);
    // Every rpm that is in use reads it.
    cargo.args(["--payload-compress", "gzip", "--arch", program.target.architecture]);
    cargo.args(["--source-date", &stage.version.seconds]).arg("--output").arg(folder);
    command::run(&mut cargo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_in_debian_s_format_has_no_empty_line() {
        assert_eq!(mit("MIT\n\nPermission\n"), "License: MIT\n MIT\n .\n Permission\n");
    }
}
