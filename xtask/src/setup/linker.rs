//! bpf-linker, which must read the bitcode of the pinned compiler: found, or built against the
//! compiler's own LLVM library, so that no LLVM package is needed and the versions cannot differ. A
//! compiler without that library (some distributions' own) requires an installed LLVM.

use std::{
    env, fmt, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    command,
    compiler::{Compiler, llvm_major},
    workspace::Workspace,
};

const VERSION: &str = "0.13.0";

/// How bpf-linker was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    Missing,
    /// It is there but unusable, and why.
    Unfit(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => write!(f, "found"),
            Self::Missing => write!(f, "missing"),
            Self::Unfit(why) => write!(f, "found, but {why}"),
        }
    }
}

/// Looks for a bpf-linker of [`VERSION`] that reads the bitcode of LLVM `wanted`.
pub(super) fn state(wanted: u32) -> State {
    let Some(program) = command::find("bpf-linker") else {
        return State::Missing;
    };
    let Ok(version) = command::output(Command::new(&program).arg("--version")) else {
        return State::Unfit("it does not start".into());
    };
    // LLVM handles this option itself, before reading input.
    let ask = ["--llvm-args=--version", "--output=/dev/null", "/dev/null"];
    let llvm = command::output(Command::new(&program).args(ask)).ok();
    judge(version.trim(), llvm.as_deref().and_then(llvm_major), wanted)
}

/// LLVM reads the bitcode of older versions but not of newer ones.
fn judge(version: &str, llvm: Option<u32>, wanted: u32) -> State {
    let version = version.trim_start_matches("bpf-linker ");
    match llvm {
        _ if version != VERSION => State::Unfit(format!("it is {version}, not {VERSION}")),
        Some(llvm) if llvm >= wanted => State::Ready,
        Some(llvm) => State::Unfit(format!("it is for LLVM {llvm}, not {wanted}")),
        None => State::Unfit("it does not tell its LLVM".into()),
    }
}

/// An LLVM that bpf-linker can be linked against.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Llvm {
    /// The compiler's own library.
    Compilers(PathBuf),
    /// An installation that has `lib/libLLVM.so`.
    Installed(PathBuf),
}

impl Llvm {
    /// `LLVM_PREFIX` if set, else the compiler's, else one where Debian's packages put it.
    pub(super) fn find(compiler: &Compiler) -> Result<Option<Self>> {
        if let Some(prefix) = env::var_os("LLVM_PREFIX") {
            return Ok(Some(Self::Installed(prefix.into())));
        }
        if let Some(library) = compilers_library(&compiler.sysroot.join("lib"))? {
            return Ok(Some(Self::Compilers(library)));
        }
        let debians = PathBuf::from(format!("/usr/lib/llvm-{}", compiler.llvm));
        let is_there = debians.join("lib/libLLVM.so").exists();
        Ok(is_there.then_some(Self::Installed(debians)))
    }
}

/// The compiler's shared library, for instance `libLLVM.so.22.1-rust-1.95.0-stable`.
fn compilers_library(lib: &Path) -> Result<Option<PathBuf>> {
    let is_llvm = |name: &str| name.starts_with("libLLVM.so.");
    for entry in fs::read_dir(lib).with_context(|| lib.display().to_string())? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_llvm) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// Builds bpf-linker into cargo's own folder, where every later build finds it.
pub(super) fn install(workspace: &Workspace, compiler: &Compiler, llvm: &Llvm) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force"])
        .args(["--no-default-features", "--features"])
        .arg(format!("llvm-{}", compiler.llvm));
    match llvm {
        Llvm::Installed(prefix) => cargo.env("LLVM_PREFIX", prefix),
        Llvm::Compilers(library) => {
            let dir = workspace.target.join("xtask").join("llvm");
            alias(library, &dir)?;
            cargo
                .env("LLVM_PREFIX", &compiler.sysroot)
                .env("CARGO_ENCODED_RUSTFLAGS", format!("-Lnative={}", dir.display()))
        }
    };
    command::run(&mut cargo)
}

/// Links `dir/libLLVM.so`, the name that bpf-linker's build looks for, to `library`. It is needed only
/// while linking: the result refers to the library by its full name.
fn alias(library: &Path, dir: &Path) -> Result<()> {
    let link = dir.join("libLLVM.so");
    let make = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => symlink(library, &link),
        }
    };
    make().with_context(|| format!("cannot make {}", link.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_version_with_the_same_or_a_newer_llvm_is_ready() {
        assert_eq!(judge("bpf-linker 0.13.0", Some(22), 22), State::Ready);
        assert_eq!(judge("bpf-linker 0.13.0", Some(23), 22), State::Ready);
    }

    #[test]
    fn what_does_not_fit_says_why() {
        let says = |version, llvm| judge(version, llvm, 22).to_string();
        let llvm = "found, but it is for LLVM 21, not 22";
        assert_eq!(says("bpf-linker 0.13.0", Some(21)), llvm);
        let version = "found, but it is 0.12.0, not 0.13.0";
        assert_eq!(says("bpf-linker 0.12.0", Some(22)), version);
        let silent = "found, but it does not tell its LLVM";
        assert_eq!(says("bpf-linker 0.13.0", None), silent);
    }

    #[test]
    fn the_compilers_library_is_told_by_its_name() -> Result<()> {
        let dir = env::temp_dir().join(format!("xtask-linker-{}", std::process::id()));
        let library = dir.join("libLLVM.so.22.1-rust-1.95.0-stable");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("libLLVM-22-rust-1.95.0-stable.so"), "INPUT(…)")?;
        assert_eq!(compilers_library(&dir)?, None);
        fs::write(&library, "")?;
        assert_eq!(compilers_library(&dir)?.as_ref(), Some(&library));

        let links = dir.join("links");
        alias(&library, &links)?;
        alias(&library, &links)?;
        assert_eq!(fs::read_link(links.join("libLLVM.so"))?, library);
        fs::remove_dir_all(&dir)?;
        Ok(())
    }
}
