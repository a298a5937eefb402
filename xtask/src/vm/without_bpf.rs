//! A kernel without bpf(2), built from Debian's source with as little as the tests need.

use std::{fs, path::Path, process::Command, thread};

use anyhow::{Context as _, Result, ensure};

use crate::{
    archive::{Archive, unpack},
    command,
    mirror::Mirror,
};

/// The configuration, on top of `allnoconfig`.
pub(crate) const CONFIG: &str = include_str!("without-bpf.config");

/// Programs that the build requires besides a C compiler.
pub(crate) const PROGRAMS: [&str; 6] = ["bc", "bison", "flex", "make", "tar", "xz"];

/// Leaves `boot/vmlinuz` in `into`. It takes some minutes.
pub(crate) fn build(mirror: &Mirror, packages: &Path, into: &Path) -> Result<()> {
    const SOURCE: &str = "linux-source-6.1";
    let archive =
        Archive { mirror, release: "bookworm", architecture: "amd64", directory: packages };
    for package in archive.fetch(&[SOURCE])? {
        if package.file_name().is_some_and(|it| it.to_string_lossy().starts_with(SOURCE)) {
            unpack(&package, into)?;
        }
    }
    let tree = into.join("linux");
    fs::create_dir(&tree).with_context(|| tree.display().to_string())?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(into.join(format!("usr/src/{SOURCE}.tar.xz")));
    tar.arg("--directory").arg(&tree).arg("--strip-components=1");
    command::run(&mut tar)?;

    configure(&tree)?;
    command::run(make(&tree).args(["--quiet", "bzImage"]).arg(format!("-j{}", processors())))?;
    let boot = into.join("boot");
    fs::create_dir(&boot).with_context(|| boot.display().to_string())?;
    fs::rename(tree.join("arch/x86/boot/bzImage"), boot.join("vmlinuz")).context("bzImage")?;
    // Some 2 GB that are not needed again.
    fs::remove_dir_all(&tree).with_context(|| tree.display().to_string())
}

fn configure(tree: &Path) -> Result<()> {
    // It is selected whatever the configuration says, is not used by anything here, and requires
    // libelf.
    let kconfig = tree.join("arch/x86/Kconfig");
    let text = fs::read_to_string(&kconfig).with_context(|| kconfig.display().to_string())?;
    let is_kept = |line: &&str| !line.trim_start().starts_with("select HAVE_OBJTOOL\t");
    let kept: Vec<_> = text.lines().filter(is_kept).collect();
    fs::write(&kconfig, kept.join("\n") + "\n").with_context(|| kconfig.display().to_string())?;

    let options = tree.join("added.config");
    fs::write(&options, CONFIG).with_context(|| options.display().to_string())?;
    command::output(make(tree).arg("KCONFIG_ALLCONFIG=added.config").arg("allnoconfig"))?;
    let config = fs::read_to_string(tree.join(".config")).context(".config")?;
    let ignored = ignored(&config);
    ensure!(ignored.is_empty(), "this kernel does not take {}", ignored.join(", "));
    Ok(())
}

/// Options of ours that the kernel ignored, and the one that must not be set.
fn ignored(config: &str) -> Vec<&str> {
    let has = |option: &str| config.lines().any(|line| line == option);
    let mut ignored: Vec<_> = CONFIG.lines().filter(|it| it.starts_with("CONFIG_")).collect();
    ignored.retain(|option| !has(option));
    if has("CONFIG_BPF_SYSCALL=y") {
        ignored.push("CONFIG_BPF_SYSCALL=n");
    }
    ignored
}

fn make(tree: &Path) -> Command {
    let mut make = Command::new("make");
    make.arg("--directory").arg(tree);
    make
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_is_not_taken_is_named() {
        assert!(ignored(CONFIG).is_empty());
        let other = CONFIG.replace("CONFIG_VETH=y\n", "CONFIG_BPF_SYSCALL=y\n");
        assert_eq!(ignored(&other), ["CONFIG_VETH=y", "CONFIG_BPF_SYSCALL=n"]);
    }
}
