//! Packages of the distribution: what we need, its name in each distribution, and installing it with
//! apt-get. Elsewhere the command to type is printed.

use std::{fmt, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::{purpose::Purpose, step::say};
use crate::{command, musl::TARGETS, os_release::OsRelease, privilege::Privilege};

/// Something that a package of the distribution provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Package {
    /// libpcap to link against.
    Libpcap,
    /// LLVM of this major version to link against.
    Llvm(u32),
    /// A program for the tests or the benchmarks.
    Program(&'static str),
}

impl Package {
    /// What `purpose` needs, except LLVM.
    pub(super) fn wanted(purpose: Purpose) -> Vec<Self> {
        let mut packages = Vec::new();
        if purpose.links() {
            packages.push(Self::Libpcap);
        }
        if purpose.is_static() {
            let compilers = TARGETS.iter().map(|target| target.compiler);
            let programs = ["bison", "dpkg-deb", "dpkg-source", "flex", "make"];
            packages.extend(compilers.chain(programs).map(Self::Program));
        }
        if purpose.tests() {
            let watching = ["ip", "tc", "setpriv", "unshare", "tcpdump", "systemd-analyze"];
            let others = ["nmap", "strace"];
            let rules = ["nft", "iptables-restore", "ip6tables-restore"];
            let trees = ["mkfs.ext4", "mkfs.xfs", "mkfs.btrfs"];
            let shells = ["bash", "fish", "setsid", "zsh"];
            let pages = ["man", "mandoc"];
            let programs = watching.into_iter().chain(others).chain(rules).chain(trees);
            let programs = programs.chain(shells).chain(pages);
            packages.extend(programs.map(Self::Program));
        }
        if purpose.lints() {
            packages.push(Self::Program("shellcheck"));
        }
        if purpose.benches() {
            packages.extend(["ip", "unshare", "tcpdump", "iperf3", "strace"].map(Self::Program));
        }
        if purpose.serves() {
            let namespaces = ["ip", "ss", "setpriv", "unshare", "debootstrap"];
            let rules = ["nft", "iptables-restore", "ip6tables-restore"];
            packages.extend(namespaces.into_iter().chain(rules).map(Self::Program));
        }
        if purpose.browses() {
            packages.extend(["debootstrap", "setpriv", "unshare"].map(Self::Program));
        }
        if purpose.fuzzes() {
            packages.push(Self::Program("c++")); // libFuzzer comes as source
        }
        if purpose.tries() {
            let programs = ["buildah", "debootstrap", "lintian", "rpm", "shellcheck", "unshare"];
            packages.extend(programs.map(Self::Program));
        }
        if purpose.is_fresh() {
            packages.extend(["debootstrap", "git", "setpriv", "unshare"].map(Self::Program));
        }
        packages
    }

    fn is_installed(self) -> bool {
        match self {
            Self::Libpcap => links("libpcap.so"),
            // Asked for only once it was not found.
            Self::Llvm(_) => false,
            Self::Program(CROSS_LINKER) => finds(CROSS_LINKER, "crt1.o"),
            Self::Program(name) => command::find(name).is_some(),
        }
    }

    /// The package that provides it in this family, or several, separated by spaces.
    fn name(self, family: Family) -> String {
        match (self, family) {
            (Self::Libpcap, Family::Debian) => "libpcap-dev".into(),
            (Self::Libpcap, Family::Fedora | Family::Suse) => "libpcap-devel".into(),
            (Self::Libpcap, Family::Arch | Family::Other) => "libpcap".into(),
            (Self::Llvm(major), Family::Debian) => format!("llvm-{major}-dev"),
            (Self::Llvm(_), Family::Fedora) => "llvm-devel".into(),
            (Self::Llvm(major), Family::Suse) => format!("llvm{major}-devel"),
            (Self::Llvm(_), Family::Arch | Family::Other) => "llvm".into(),
            (Self::Program("ip" | "ss"), Family::Fedora) => "iproute".into(),
            (Self::Program("tc"), Family::Fedora) => "iproute-tc".into(),
            (Self::Program("ip" | "ss" | "tc"), _) => "iproute2".into(),
            (Self::Program("setpriv" | "setsid" | "unshare"), _) => "util-linux".into(),
            (Self::Program("nft"), _) => "nftables".into(),
            (Self::Program("iptables-restore" | "ip6tables-restore"), Family::Fedora) => {
                "iptables-nft".into()
            }
            (Self::Program("iptables-restore" | "ip6tables-restore"), _) => "iptables".into(),
            (Self::Program("systemd-analyze"), _) => "systemd".into(),
            (Self::Program("man"), _) => "man-db".into(),
            (Self::Program("mkfs.ext4"), _) => "e2fsprogs".into(),
            (Self::Program("mkfs.xfs"), _) => "xfsprogs".into(),
            (Self::Program("mkfs.btrfs"), Family::Suse) => "btrfsprogs".into(),
            (Self::Program("mkfs.btrfs"), _) => "btrfs-progs".into(),
            (Self::Program("qemu-system-x86_64"), _) => "qemu-system-x86".into(),
            (Self::Program("qemu-system-aarch64"), Family::Debian) => "qemu-system-arm".into(),
            // The C library is only recommended by the compiler, so it is named.
            (Self::Program(CROSS_LINKER), Family::Debian) => {
                "gcc-aarch64-linux-gnu libc6-dev-arm64-cross".into()
            }
            (Self::Program(CROSS_LINKER), _) => "gcc-aarch64-linux-gnu".into(),
            (Self::Program("x86_64-linux-gnu-gcc"), _) => "gcc-x86-64-linux-gnu".into(),
            (Self::Program("aarch64-linux-gnu-strip"), _) => "binutils-aarch64-linux-gnu".into(),
            (Self::Program("dpkg-source"), _) => "dpkg-dev".into(),
            (Self::Program("dpkg-deb"), _) => "dpkg".into(),
            (Self::Program("strip"), _) => "binutils".into(),
            (Self::Program("xz"), Family::Debian) => "xz-utils".into(),
            (Self::Program("shellcheck"), Family::Fedora | Family::Suse) => "ShellCheck".into(),
            (Self::Program("c++"), Family::Debian) => "g++".into(),
            (Self::Program("c++"), Family::Fedora | Family::Suse) => "gcc-c++".into(),
            (Self::Program("c++"), Family::Arch | Family::Other) => "gcc".into(),
            (Self::Program(name), _) => name.into(),
        }
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Libpcap => write!(f, "libpcap headers"),
            Self::Llvm(major) => write!(f, "LLVM {major}"),
            Self::Program(name) => write!(f, "{name}"),
        }
    }
}

/// A linker for another architecture, usable only with a C library.
const CROSS_LINKER: &str = "aarch64-linux-gnu-gcc";

/// Whether the C compiler, which is our linker, finds this library.
fn links(library: &str) -> bool {
    finds("cc", library)
}

/// Whether this C compiler finds a file to link.
fn finds(compiler: &str, file: &str) -> bool {
    let mut cc = Command::new(compiler);
    cc.arg(format!("-print-file-name={file}"));
    // It prints the bare name if there is no such file.
    command::output(&mut cc).is_ok_and(|path| Path::new(path.trim_end()).is_absolute())
}

/// Distributions with the same package names and package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Debian,
    Fedora,
    Suse,
    Arch,
    Other,
}

impl Family {
    /// From an identifier of `os-release`.
    fn of(id: &str) -> Option<Self> {
        match id {
            "debian" | "ubuntu" => Some(Self::Debian),
            "fedora" | "rhel" | "centos" => Some(Self::Fedora),
            "suse" | "opensuse" => Some(Self::Suse),
            "arch" => Some(Self::Arch),
            _ => None,
        }
    }

    /// What to type as root to install packages.
    fn install(self) -> &'static str {
        match self {
            Self::Debian => "apt-get update && apt-get install --no-install-recommends",
            Self::Fedora => "dnf install",
            Self::Suse => "zypper install",
            Self::Arch => "pacman -S --needed",
            Self::Other => "install, by the names that this distribution gives them:",
        }
    }
}

/// The distribution that we run on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct System {
    name: String,
    family: Family,
}

impl System {
    pub(super) fn find() -> Self {
        Self::told_by(&OsRelease::read())
    }

    /// By `ID`, else by `ID_LIKE`.
    fn told_by(os: &OsRelease) -> Self {
        let ids = ["ID", "ID_LIKE"].map(|name| os.field(name).unwrap_or_default());
        let family = ids.iter().flat_map(|ids| ids.split(' ')).find_map(Family::of);
        Self {
            name: os.field("PRETTY_NAME").unwrap_or("an unknown distribution").to_owned(),
            family: family.unwrap_or(Family::Other),
        }
    }

    /// The missing packages, each once.
    fn names(&self, missing: &[Package]) -> Vec<String> {
        let names = missing.iter().map(|package| package.name(self.family));
        let mut names: Vec<_> =
            names.flat_map(|it| it.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Installs the missing packages; returns the commands to type where it cannot.
pub(super) fn prepare(packages: &[Package], system: &System) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for &package in packages {
        if package.is_installed() {
            say(package, "found");
        } else {
            let name = package.name(system.family);
            say(package, format_args!("missing (package {name})"));
            missing.push(package);
        }
    }
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let names = system.names(&missing);
    match Privilege::find() {
        privilege @ (Privilege::Root | Privilege::Sudo) if system.family == Family::Debian => {
            install(system, privilege, &names)?;
            Ok(Vec::new())
        }
        privilege => Ok(vec![by_hand(system, privilege, &names)]),
    }
}

fn by_hand(system: &System, privilege: Privilege, names: &[String]) -> String {
    let why = match privilege {
        Privilege::None => "you are not root and sudo is not usable",
        Privilege::Root | Privilege::Sudo => "only apt-get is known to this program",
    };
    let install = system.family.install();
    let names = names.join(" ");
    format!("{install} {names}    # as root; this is {}, and {why}", system.name)
}

/// All packages at once, after checking that this release has them.
fn install(system: &System, privilege: Privilege, names: &[String]) -> Result<()> {
    say(names.join(" "), "installing");
    // Another of the user's repositories may be broken; ours may still work.
    if let Err(error) = command::run(privilege.command("apt-get").args(["update", "-q"])) {
        say("apt-get update", format_args!("{error:#}; going on"));
    }
    for name in names {
        if !apt_knows(name)? {
            bail!("{}", unknown(system, name));
        }
    }
    let mut apt = privilege.command("env");
    apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-q", "-y"])
        .arg("--no-install-recommends")
        .args(names);
    command::run(&mut apt)
}

fn apt_knows(name: &str) -> Result<bool> {
    let known = command::output(Command::new("apt-cache").args(["search", "--names-only", name]))
        .context("cannot ask apt what this release has")?;
    Ok(lists(&known, name))
}

/// Whether a line of `apt-cache search`, "NAME - DESCRIPTION", has this name.
fn lists(search: &str, name: &str) -> bool {
    let mut names = search.lines().filter_map(|line| line.split(' ').next());
    names.any(|listed| listed == name)
}

fn unknown(system: &System, name: &str) -> String {
    let mut text = format!("{} has no package {name}", system.name);
    if name.starts_with("llvm-") {
        text += "; add the repository of your release from https://apt.llvm.org, or put a \
            bpf-linker for this LLVM or a newer one on PATH from \
            https://github.com/aya-rs/bpf-linker/releases, then try again";
    } else {
        text += "; look into /etc/apt/sources.list* for what is left out, then try again";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINT: &str = "NAME=\"Linux Mint\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n\
        PRETTY_NAME=\"Linux Mint 22\"\nVERSION_ID=\"22\"\n";

    fn family(text: &str) -> Family {
        System::told_by(&text.into()).family
    }

    #[test]
    fn the_family_is_told_by_id_or_what_it_is_like() {
        assert_eq!(family("ID=debian\n"), Family::Debian);
        assert_eq!(family("ID=ubuntu\nID_LIKE=debian\n"), Family::Debian);
        assert_eq!(family(MINT), Family::Debian);
        assert_eq!(family("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), Family::Fedora);
        assert_eq!(family("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n"), Family::Suse);
        assert_eq!(family("ID=arch\n"), Family::Arch);
        assert_eq!(family("ID=void\n"), Family::Other);
        assert_eq!(family(""), Family::Other);
    }

    #[test]
    fn the_name_is_the_pretty_one() {
        assert_eq!(System::told_by(&MINT.into()).name, "Linux Mint 22");
        assert_eq!(System::told_by(&"ID=x\n".into()).name, "an unknown distribution");
    }

    #[test]
    fn each_family_gets_its_own_names_each_once() {
        let missing = Package::wanted(Purpose::All);
        let names = |family| System { name: String::new(), family }.names(&missing).join(" ");
        let debian = "bash btrfs-progs e2fsprogs fish g++ iproute2 iptables libpcap-dev man-db mandoc nftables nmap shellcheck strace systemd \
            tcpdump util-linux xfsprogs zsh";
        assert_eq!(names(Family::Debian), debian);
        let fedora = "ShellCheck bash btrfs-progs e2fsprogs fish gcc-c++ iproute iproute-tc iptables-nft libpcap-devel \
            man-db mandoc nftables nmap strace systemd tcpdump util-linux xfsprogs zsh";
        assert_eq!(names(Family::Fedora), fedora);
        let arch = "bash btrfs-progs e2fsprogs fish gcc iproute2 iptables libpcap man-db mandoc nftables nmap shellcheck strace systemd \
            tcpdump util-linux xfsprogs zsh";
        assert_eq!(names(Family::Arch), arch);
        let suse = "ShellCheck bash btrfsprogs e2fsprogs fish gcc-c++ iproute2 iptables libpcap-devel man-db mandoc nftables nmap strace \
            systemd tcpdump util-linux xfsprogs zsh";
        assert_eq!(names(Family::Suse), suse);
        assert_eq!(Package::Llvm(22).name(Family::Debian), "llvm-22-dev");
    }

    #[test]
    fn building_needs_no_test_programs() {
        assert_eq!(Package::wanted(Purpose::Build), [Package::Libpcap]);
        let lint = [Package::Libpcap, Package::Program("shellcheck")];
        assert_eq!(Package::wanted(Purpose::Lint), lint);
    }

    #[test]
    fn a_minimal_debian_is_made_where_nothing_is_built() {
        let debian = System { name: String::new(), family: Family::Debian };
        let missing = Package::wanted(Purpose::Fresh);
        assert_eq!(debian.names(&missing).join(" "), "debootstrap git util-linux");
        assert!(!Package::wanted(Purpose::All).contains(&Package::Program("debootstrap")));
    }

    #[test]
    fn static_programs_link_no_library_of_this_machine() {
        let debian = System { name: String::new(), family: Family::Debian };
        let names = |purpose| debian.names(&Package::wanted(purpose)).join(" ");
        let compilers = "bison dpkg dpkg-dev flex gcc-aarch64-linux-gnu gcc-x86-64-linux-gnu \
            libc6-dev-arm64-cross make";
        assert_eq!(names(Purpose::Static), compilers);
        assert!(names(Purpose::Dist).contains("libpcap-dev"));
        assert!(!names(Purpose::Trial).contains("libpcap-dev"));
    }

    #[test]
    fn only_the_benchmarks_need_iperf3() {
        let iperf3 = Package::Program("iperf3");
        assert!(Package::wanted(Purpose::Bench).contains(&iperf3));
        assert!(!Package::wanted(Purpose::All).contains(&iperf3));
    }

    #[test]
    fn where_it_cannot_install_it_tells_the_command_and_why() {
        let names = ["libpcap-dev".to_owned(), "tcpdump".to_owned()];
        let debian = System::told_by(&"ID=debian\nPRETTY_NAME=\"Debian 12\"\n".into());
        assert_eq!(
            by_hand(&debian, Privilege::None, &names),
            "apt-get update && apt-get install --no-install-recommends libpcap-dev tcpdump    \
             # as root; this is Debian 12, and you are not root and sudo is not usable"
        );
        let arch = System::told_by(&"ID=arch\nPRETTY_NAME=\"Arch Linux\"\n".into());
        let text = by_hand(&arch, Privilege::Sudo, &names);
        assert!(text.starts_with("pacman -S --needed libpcap-dev tcpdump "), "{text}");
        assert!(text.ends_with("only apt-get is known to this program"), "{text}");
    }

    #[test]
    fn only_a_package_of_exactly_this_name_is_known() {
        let search = "llvm-22-dev-doc - more\nlibllvm-22-dev - other\n";
        assert!(!lists(search, "llvm-22-dev"));
        assert!(lists("llvm-22-dev - Modular compiler\n", "llvm-22-dev"));
    }

    #[test]
    fn a_release_without_llvm_is_told_what_to_do() {
        let ubuntu = System::told_by(&"ID=ubuntu\nPRETTY_NAME=\"Ubuntu 24.04\"\n".into());
        let text = unknown(&ubuntu, "llvm-22-dev");
        assert!(text.starts_with("Ubuntu 24.04 has no package llvm-22-dev; "), "{text}");
        assert!(text.contains("apt.llvm.org"), "{text}");
        assert!(!unknown(&ubuntu, "tcpdump").contains("llvm"));
    }

    #[test]
    fn a_library_that_is_not_there_does_not_link() {
        assert!(links("libc.so.6"));
        assert!(!links("libno-such-library.so"));
    }
}
