//! The crate as `cargo package` packs it, with the programs for the kernel in it, so that who builds it
//! needs no bpf-linker. cargo builds it once to see that it does.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::stage::{copy, make as make_folder, read, write};
use crate::{
    command,
    folder::start_anew,
    musl::TARGETS,
    workspace::{self, Workspace},
};

/// What goes into a workspace of its own. The programs' crate stays out.
const CRATES: [&str; 2] = ["conntrack", "conntrack-common"];

/// Packs both crates, and copies them into `folder`.
pub(super) fn make(workspace: &Workspace, folder: &Path) -> Result<()> {
    let place = folder.join("stage/crate");
    start_anew(&place)?;
    for name in CRATES {
        let mut copying = workspace.program("cp");
        copying.arg("--recursive").arg(workspace.root.join(name)).arg(&place);
        command::run(&mut copying)?;
        copy(&workspace.root.join("LICENSE-MIT"), &place.join(name).join("LICENSE-MIT"))?;
        copy(&workspace.root.join("LICENSE-APACHE"), &place.join(name).join("LICENSE-APACHE"))?;
    }
    copy(
        &programs(workspace)?,
        &make_folder(&place, "conntrack/programs")?.join("conntrack-ebpf"),
    )?;
    copy(&workspace.root.join("Cargo.lock"), &place.join("Cargo.lock"))?;
    copy(&workspace.root.join("rust-toolchain.toml"), &place.join("rust-toolchain.toml"))?;
    let manifest = read(&workspace.root.join("Cargo.toml"))?;
    write(&place.join("Cargo.toml"), &alone(&manifest)?)?;
    pack(workspace, &place, folder)
}

fn pack(workspace: &Workspace, place: &Path, folder: &Path) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.current_dir(place).args(["package", "--allow-dirty", "--workspace", "--target-dir"]);
    command::run(cargo.arg(workspace.target.join("package")))?;
    for path in workspace::entries(&workspace.target.join("package/package"))? {
        if path.extension().is_some_and(|it| it == "crate") {
            copy(&path, &folder.join(path.file_name().context("a file")?))?;
        }
    }
    Ok(())
}

/// The programs for the kernel, as the newest build for this machine has left them. Those for other
/// architectures have the same instructions.
fn programs(workspace: &Workspace) -> Result<PathBuf> {
    let target = TARGETS.iter().find(|target| target.architecture == env::consts::ARCH);
    let target = target.context("no target for this machine")?;
    let builds = workspace.target.join(target.rust).join("release/build");
    let objects = workspace::entries(&builds)?.into_iter().map(|it| it.join("out/conntrack-ebpf"));
    let newest = objects
        .filter(|path| path.is_file())
        .max_by_key(|path| fs::metadata(path).and_then(|it| it.modified()).ok());
    newest.context("no build has left programs for the kernel")
}

/// The workspace's manifest, with these crates only.
fn alone(manifest: &str) -> Result<String> {
    let members = format!("members = {CRATES:?}");
    let line = |line: &str| match line {
        _ if line.starts_with("members = ") => members.clone(),
        // Only what may be published can depend on each other in a package.
        "publish = false" => "publish = true".to_owned(),
        _ if line.starts_with("default-members") || line.starts_with("exclude") => String::new(),
        _ => line.to_owned(),
    };
    let text = manifest.lines().map(|it| line(it) + "\n").collect::<String>();
    ensure!(text.contains(&members), "Cargo.toml has no members");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_crate_is_no_member() -> Result<()> {
        let alone = alone(include_str!("../../../Cargo.toml"))?;
        assert!(alone.contains("\nmembers = [\"conntrack\", \"conntrack-common\"]\n"), "{alone}");
        assert!(!alone.contains("xtask"), "{alone}");
        assert!(alone.contains("\npublish = true\n"), "{alone}");
        Ok(())
    }
}
