//! libpcap as a static library for musl, built out of Debian's source: Debian's own is for glibc, and
//! brings D-Bus, USB, Bluetooth and RDMA along.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::step::say;
use crate::{
    archive::{Archive, unpack},
    command,
    folder::once,
    mirror::Mirror,
    musl::{TARGETS, Target},
    workspace::Workspace,
};

/// Debian's release whose musl and libpcap are taken.
const RELEASE: &str = "bookworm";

/// musl, and the kernel's headers, which it does not bring.
const PACKAGES: [&str; 2] = ["musl-dev", "linux-libc-dev"];

/// Capturing from network devices by packet sockets, and nothing else.
const OPTIONS: [&str; 8] = [
    "--with-pcap=linux",
    "--disable-shared",
    "--disable-dbus",
    "--disable-usb",
    "--disable-bluetooth",
    "--disable-rdma",
    "--disable-remote",
    "--without-libnl",
];

/// The library of one target.
pub(crate) struct StaticLibpcap {
    /// Where `libpcap.a` is.
    pub(crate) folder: PathBuf,
    pub(crate) version: String,
}

impl StaticLibpcap {
    /// The one that [`prepare`] has built.
    pub(crate) fn find(workspace: &Workspace, target: &Target) -> Result<Self> {
        let folder = place(workspace).join(target.architecture).join("libpcap");
        let version = folder.join("VERSION");
        let version = fs::read_to_string(&version).with_context(|| version.display().to_string());
        Ok(Self { folder, version: version?.trim().to_owned() })
    }
}

/// Where Debian's files about the copyright of what is linked are: of musl, and of libpcap.
pub(crate) fn copyrights(workspace: &Workspace, target: &Target) -> [(&'static str, PathBuf); 2] {
    let place = place(workspace);
    let musl = place.join(target.architecture).join("musl/usr/share/doc/musl/copyright");
    [("musl", musl), ("libpcap", place.join("source/debian/copyright"))]
}

/// Builds the library of each target, unless it is there.
pub(super) fn prepare(workspace: &Workspace) -> Result<()> {
    let place = place(workspace);
    fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
    let source = place.join("source");
    once(&source, RELEASE, |into| {
        say("libpcap", "fetching its source");
        let (mirror, directory) = (Mirror::find(None)?, place.join("source-package"));
        let archive = archive(&mirror, "amd64", &directory);
        fs::remove_dir(into).with_context(|| into.display().to_string())?;
        archive.fetch_source("libpcap", into)
    })?;
    for target in &TARGETS {
        let place = place.join(target.architecture);
        let musl = place.join("musl");
        fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
        once(&musl, &format!("{RELEASE} {PACKAGES:?}"), |root| {
            say("musl", format_args!("fetching it for {}", target.architecture));
            let mirror = Mirror::find(None)?;
            let packages = place.join("packages");
            let archive = archive(&mirror, target.debian, &packages);
            archive.fetch(&PACKAGES)?.iter().try_for_each(|package| unpack(package, root))
        })?;
        let made_of = format!("{RELEASE} {OPTIONS:?} {}", target.flags);
        once(&place.join("libpcap"), &made_of, |into| {
            say("libpcap", format_args!("building it for {}", target.rust));
            build(target, &source, &musl, into)
        })?;
        say("libpcap", format_args!("ready for {}", target.rust));
    }
    Ok(())
}

fn place(workspace: &Workspace) -> PathBuf {
    workspace.target.join("xtask/static")
}

fn archive<'a>(mirror: &'a Mirror, architecture: &'a str, directory: &'a Path) -> Archive<'a> {
    Archive { mirror, release: RELEASE, architecture, directory }
}

fn build(target: &Target, source: &Path, musl: &Path, into: &Path) -> Result<()> {
    let specs = into.join("musl-gcc.specs");
    relocate(&musl.join("usr/lib").join(target.gnu).join("musl-gcc.specs"), musl, &specs)?;
    let compiler = format!("{} -specs={}", target.compiler, specs.display());
    let mut configure = Command::new(source.join("configure"));
    configure.current_dir(into).arg(format!("--host={}", target.gnu)).args(OPTIONS);
    configure.env("CC", compiler).env("CFLAGS", flags(target, musl));
    command::output(&mut configure)?;
    command::output(Command::new("make").args(["libpcap.a"]).current_dir(into))?;
    fs::copy(source.join("VERSION"), into.join("VERSION")).context("libpcap's version")?;
    Ok(())
}

/// The kernel's headers come last: musl has files of the same names.
fn flags(target: &Target, musl: &Path) -> String {
    let headers = musl.join("usr/include");
    let own = headers.join(target.gnu.replace("musl", "gnu"));
    format!("-O2 {} -idirafter {} -idirafter {}", target.flags, own.display(), headers.display())
}

/// Debian's specs name the folders of an installed musl.
fn relocate(specs: &Path, musl: &Path, into: &Path) -> Result<()> {
    let text = fs::read_to_string(specs).with_context(|| specs.display().to_string())?;
    let text = text.replace("/usr/", &format!("{}/usr/", musl.display()));
    fs::write(into, text).with_context(|| into.display().to_string())
}
