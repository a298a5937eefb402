//! The initramfs of a virtual machine: as much of Debian's userland as the tests use, the tests,
//! kernel modules and process 1.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, ensure};

use super::{architecture::Architecture, kernel::Image, suite::Suite};
use crate::{
    archive::{Archive, unpack},
    command,
    folder::{once, start_anew},
    mirror::Mirror,
};

/// A program runs with a newer C library than it was built with, not with an older one: this release's
/// is newer than that of most machines that build tests.
const RELEASE: &str = "trixie";

/// Programs that the tests run, and libraries of the tests and the agent.
const PACKAGES: [&str; 9] = [
    "busybox-static",
    "iproute2",
    "kmod",
    "libcap2-bin",
    "libgcc-s1",
    "libpcap0.8t64",
    "mount",
    "strace",
    "util-linux",
];

/// Kernel modules by file name. All of them would be hundreds of megabytes.
const MODULES: [&str; 3] = ["cls_bpf", "sch_ingress", "veth"];

/// Process 1.
const INIT: &str = include_str!("init.sh");

/// Programs and libraries of Debian, in a folder.
pub(crate) struct Userland(pub(crate) PathBuf);

impl Userland {
    /// Downloads it into `directory`, unless it is there.
    pub(crate) fn fetch(
        directory: &Path,
        mirror: &Mirror,
        architecture: &Architecture,
    ) -> Result<Self> {
        let root = directory.join("root");
        once(&root, &format!("{RELEASE} {PACKAGES:?}"), |root| {
            let archive = Archive {
                mirror,
                release: RELEASE,
                architecture: architecture.debian,
                directory: &directory.join("packages"),
            };
            lay_out(root)?;
            archive.fetch(&PACKAGES)?.iter().try_for_each(|package| unpack(package, root))
        })?;
        Ok(Self(root))
    }

    /// Writes the initramfs of one kernel: several archives in a row, which the kernel unpacks in
    /// order (Documentation/driver-api/early-userspace/buffer-format.rst in the kernel's source).
    pub(crate) fn pack(
        &self,
        suite: &Suite,
        image: &Image,
        plan: &str,
        initramfs: &Path,
    ) -> Result<()> {
        let own = initramfs.with_extension("d");
        start_anew(&own)?;
        suite.install(&own)?;
        write(&own.join("init"), INIT)?;
        fs::set_permissions(own.join("init"), fs::Permissions::from_mode(0o755))?;
        write(&own.join("plan"), plan)?;
        if let Some(modules) = &image.modules {
            copy_modules(modules, &own.join("usr/lib/modules"))?;
        }
        let mut archives = cpio(&self.0)?;
        archives.extend(cpio(&own)?);
        fs::write(initramfs, archives).with_context(|| initramfs.display().to_string())
    }
}

/// The folders that are in no package, and the links of a merged `/usr`.
fn lay_out(root: &Path) -> Result<()> {
    for folder in ["dev", "etc", "proc", "root", "run", "sys", "tmp", "usr/local/bin"] {
        fs::create_dir_all(root.join(folder)).with_context(|| root.display().to_string())?;
    }
    for folder in ["bin", "lib", "lib64", "sbin"] {
        fs::create_dir_all(root.join("usr").join(folder))?;
        symlink(Path::new("usr").join(folder), root.join(folder))?;
    }
    write(
        &root.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    )?;
    write(&root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")
}

/// Copies [`MODULES`], which need no others, and the lists that depmod reads.
fn copy_modules(from: &Path, to: &Path) -> Result<()> {
    let find = command::output(Command::new("find").arg(from).args(["-type", "f"]))?;
    for path in find.lines().map(Path::new).filter(|path| is_wanted(path)) {
        let inside = to.join(path.strip_prefix(from)?);
        fs::create_dir_all(inside.parent().context("a file is in a folder")?)?;
        fs::copy(path, &inside).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Whether a file under `lib/modules` is one of [`MODULES`], compressed or not, or not a module.
fn is_wanted(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.split_once(".ko") {
        Some((module, _packed)) => MODULES.contains(&module),
        None => name.starts_with("modules."),
    }
}

/// Everything below a folder in the "newc" format, owned by root.
fn cpio(root: &Path) -> Result<Vec<u8>> {
    let names = command::output(Command::new("find").arg(".").arg("-print0").current_dir(root))?;
    let mut cpio = Command::new("cpio");
    cpio.args(["--null", "--create", "--format=newc", "--owner=+0:+0", "--quiet"]);
    let mut cpio = cpio.current_dir(root).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = cpio.stdin.take().context("cpio's input is no pipe")?;
    let feeder = thread::spawn(move || stdin.write_all(names.as_bytes()));
    let output = cpio.wait_with_output()?;
    feeder.join().ok().context("the names did not get to cpio")??;
    ensure!(output.status.success(), "cannot pack {}: {}", root.display(), output.status);
    Ok(output.stdout)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_modules_come_packed_or_not() {
        let is_wanted = |path| is_wanted(Path::new(path));
        assert!(is_wanted("6.1/kernel/drivers/net/veth.ko"));
        assert!(is_wanted("6.12/kernel/net/sched/cls_bpf.ko.xz"));
        assert!(is_wanted("6.12/modules.builtin"));
        assert!(!is_wanted("6.12/kernel/drivers/net/bonding/bonding.ko.xz"));
    }
}
