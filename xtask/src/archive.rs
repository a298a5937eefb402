//! Debian's packages, of any release and architecture: downloaded with their dependencies, and
//! unpacked; also as source. apt does it, with lists, cache and status file of our own under the target folder, so
//! that nothing is installed and the machine's apt is untouched.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{command, folder::start_anew, mirror::Mirror, workspace};

/// Some packages of one release for one architecture.
pub(crate) struct Archive<'a> {
    pub(crate) mirror: &'a Mirror,
    /// The release, as in `bookworm-backports`.
    pub(crate) release: &'a str,
    /// Debian's name for it, as in `amd64`.
    pub(crate) architecture: &'a str,
    /// The folder for them alone.
    pub(crate) directory: &'a Path,
}

impl Archive<'_> {
    /// The files of these packages and their dependencies; downloaded unless they are there already.
    pub(crate) fn fetch(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let complete = self.directory.join("complete");
        let wanted = format!("{} {}\n", self.release, packages.join(" "));
        if fs::read_to_string(&complete).is_ok_and(|fetched| fetched == wanted) {
            return self.files();
        }
        self.empty("deb")?;
        command::run(self.apt().arg("update"))?;
        let mut install = self.apt();
        install.args(["install", "--yes", "--download-only"]).args(packages);
        command::run(&mut install)?;
        write(&complete, &wanted)?;
        self.files()
    }

    /// The file of one package, without its dependencies.
    pub(crate) fn fetch_alone(&self, package: &str) -> Result<PathBuf> {
        self.empty("deb")?;
        command::run(self.apt().arg("update"))?;
        command::run(self.apt().args(["download", package]).current_dir(self.directory))?;
        let mut files = workspace::entries(self.directory)?;
        files.retain(|path| path.extension().is_some_and(|it| it == "deb"));
        files.pop().with_context(|| format!("no package {package}"))
    }

    /// Downloads the source of a package and unpacks it, with Debian's patches, as `into`.
    pub(crate) fn fetch_source(&self, package: &str, into: &Path) -> Result<()> {
        self.empty("deb-src")?;
        command::run(self.apt().arg("update"))?;
        let mut source = self.apt();
        source.args(["source", "--download-only", package]).current_dir(self.directory);
        command::run(&mut source)?;
        let description = workspace::entries(self.directory)?;
        let description =
            description.iter().find(|path| path.extension().is_some_and(|it| it == "dsc"));
        let description = description.with_context(|| format!("no source of {package}"))?;
        // apt has checked it against the release.
        let mut unpack = Command::new("dpkg-source");
        unpack.args(["--no-check", "--extract"]).arg(description).arg(into);
        command::output(&mut unpack).map(drop)
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = workspace::entries(&self.directory.join("archives"))?;
        files.retain(|path| path.extension().is_some_and(|it| it == "deb"));
        Ok(files)
    }

    /// For packages (`deb`) or their sources (`deb-src`).
    fn empty(&self, kind: &str) -> Result<()> {
        start_anew(self.directory)?;
        for directory in ["lists/partial", "archives/partial", "nothing"] {
            let path = self.directory.join(directory);
            fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        }
        let Self { mirror: Mirror(mirror), release, architecture, .. } = self;
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        // A backport's dependencies are in the release that it was made for.
        let base = release.strip_suffix("-backports");
        let sources = base.into_iter().chain([*release]).map(|release| {
            format!("{kind} [arch={architecture} signed-by={keyring}] {mirror} {release} main\n")
        });
        write(&self.directory.join("sources.list"), &sources.collect::<String>())?;
        write(&self.directory.join("status"), "")
    }

    fn apt(&self) -> Command {
        let mut apt = Command::new("apt-get");
        let mut set = |option: &str, value: &str| {
            apt.args(["-o", &format!("{option}={value}")]);
        };
        let inside = |name: &str| self.directory.join(name).display().to_string();
        set("Dir::State::lists", &inside("lists"));
        set("Dir::State::status", &inside("status"));
        set("Dir::State::extended_states", &inside("extended_states"));
        set("Dir::Cache", &inside(""));
        set("Dir::Cache::archives", &inside("archives"));
        set("Dir::Etc::sourcelist", &inside("sources.list"));
        for parts in ["sourceparts", "preferencesparts"] {
            set(&format!("Dir::Etc::{parts}"), &inside("nothing"));
        }
        set("Dir::Etc::preferences", &inside("nothing/preferences"));
        set("APT::Architecture", self.architecture);
        set("APT::Architectures", self.architecture);
        set("APT::Default-Release", self.release);
        set("APT::Install-Recommends", "0");
        set("Acquire::Languages", "none");
        // As our own user, and without the system's locks.
        set("APT::Sandbox::User", "");
        set("Debug::NoLocking", "1");
        apt.arg("--quiet=2").env("DEBIAN_FRONTEND", "noninteractive");
        apt
    }
}

/// Unpacks a package below `root`.
pub(crate) fn unpack(package: &Path, root: &Path) -> Result<()> {
    command::output(Command::new("dpkg-deb").arg("--extract").args([package, root])).map(drop)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}
