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

use anyhow::Result;

use crate::{
    folder::{self, start_anew},
    fresh::{
        debian::{Debian, Release},
        kept::kept,
        step::Steps,
    },
    privilege::demand_root,
    program,
    setup::{self, Purpose},
    workspace::Workspace,
};
use browser::{Browser, Look};

/// The browser, letters, and what makes pictures of paper.
const PACKAGES: [&str; 4] =
    ["ca-certificates", "chromium-headless-shell", "fonts-dejavu-core", "poppler-utils"];

/// Fails if the browser finds a fault.
pub(crate) fn run(release: &Release) -> Result<()> {
    demand_root("make namespaces and a Debian")?;
    let workspace = Workspace::find()?;
    setup::prepare(&workspace, Purpose::Page)?;
    let conntrack = program::build(&workspace)?;
    let folder = folder::of_verb(&workspace, "page")?;
    let _alone = folder::alone(&folder, "page")?;
    let steps = Steps::new(&folder);
    let debian = Debian::find(release, &PACKAGES)?;
    let root = folder.join("root");
    let root = steps.take("debian", |log| kept(&workspace, &root, &debian, "", log))?;

    let pictures = folder.join("pictures");
    start_anew(&pictures)?;
    let browser = Browser { workspace: &workspace, root: root.path(), pictures: &pictures };
    steps.take("faults", |log| checks::find_known_faults(&browser, log))?;
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
