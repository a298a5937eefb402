//! A minimal Debian: which release, from which mirror. It is made once, kept as an archive, unpacked
//! for each run and given this machine's network settings. It is not entered here.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{enter::apart, root::Root, step::Log};
use crate::{command, mirror::Mirror, os_release::OsRelease, workspace::Workspace};

/// What the README assumes besides rustup: git and a C compiler. rustup's installer needs the
/// certificates.
pub(crate) const NEWCOMERS: [&str; 4] = ["ca-certificates", "gcc", "git", "libc6-dev"];

/// Where Debian has its bundle of certificate authorities.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Which Debian, as it is typed behind a verb.
#[derive(clap::Args, Default)]
pub(crate) struct Release {
    /// Debian's release, for instance: bookworm. This machine's, if it is a Debian
    #[arg(long)]
    pub(crate) suite: Option<String>,
    /// A mirror of Debian's archive; without it, the one that this machine's apt uses
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
}

/// A release and where its packages are.
pub(crate) struct Debian {
    suite: String,
    mirror: Mirror,
    /// What is installed besides the minimum.
    packages: &'static [&'static str],
}

impl Debian {
    /// Defaults are this machine's.
    pub(crate) fn find(release: &Release, packages: &'static [&'static str]) -> Result<Self> {
        let own = OsRelease::read();
        let suite = release.suite.as_deref().or_else(|| own_suite(&own));
        let suite = suite.context("this is not Debian: name a release with --suite")?.to_owned();
        Ok(Self { suite, mirror: Mirror::find(release.mirror.as_deref())?, packages })
    }

    pub(crate) fn suite(&self) -> &str {
        &self.suite
    }

    /// Unpacks it into `root` and adds the network settings.
    pub(crate) fn unpack(&self, workspace: &Workspace, root: &Root, log: &Log) -> Result<()> {
        let archive = self.archive(root);
        if !archive.is_file() {
            self.make(workspace, root, log)?;
            pack(workspace, root, log, &archive)?;
            root.remove()?;
        }
        let folder = root.make_folder("/")?;
        let mut tar = workspace.program("tar");
        tar.args(["--extract", "--preserve-permissions", "--numeric-owner", "--file"]);
        log.run(tar.arg(&archive).arg("--directory").arg(folder))?;
        self.connect(root)
    }

    /// Its name holds the list of packages, so that another list makes another archive.
    fn archive(&self, root: &Root) -> PathBuf {
        let name = format!("{}-{}.tar", self.suite, self.packages.join("-"));
        root.path().with_file_name(name)
    }

    fn make(&self, workspace: &Workspace, root: &Root, log: &Log) -> Result<()> {
        let mut debootstrap = apart(workspace);
        debootstrap.args(["debootstrap", "--variant=minbase", "--force-check-gpg"]);
        debootstrap.arg(format!("--include={}", self.packages.join(",")));
        log.run(debootstrap.arg(&self.suite).arg(root.path()).arg(&self.mirror.0))
    }

    /// Proxy, name servers and certificates: this machine's current ones.
    fn connect(&self, root: &Root) -> Result<()> {
        let source = format!("deb {} {} main\n", self.mirror.0, self.suite);
        root.write("/etc/apt/sources.list", &source)?;
        root.write("/etc/apt/apt.conf.d/90network", &own_apt_settings()?)?;
        for file in ["/etc/resolv.conf", "/etc/hosts"] {
            root.copy(Path::new(file), file)?;
        }
        let own = env::var_os("SSL_CERT_FILE").map_or(CERTIFICATES.into(), PathBuf::from);
        root.copy(&own, CERTIFICATES).context("no certificates to copy: install ca-certificates")
    }
}

/// The release, and what is in it.
impl fmt::Display for Debian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.suite, self.packages.join(" "))
    }
}

/// It gets its name only once it is complete.
fn pack(workspace: &Workspace, root: &Root, log: &Log, archive: &Path) -> Result<()> {
    let part = archive.with_extension("part");
    let mut tar = workspace.program("tar");
    tar.args(["--create", "--one-file-system", "--numeric-owner", "--file"]).arg(&part);
    log.run(tar.arg("--directory").arg(root.path()).arg("."))?;
    fs::rename(&part, archive).with_context(|| archive.display().to_string())
}

/// This machine's release. A derivative of Debian has releases of its own.
fn own_suite(os: &OsRelease) -> Option<&str> {
    os.field("VERSION_CODENAME").filter(|_| os.field("ID") == Some("debian"))
}

/// Empty where there is no apt: then the mirror was given.
fn own_apt_settings() -> Result<String> {
    let Some(program) = command::find("apt-config") else {
        return Ok(String::new());
    };
    Ok(about_network(&command::output(Command::new(program).arg("dump"))?))
}

/// The settings of `apt-config dump` about reaching a mirror and about checking its dates.
fn about_network(dump: &str) -> String {
    let is_about = |line: &&str| {
        ["Acquire::http", "Acquire::Check-"].iter().any(|name| line.starts_with(name))
    };
    let mut lines: Vec<_> = dump.lines().filter(is_about).collect();
    lines.push(""); // ends the last one
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_is_that_of_a_debian_only() {
        let suite = |text: &str| own_suite(&text.into()).map(str::to_owned);
        assert_eq!(suite("ID=debian\nVERSION_CODENAME=trixie\n").as_deref(), Some("trixie"));
        assert_eq!(suite("ID=ubuntu\nVERSION_CODENAME=noble\n"), None);
        assert_eq!(suite("ID=debian\n"), None); // unstable
    }

    #[test]
    fn only_settings_about_the_network_come_along() {
        let dump = "Acquire::http::Proxy \"http://p:3142\";\nAcquire::Languages \"none\";\n\
            Acquire::Check-Date \"false\";\nDPkg::Post-Invoke \"\";\n";
        let wanted = "Acquire::http::Proxy \"http://p:3142\";\nAcquire::Check-Date \"false\";\n";
        assert_eq!(about_network(dump), wanted);
    }

    #[test]
    fn what_was_asked_for_needs_no_debian() -> Result<()> {
        let release = Release { suite: Some("sid".into()), mirror: Some("http://m".into()) };
        let debian = Debian::find(&release, &NEWCOMERS)?;
        assert_eq!((debian.suite.as_str(), debian.mirror.0.as_str()), ("sid", "http://m"));
        let archive = debian.archive(&Root::new("/t/root".into()));
        assert_eq!(archive, PathBuf::from("/t/sid-ca-certificates-gcc-git-libc6-dev.tar"));
        Ok(())
    }
}
