//! A static program where there is nothing else: no C library, no shell, no file.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use crate::{command, folder::start_anew, workspace::Workspace};

/// Runs it in an empty root: it reads a capture there, and its tree has files.
///
/// # Errors
/// It does not run, or leaves no tree.
pub(super) fn runs_alone(workspace: &Workspace, program: &Path) -> Result<()> {
    let root = workspace.target.join("xtask/empty");
    start_anew(&root)?;
    let capture = workspace.root.join("testdata/seed.pcap");
    for (from, to) in [(program, "conntrack"), (&capture, "seed.pcap")] {
        fs::copy(from, root.join(to)).with_context(|| from.display().to_string())?;
    }
    let inside = |arguments: &[&str]| {
        let mut chroot = workspace.program("chroot");
        chroot.arg(&root).arg("/conntrack").args(arguments);
        command::output(&mut chroot)
    };
    print!("in an empty root: {}", inside(&["--version"])?);
    inside(&["-r", "/seed.pcap", "--local", "192.168.200.230", "-p", "/tree"])?;
    let rules = inside(&["rules", "-p", "/tree"])?;
    ensure!(
        rules.contains("192.168.200.230"),
        "no rules from a tree of testdata/seed.pcap: {rules}"
    );
    fs::remove_dir_all(&root).with_context(|| root.display().to_string())
}
