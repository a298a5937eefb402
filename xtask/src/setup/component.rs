//! Components of the Rust toolchain: the standard library's source, rustfmt, clippy, and the standard
//! library for static programs. Where rustup's
//! automatic installation is off, components of `rust-toolchain.toml` can be missing without a word,
//! so they are looked for as files.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{purpose::Purpose, step::say};
use crate::{command, musl::TARGETS};

/// A component's name, and a file of it in the sysroot.
type Component = (&'static str, &'static str);

const SOURCE: Component = ("rust-src", "lib/rustlib/src/rust/library/core/src/lib.rs");
const LINTS: [Component; 2] = [("rustfmt", "bin/rustfmt"), ("clippy", "bin/cargo-clippy")];

/// Adds what is missing; returns the commands to type where there is no rustup.
pub(super) fn prepare(sysroot: &Path, purpose: Purpose) -> Result<Vec<String>> {
    let mut by_hand = Vec::new();
    for (name, file) in wanted(purpose) {
        by_hand.extend(add("component", name, sysroot.join(file).is_file())?);
    }
    let targets = TARGETS.iter().filter(|_| purpose.is_static());
    for target in targets {
        let library = sysroot.join("lib/rustlib").join(target.rust).join("lib");
        by_hand.extend(add("target", target.rust, library.is_dir())?);
    }
    Ok(by_hand)
}

/// The command to type where there is no rustup.
fn add(kind: &str, name: &str, is_there: bool) -> Result<Option<String>> {
    if is_there {
        say(name, "found");
    } else if command::find("rustup").is_some() {
        say(name, "missing, installing");
        command::run(Command::new("rustup").args([kind, "add", name]))?;
    } else {
        say(name, "missing, and there is no rustup to install it");
        return Ok(Some(format!("rustup {kind} add {name}    # https://rustup.rs")));
    }
    Ok(None)
}

fn wanted(purpose: Purpose) -> Vec<Component> {
    let mut components = vec![SOURCE];
    if purpose.takes_whole_toolchain() {
        components.extend(LINTS);
    }
    components
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lints_and_a_fresh_clone_want_rustfmt_and_clippy() {
        let names = |purpose| wanted(purpose).iter().map(|c| c.0).collect::<Vec<_>>();
        assert_eq!(names(Purpose::Build), ["rust-src"]);
        assert_eq!(names(Purpose::Test), ["rust-src"]);
        assert_eq!(names(Purpose::Lint), ["rust-src", "rustfmt", "clippy"]);
        assert_eq!(names(Purpose::All), ["rust-src", "rustfmt", "clippy"]);
        assert_eq!(names(Purpose::Fresh), ["rust-src", "rustfmt", "clippy"]);
    }
}
