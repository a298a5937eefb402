//! A Debian that is kept for later runs: made once, and again if what is in it has changed. No daemon is started while
//! it is made.

use std::path::Path;

use anyhow::Result;

use super::{debian::Debian, install::install, root::Root, step::Log};
use crate::{folder, workspace::Workspace};

/// The one in `place`, which has what debootstrap put into `debian`, and `more` packages of apt.
pub(crate) fn kept(
    workspace: &Workspace,
    place: &Path,
    debian: &Debian,
    more: &str,
    log: &Log,
) -> Result<Root> {
    folder::once(place, &format!("{debian} {more}"), |partial| {
        let root = Root::new(partial.to_owned());
        debian.unpack(workspace, &root, log)?;
        if more.is_empty() { Ok(()) } else { install(workspace, &root, more, log) }
    })?;
    Ok(Root::new(place.to_owned()))
}
