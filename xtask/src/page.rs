//! `cargo xtask page`: what `conntrack report` makes, in a real browser. Debian's chromium opens pages of several
//! recordings at several widths, in the dark and on paper. It has to find the elements that were written and no
//! others, to say nothing on its console, to request nothing, and to need no scrolling sideways. First a page with
//! faults shows that they would be seen.
//!
//! The pictures are in `target/xtask/page/pictures`, for people to look at. The browser runs in mount, PID and
//! network namespaces of its own, in a Debian that is kept in `target/xtask/page`.

mod browser;
mod checks;
mod recordings;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    command,
    folder::{self, start_anew},
    fresh::{debian::Debian, root::Root, step::Steps},
    privilege::Privilege,
    setup::{self, Purpose},
    workspace::Workspace,
};
use browser::{Browser, Look};

/// What `page` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Debian's release, for instance: bookworm. This machine's, if it is a Debian
    #[arg(long)]
    suite: Option<String>,
    /// A mirror of Debian's archive; without it, the one that this machine's apt uses
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
}

/// The browser, letters, and what makes pictures of paper.
const PACKAGES: [&str; 4] =
    ["ca-certificates", "chromium-headless-shell", "fonts-dejavu-core", "poppler-utils"];

/// Fails if the browser finds a fault.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        Privilege::find() == Privilege::Root,
        "only root can make namespaces and a Debian: use root"
    );
    let workspace = Workspace::find()?;
    setup::prepare(&workspace, Purpose::Page)?;
    command::run(workspace.cargo().args(["build", "--package", "conntrack"]))?;
    let folder = folder(&workspace)?;
    let _alone = alone(&folder)?;
    let steps = Steps::new(&folder);
    let root = debian(args, &workspace, &folder, &steps)?;

    let pictures = folder.join("pictures");
    start_anew(&pictures)?;
    let browser = Browser { workspace: &workspace, root: &root, pictures: &pictures };
    steps.take("faults", |log| checks::find_known_faults(&browser, log))?;
    let conntrack = workspace.target.join("debug/conntrack");
    for name in recordings::NAMES {
        steps.take(name, |log| {
            let recording = recordings::make(&workspace, &conntrack, &folder, name, log)?;
            let page = pictures.join(format!("{name}.html"));
            let mut report = workspace.program(&conntrack.display().to_string());
            log.run(report.arg("report").arg("-p").arg(recording).arg("-o").arg(&page))?;
            checks::elements_are_those_written(&browser, name, log)?;
            checks::nothing_is_cut_off(&browser, name, log)?;
            Look::ALL.into_iter().try_for_each(|look| checks::draw(&browser, name, look, log))
        })?;
    }
    println!("look at the pictures: {}", pictures.display());
    Ok(())
}

/// The Debian that has the browser: made once, and again if the packages have changed.
fn debian(args: &Args, workspace: &Workspace, folder: &Path, steps: &Steps<'_>) -> Result<PathBuf> {
    let debian = Debian::find(args.suite.as_deref(), args.mirror.as_deref(), &PACKAGES)?;
    let path = folder.join("root");
    let made_of = format!("{} {}", debian.suite(), PACKAGES.join(" "));
    folder::once(&path, &made_of, |partial| {
        let root = Root::new(partial.to_owned());
        steps.take("debian", |log| debian.unpack(workspace, &root, log))
    })?;
    Ok(path)
}

/// This verb's folder, by its real path.
fn folder(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("xtask/page");
    let made = fs::create_dir_all(&folder).and_then(|()| fs::canonicalize(&folder));
    made.with_context(|| folder.display().to_string())
}

/// A lock: while it is held, no other run uses our files.
fn alone(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let lock = File::create(&path).with_context(|| path.display().to_string())?;
    lock.try_lock().context("another `cargo xtask page` is running here")?;
    Ok(lock)
}
