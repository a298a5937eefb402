//! The pinned compiler's own description: host, LLVM version, sysroot. It installs nothing.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command;

/// The compiler that cargo uses in this work tree.
pub(crate) struct Compiler {
    /// Its target triple, for instance `x86_64-unknown-linux-gnu`.
    pub(crate) host: String,
    /// The major version of its LLVM.
    pub(crate) llvm: u32,
    /// Where its libraries and components are.
    pub(crate) sysroot: PathBuf,
}

impl Compiler {
    pub(crate) fn find() -> Result<Self> {
        let version = command::output(Command::new("rustc").arg("-vV"))?;
        let sysroot = command::output(Command::new("rustc").args(["--print", "sysroot"]))?;
        let (host, llvm) =
            parse(&version).with_context(|| format!("no host or LLVM version in: {version}"))?;
        Ok(Self { host, llvm, sysroot: Path::new(sysroot.trim_end()).to_path_buf() })
    }

    /// The machine's architecture as aya names it for the eBPF programs.
    pub(crate) fn arch(&self) -> &str {
        let arch = self.host.split('-').next().unwrap_or_default();
        if arch.starts_with("riscv64") { "riscv64" } else { arch }
    }

    /// The variable that sets cargo's runner for tests on this host.
    pub(crate) fn runner_variable(&self) -> String {
        let host = self.host.to_uppercase().replace('-', "_");
        format!("CARGO_TARGET_{host}_RUNNER")
    }
}

/// Host and major LLVM version from the output of `rustc -vV`.
fn parse(version: &str) -> Option<(String, u32)> {
    let field = |name| version.lines().find_map(|line| line.strip_prefix(name));
    let host = field("host: ")?;
    Some((host.to_owned(), llvm_major(version)?))
}

/// The major version of the first `LLVM version` in `text`, with or without a colon.
pub(crate) fn llvm_major(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("LLVM version")?;
    let number = rest.trim_start_matches([':', ' ']);
    number.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUSTC: &str = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\n\
        commit-hash: 59807616e1fa2540724bfbac14d7976d7e4a3860\ncommit-date: 2026-04-14\n\
        host: riscv64gc-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n";

    #[test]
    fn rustc_tells_its_host_and_llvm() {
        let (host, llvm) = parse(RUSTC).expect("both are there");
        assert_eq!((host.as_str(), llvm), ("riscv64gc-unknown-linux-gnu", 22));
        assert_eq!(parse("rustc 1.95.0"), None);
    }

    #[test]
    fn llvm_tells_its_version_in_several_ways() {
        let own = "LLVM (http://llvm.org/):\n  LLVM version 22.1.2-rust-1.95.0-stable\n";
        assert_eq!(llvm_major(own), Some(22));
        assert_eq!(llvm_major("Debian LLVM version 21.0.0\n"), Some(21));
        assert_eq!(llvm_major("bpf-linker 0.13.0"), None);
        assert_eq!(llvm_major("LLVM version unknown"), None);
    }

    #[test]
    fn names_made_of_the_host() {
        let compiler = Compiler {
            host: "riscv64gc-unknown-linux-gnu".into(),
            llvm: 22,
            sysroot: PathBuf::new(),
        };
        assert_eq!(compiler.arch(), "riscv64");
        let variable = "CARGO_TARGET_RISCV64GC_UNKNOWN_LINUX_GNU_RUNNER";
        assert_eq!(compiler.runner_variable(), variable);
    }
}
