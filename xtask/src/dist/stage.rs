//! The folder that a tarball or packages are made of: the program and everything that goes with it, under
//! the name that the program has there.

use std::{
    env, fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{third_party, version::Version};
use crate::{command, folder::start_anew, program::Program, workspace::Workspace};

/// Beside netfilter's `conntrack`.
pub(super) const PACKAGED: &str = "conntrack-tree";

const SHELLS: [&str; 3] = ["bash", "fish", "zsh"];

/// What everything that is handed out has in common.
pub(super) struct Stage<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) version: &'a Version,
    /// The program of this machine's architecture, which can be asked.
    pub(super) own: &'a Program,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        workspace: &'a Workspace,
        version: &'a Version,
        programs: &'a [Program],
    ) -> Result<Self> {
        let is_own = |program: &&Program| program.target.architecture == env::consts::ARCH;
        let own = programs.iter().find(is_own).context("no program for this machine")?;
        Ok(Self { workspace, version, own })
    }

    /// Fills `folder` with what goes with the program under this name, and the program itself.
    pub(super) fn fill(&self, folder: &Path, name: &str, program: &Program) -> Result<()> {
        start_anew(folder)?;
        copy(&program.path, &folder.join(name))?;
        for file in ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-GPL2", "LICENSE-MIT", "README.md"] {
            copy(&self.workspace.root.join(file), &folder.join(file))?;
        }
        let third_party = third_party::text(self.workspace, program.target)?;
        write(&folder.join("THIRD-PARTY"), &third_party)?;
        self.write_service(folder, name)?;
        self.write_pages(&make(folder, "man")?, name)?;
        SHELLS.iter().try_for_each(|shell| self.write_completion(folder, shell, name))
    }

    fn write_service(&self, folder: &Path, name: &str) -> Result<()> {
        let (unit, user) = (format!("{name}@.service"), format!("{name}.conf"));
        let ours = |file: &str| self.workspace.root.join("dist").join(file);
        if name == PACKAGED {
            write(&folder.join(unit), &packaged(&read(&ours("conntrack@.service"))?))?;
            write(&folder.join(user), &packaged(&read(&ours("conntrack.sysusers"))?))
        } else {
            copy(&ours("conntrack@.service"), &folder.join(unit))?;
            copy(&ours("conntrack.sysusers"), &folder.join(user))
        }
    }

    fn write_pages(&self, folder: &Path, name: &str) -> Result<()> {
        let mut cargo = self.workspace.cargo();
        cargo.args(["run", "--quiet", "--locked", "--package", "manual", "--", name]);
        command::run(cargo.arg(self.version.day("+%Y-%m-%d")?).arg(folder))
    }

    /// Each shell finds the script by a name of its own.
    fn write_completion(&self, folder: &Path, shell: &str, name: &str) -> Result<()> {
        let file = match shell {
            "fish" => format!("{name}.fish"),
            "zsh" => format!("_{name}"),
            _ => name.to_owned(),
        };
        let mut asked = Command::new(&self.own.path);
        asked.arg0(name).env("CONNTRACK_COMPLETE", shell);
        write(&make(folder, shell)?.join(file), &command::output(&mut asked)?)
    }
}

/// The service of a package: program, user and directories have the package's name, and it is where
/// packages put programs.
fn packaged(text: &str) -> String {
    text.replace("/usr/local/bin/conntrack", "/usr/bin/conntrack")
        .replace("conntrack", PACKAGED)
        .replace(&format!("User={PACKAGED}"), &format!("User=_{PACKAGED}"))
        .replace(&format!("Group={PACKAGED}"), &format!("Group=_{PACKAGED}"))
        .replace(&format!("u {PACKAGED} "), &format!("u _{PACKAGED} "))
}

pub(super) fn make(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
    Ok(path)
}

pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = fs::copy(from, to);
    copied.map(drop).with_context(|| format!("cannot copy {}", from.display()))
}

pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_of_a_package_has_names_of_its_own() {
        let unit = packaged(include_str!("../../../dist/conntrack@.service"));
        for line in [
            "User=_conntrack-tree",
            "Group=_conntrack-tree",
            "StateDirectory=conntrack-tree/%i",
            "EnvironmentFile=-/etc/default/conntrack-tree-%i",
        ] {
            assert!(unit.lines().any(|it| it == line), "{line} is not in {unit}");
        }
        assert!(unit.contains("\nExecStart=/usr/bin/conntrack-tree --device %i "));
        assert!(!unit.replace(PACKAGED, "").contains("conntrack"), "{unit}");
        let user = packaged(include_str!("../../../dist/conntrack.sysusers"));
        assert!(user.contains("\nu _conntrack-tree - "), "{user}");
    }
}
