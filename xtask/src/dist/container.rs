//! `build_linux_on_mac.sh` tried out: in containers by buildah, on an image made of a minimal Debian and this
//! machine's toolchain, so that no registry of images is needed. Everything is kept below one folder, which
//! is removed at the end.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::chroot;
use crate::{
    command, folder,
    fresh::{
        debian::{Debian, NEWCOMERS, Release},
        enter::apart,
        root::Root,
        step::{Log, Steps},
        toolchain::Toolchain,
    },
    musl::TARGETS,
    privilege::demand_root,
    setup::{self, Purpose},
    workspace::Workspace,
};

/// The image to begin with, as the one that the Dockerfile names.
const BASE: &str = "conntrack-base";

/// Where the image in the Dockerfile has rustup and its toolchain.
const CARGO_HOME: &str = "/usr/local/cargo";
const RUSTUP_HOME: &str = "/usr/local/rustup";

/// The docker that is used.
const TOOL: &str = include_str!("buildah.sh");

pub(super) fn run(workspace: &Workspace) -> Result<()> {
    demand_root("make a Debian")?;
    setup::prepare(workspace, Purpose::Trial)?;
    let script = workspace.root.join("build_linux_on_mac.sh");
    command::run(Command::new("shellcheck").arg(&script))?;

    let place = folder::of_verb(workspace, "container")?;
    let storage = Root::new(place.join("storage"));
    storage.remove().context("what an earlier run left")?;
    storage.make_folder("/")?;
    let steps = Steps::new(&place);
    let outcome = build(workspace, &place, &storage, &script, &steps);
    outcome.and(steps.take("removal", |_| storage.remove()))?;
    look_at(workspace)
}

fn build(
    workspace: &Workspace,
    place: &Path,
    storage: &Root,
    script: &Path,
    steps: &Steps,
) -> Result<()> {
    let tool = place.join("buildah.sh");
    fs::write(&tool, TOOL).with_context(|| tool.display().to_string())?;
    command::output(Command::new("chmod").arg("755").arg(&tool))?;
    steps.take("base", |log| make_base(workspace, place, storage, log))?;
    steps.take("script", |log| {
        // In a mount namespace, so that nothing stays mounted.
        let mut build = apart(workspace);
        build.arg(script).env("CONTAINER_TOOL", &tool).env("STORAGE", storage.path());
        log.run(build.env("BASE", format!("localhost/{BASE}")))
    })
}

/// An image of a minimal Debian with rustup and the toolchain.
fn make_base(workspace: &Workspace, place: &Path, storage: &Root, log: &Log) -> Result<()> {
    let debian = Debian::find(&Release::default(), &NEWCOMERS)?;
    let root = Root::new(place.join("base"));
    root.remove()?;
    debian.unpack(workspace, &root, log)?;
    let toolchain = Toolchain::find(workspace)?;
    toolchain.install_rustup(&root, &format!("{CARGO_HOME}/bin"))?;
    // It may be a link, so it is what it holds that is copied.
    let name = toolchain.sysroot().file_name().context("a toolchain without a name")?;
    let folder = root.make_folder(&format!("{RUSTUP_HOME}/toolchains"))?.join(name);
    log.run(Command::new("cp").arg("--archive").arg(toolchain.sysroot().join(".")).arg(folder))?;

    let container = command::output(buildah(storage).args(["from", "scratch"]))?;
    let container = container.trim();
    log.run(buildah(storage).args(["add", "--quiet", container]).arg(root.path()).arg("/"))?;
    let path = format!(
        "PATH={CARGO_HOME}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    );
    let mut config = buildah(storage);
    config.args(["config", "--env", &path, "--env", &format!("CARGO_HOME={CARGO_HOME}")]);
    log.run(config.args(["--env", &format!("RUSTUP_HOME={RUSTUP_HOME}"), container]))?;
    log.run(buildah(storage).args(["commit", "--quiet", "--rm", container, BASE]))?;
    root.remove()
}

fn buildah(storage: &Root) -> Command {
    let mut buildah = Command::new("buildah");
    buildah.args(["--storage-driver", "vfs", "--root"]).arg(storage.outside("root"));
    buildah.arg("--runroot").arg(storage.outside("run"));
    buildah
}

/// What came out: a program for each architecture, of which ours runs where there is nothing else.
fn look_at(workspace: &Workspace) -> Result<()> {
    for target in &TARGETS {
        let program = program(workspace, target.architecture);
        let size = fs::metadata(&program).with_context(|| program.display().to_string())?.len();
        println!("{}: {size} octets", program.display());
    }
    chroot::runs_alone(workspace, &program(workspace, std::env::consts::ARCH))
}

fn program(workspace: &Workspace, architecture: &str) -> PathBuf {
    workspace.root.join("out").join(architecture).join("conntrack")
}
