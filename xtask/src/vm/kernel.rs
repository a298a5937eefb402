//! The kernels: where they come from and what each lacks.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use super::{
    architecture::{AMD64, ARM64, Architecture},
    modules::MODULES,
    without_bpf,
};
use crate::{
    archive::{Archive, unpack},
    command,
    folder::once,
    mirror::Mirror,
};

/// A kernel that the tests run on.
pub(crate) struct Kernel {
    /// Its name for `--kernel`.
    pub(crate) name: &'static str,
    pub(crate) architecture: &'static Architecture,
    source: Source,
    /// What it lacks, and the tests that therefore cannot pass.
    pub(crate) lacks: &'static [Lack],
    /// If not empty, only tests with one of these in their names run.
    pub(crate) only: &'static [&'static str],
}

/// Where a kernel comes from.
enum Source {
    /// Debian's, of this release.
    Release(&'static str),
    /// Built here.
    WithoutBpf,
}

/// Something that a kernel lacks.
pub(crate) struct Lack {
    /// Tests with this in their name are left out.
    pub(crate) tests: &'static str,
    /// The version that introduced it, or what is missing.
    pub(crate) why: &'static str,
}

const NO_TCX: Lack = Lack { tests: "::tcx", why: "6.6" };
const NO_XDP: Lack = Lack { tests: "::xdp", why: "5.18" };
/// Before Linux 6.3 a process enters a time namespace only by being forked into it (`fs/exec.c`).
const NO_TIME: Lack = Lack { tests: "a_clock_that_is_not_the_kernel_s", why: "6.3" };

const NO_BPF: [Lack; 3] = [
    Lack { tests: "::tcx", why: "no bpf(2)" },
    Lack { tests: "::clsact", why: "no bpf(2)" },
    Lack { tests: "::xdp", why: "no bpf(2)" },
];

/// Linux 5.10. From the fourth on: tests that also attach with XDP, use Landlock, or rely on maps not
/// being locked memory.
const OLD: &[Lack] = &[
    NO_TCX,
    NO_XDP,
    NO_TIME,
    Lack { tests: "xdp_says_how_it_runs", why: "5.18" },
    Lack { tests: "the_next_start_cleans_up_after_a_kill", why: "5.18" },
    Lack { tests: "what_others_attached_sees_every_packet", why: "5.18" },
    Lack { tests: "ebpf_and_libpcap_leave_the_same_tree", why: "5.18" },
    Lack { tests: "no_answer_overtakes_its_request", why: "5.18" },
    Lack { tests: "a_parent_that_becomes_a_link", why: "5.13" },
    Lack { tests: "a_parent_that_is_made_again_is_out_of_reach", why: "5.13" },
    Lack { tests: "a_tree_that_is_made_again_by_others", why: "5.13" },
    Lack { tests: "a_program_with_file_capabilities", why: "5.11" },
];

/// All of them, oldest first.
pub(crate) const ALL: &[Kernel] = &[
    debian("5.10", &AMD64, "bullseye", OLD),
    debian("6.1", &AMD64, "bookworm", &[NO_TCX, NO_TIME]),
    debian("6.12", &AMD64, "bookworm-backports", &[]),
    debian("newest", &AMD64, "trixie-backports", &[]),
    Kernel {
        name: "no-bpf",
        architecture: &AMD64,
        source: Source::WithoutBpf,
        lacks: &NO_BPF,
        only: &["::pcap", "auto_takes"],
    },
    debian("6.12-arm64", &ARM64, "bookworm-backports", &[]),
];

/// Debian's kernel of a release.
const fn debian(
    name: &'static str,
    architecture: &'static Architecture,
    release: &'static str,
    lacks: &'static [Lack],
) -> Kernel {
    Kernel { name, architecture, source: Source::Release(release), lacks, only: &[] }
}

/// What `--kernel` takes.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|kernel| kernel.name).collect()
}

/// A kernel's files.
pub(crate) struct Image {
    pub(crate) vmlinuz: PathBuf,
    /// The folder with `VERSION/kernel`, if there are modules.
    pub(crate) modules: Option<PathBuf>,
}

impl Kernel {
    /// Why tests with this name do not run on it.
    pub(crate) fn lack(&self, tests: &str) -> Option<&Lack> {
        self.lacks.iter().find(|lack| lack.tests == tests)
    }

    /// Programs that it requires on this machine.
    pub(crate) fn programs(&self) -> Vec<&'static str> {
        let mut programs = vec!["cpio", "dpkg-deb"];
        programs.extend(self.architecture.programs());
        if matches!(self.source, Source::WithoutBpf) {
            programs.extend(without_bpf::PROGRAMS);
        }
        programs
    }

    /// The plan for process 1: a line for each module, with the arguments that choose among its tests.
    /// `tests` are the names that were asked for, if any.
    pub(crate) fn plan(&self, tests: &[String]) -> String {
        let skipped = self.lacks.iter().map(|lack| format!(" --skip {}", lack.tests));
        let only = self.only.iter().copied().filter(|_| tests.is_empty());
        let named = only.chain(tests.iter().map(String::as_str)).map(|name| format!(" {name}"));
        let arguments: String = skipped.chain(named).collect();
        MODULES.map(|module| format!("{module}{arguments}\n")).concat()
    }

    /// Downloads or builds it, unless it is there.
    pub(crate) fn fetch(&self, directory: &Path, mirror: &Mirror) -> Result<Image> {
        let directory = directory.join(self.name);
        let ready = directory.join("kernel");
        let packages = directory.join("packages");
        let out_of = match self.source {
            Source::Release(release) => release,
            Source::WithoutBpf => without_bpf::CONFIG,
        };
        once(&ready, out_of, |folder| {
            match self.source {
                Source::Release(release) => self.unpack(release, mirror, &packages, folder)?,
                Source::WithoutBpf => without_bpf::build(mirror, &packages, folder)?,
            }
            Image::find(folder).map(drop)
        })?;
        Image::find(&ready)
    }

    fn unpack(&self, release: &str, mirror: &Mirror, packages: &Path, into: &Path) -> Result<()> {
        let architecture = self.architecture.debian;
        let archive = Archive { mirror, release, architecture, directory: packages };
        // The cloud flavour: small, with everything that a virtual machine needs built in.
        let package = format!("linux-image-cloud-{architecture}");
        let packages = archive.fetch(&[&package])?;
        packages.iter().filter(|path| is_kernel(path)).try_for_each(|path| unpack(path, into))
    }
}

impl Image {
    /// The image among the unpacked files. Debian has it in `boot` before Linux 7.0, and beside the
    /// modules since.
    fn find(unpacked: &Path) -> Result<Self> {
        let mut find = Command::new("find");
        let found = command::output(find.arg(unpacked).args(["-type", "f", "-name", "vmlinuz*"]))?;
        let [vmlinuz] = found.lines().collect::<Vec<_>>()[..] else {
            bail!("{}: expected one kernel, found {found:?}", unpacked.display());
        };
        let places = ["lib/modules", "usr/lib/modules"].map(|place| unpacked.join(place));
        let modules = places.into_iter().find(|path| path.is_dir());
        Ok(Self { vmlinuz: vmlinuz.into(), modules })
    }
}

/// Whether a package is part of the kernel. Since Linux 7.0 there are several.
fn is_kernel(package: &Path) -> bool {
    package.file_name().is_some_and(|name| name.to_string_lossy().starts_with("linux-"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_the_kernel_s_own_packages_are_unpacked() {
        assert!(is_kernel(Path::new("a/linux-image-6.1.0-50-cloud-amd64_6.1.176-1_amd64.deb")));
        assert!(is_kernel(Path::new("a/linux-modules-7.2.12+deb13-cloud-amd64_7.2.12_amd64.deb")));
        assert!(!is_kernel(Path::new("linux-image-/initramfs-tools_0.142_all.deb")));
    }

    #[test]
    fn the_plan_leaves_out_what_the_kernel_lacks() {
        let old = ALL.iter().find(|kernel| kernel.name == "6.1").expect("one of them");
        let all = old.plan(&[]);
        let some = old.plan(&["tags".to_owned()]);
        assert!(all.starts_with("live_captures --skip ::tcx "), "{all}");
        assert!(
            !all.contains("tags") && some.lines().all(|line| line.ends_with(" tags")),
            "{some}"
        );
        assert_eq!(all.lines().count(), MODULES.len());
    }

    #[test]
    fn what_is_left_out_or_picked_by_name_is_there() -> Result<()> {
        let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/../conntrack/tests");
        let sources = MODULES.map(|it| fs::read_to_string(format!("{tests}/{it}.rs")));
        let sources = sources.into_iter().collect::<Result<String, _>>()?;
        let lacks = ALL.iter().flat_map(|kernel| kernel.lacks).map(|lack| lack.tests);
        let only = ALL.iter().flat_map(|kernel| kernel.only).copied();
        for name in lacks.chain(only).filter(|name| !name.starts_with("::")) {
            assert!(sources.contains(name), "{name}");
        }
        Ok(())
    }

    #[test]
    fn names_are_said_once() {
        let mut names = names();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
