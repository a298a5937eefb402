//! What is handed out tried out: the program of the tarball in an empty root; packages checked by lintian,
//! installed beside netfilter's conntrack in a minimal Debian, used, upgraded and purged; the RPM by rpm in the
//! same root, as far as that is no Fedora: without looking at what it depends on.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::chroot;
use crate::{
    folder,
    fresh::{
        debian::{Debian, Release},
        enter::apart,
        root::Root,
        step::{Log, Steps},
    },
    privilege::demand_root,
    setup::{self, Purpose},
    workspace::{self, Workspace},
};

/// netfilter's conntrack, and what the package depends on.
const PACKAGES: [&str; 3] = ["ca-certificates", "conntrack", "systemd"];

/// What runs inside.
const SCRIPT: &str = include_str!("trial.sh");

/// Tries the packages in `folder`.
pub(super) fn run(workspace: &Workspace, folder: &Path) -> Result<()> {
    demand_root("make a Debian")?;
    setup::prepare(workspace, Purpose::Trial)?;
    let place = folder::of_verb(workspace, "trial")?;
    let root = Root::new(place.join("root"));
    root.remove().context("what an earlier run left")?;
    let steps = Steps::new(&place);
    let outcome = try_all(workspace, folder, &root, &steps);
    outcome.and(steps.take("removal", |_| root.remove()))
}

fn try_all(workspace: &Workspace, folder: &Path, root: &Root, steps: &Steps) -> Result<()> {
    let unpacked = format!("conntrack-{}-{}", env!("CARGO_PKG_VERSION"), env::consts::ARCH);
    let program = folder.join("stage/tar").join(unpacked).join("conntrack");
    steps.take("alone", |_| chroot::runs_alone(workspace, &program))?;
    steps.take("lintian", |log| {
        let mut lintian = Command::new("lintian");
        lintian.args(["--fail-on", "error", "--display-info"]).args(packages(folder, "deb", "")?);
        log.run(&mut lintian)
    })?;
    let debian = Debian::find(&Release::default(), &PACKAGES)?;
    steps.take("debian", |log| debian.unpack(workspace, root, log))?;
    steps.take("deb", |log| try_deb(workspace, folder, root, log))?;
    steps.take("rpm", |log| try_rpm(folder, root, log))
}

fn try_deb(workspace: &Workspace, folder: &Path, root: &Root, log: &Log) -> Result<()> {
    let architecture = if env::consts::ARCH == "x86_64" { "amd64" } else { "arm64" };
    root.copy(&package(folder, "deb", architecture)?, "/package.deb")?;
    root.copy(&workspace.root.join("testdata/seed.pcap"), "/seed.pcap")?;
    root.write("/trial.sh", SCRIPT)?;
    let mut chroot = apart(workspace);
    chroot.arg("chroot").arg(root.path()).args(["sh", "/trial.sh", "/package.deb", "/seed.pcap"]);
    log.run(&mut chroot)
}

/// Installs, installs again as an upgrade, and erases.
fn try_rpm(folder: &Path, root: &Root, log: &Log) -> Result<()> {
    let package = package(folder, "rpm", env::consts::ARCH)?;
    let rpm = |arguments: &[&str]| {
        let mut rpm = Command::new("rpm");
        rpm.arg("--root").arg(root.path()).args(["--nodeps", "--verbose"]).args(arguments);
        rpm
    };
    log.run(Command::new("rpm").arg("--root").arg(root.path()).arg("--initdb"))?;
    log.run(rpm(&["--install"]).arg(&package))?;
    let mut program = Command::new("chroot");
    log.run(program.arg(root.path()).args(["/usr/bin/conntrack-tree", "--version"]))?;
    let user = fs::read_to_string(root.outside("/etc/passwd")).context("/etc/passwd")?;
    ensure!(user.contains("\n_conntrack-tree:"), "the rpm made no user");
    log.run(rpm(&["--upgrade", "--replacepkgs"]).arg(&package))?;
    log.run(&mut rpm(&["--verify", "conntrack-tree"]))?;
    log.run(&mut rpm(&["--erase", "conntrack-tree"]))?;
    let program = root.outside("/usr/bin/conntrack-tree");
    ensure!(!program.exists(), "{} is still there", program.display());
    Ok(())
}

fn package(folder: &Path, kind: &str, architecture: &str) -> Result<PathBuf> {
    let mut packages = packages(folder, kind, architecture)?;
    packages.pop().with_context(|| format!("no {kind} for {architecture} in {}", folder.display()))
}

fn packages(folder: &Path, kind: &str, architecture: &str) -> Result<Vec<PathBuf>> {
    let mut packages = workspace::entries(folder)?;
    packages.retain(|path| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        path.extension().is_some_and(|it| it == kind) && name.ends_with(architecture)
    });
    Ok(packages)
}
