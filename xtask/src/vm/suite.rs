//! The test program for the machines, built as `cargo xtask test` builds it, and stripped. For another
//! architecture the program under test is the static one that is handed out.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::architecture::{Architecture, Cross};
use crate::{
    command,
    program::Program,
    workspace::{ALL_BUT_EBPF, Workspace},
};

/// The program with all integration tests.
const TESTS: &str = "tests";

/// The program under test; its path is compiled into the tests.
const PROGRAM: &str = "conntrack";

/// Programs that were built, and where the files are that they expect.
pub(crate) struct Suite {
    workspace_root: PathBuf,
    strip: &'static str,
    /// Where [`TESTS`] is.
    tests: PathBuf,
    /// Where the tests expect [`PROGRAM`].
    program: PathBuf,
    /// What they find there instead of what cargo built along with them.
    handed_out: Option<Program>,
}

impl Suite {
    /// Builds both. For another architecture, libpcap is taken from its `userland`.
    pub(crate) fn build(
        workspace: &Workspace,
        architecture: &Architecture,
        userland: &Path,
    ) -> Result<Self> {
        let handed_out = architecture.cross.as_ref().map(|cross| {
            let architecture = cross.target.split('-').next().unwrap_or_default();
            Program::build_for(workspace, architecture)
        });
        let mut cargo = workspace.cargo();
        cargo.args(["test", "--no-run", "--quiet", "--message-format=json-render-diagnostics"]);
        match &architecture.cross {
            None => cargo.args(ALL_BUT_EBPF),
            Some(cross) => cross_build(&mut cargo, cross, userland)?,
        };
        let built = executables(&command::output(&mut cargo)?)?;
        let named =
            |name: &str| built.get(name).cloned().with_context(|| format!("cargo built no {name}"));
        Ok(Self {
            workspace_root: workspace.root.clone(),
            strip: architecture.strip,
            tests: named(TESTS)?,
            program: named(PROGRAM)?,
            handed_out: handed_out.transpose()?,
        })
    }

    /// Copies everything below `root`: the tests to where process 1 looks for them, the program and
    /// the captures to where the tests do.
    pub(crate) fn install(&self, root: &Path) -> Result<()> {
        self.without_symbols(&self.tests, &root.join(TESTS))?;
        let program = self.handed_out.as_ref().map_or(&self.program, |program| &program.path);
        self.without_symbols(program, &below(root, &self.program))?;
        let captures = below(root, &self.workspace_root.join("testdata"));
        make_parent(&captures)?;
        let mut copy = Command::new("cp");
        copy.arg("--recursive").arg(self.workspace_root.join("testdata")).arg(&captures);
        command::output(&mut copy)?;
        // The tests' paths to the captures lead through the folder of the manifest.
        make_parent(&below(root, &self.workspace_root.join("conntrack/Cargo.toml")))
    }

    fn without_symbols(&self, from: &Path, to: &Path) -> Result<()> {
        make_parent(to)?;
        command::output(Command::new(self.strip).arg("-o").args([to, from])).map(drop)
    }
}

/// Has `cargo` build the tests for another architecture.
fn cross_build<'c>(
    cargo: &'c mut Command,
    cross: &Cross,
    userland: &Path,
) -> Result<&'c mut Command> {
    // A target that is installed is not downloaded again.
    command::run(Command::new("rustup").args(["--quiet", "target", "add", cross.target]))
        .context("no standard library for it")?;
    let variable = cross.target.to_uppercase().replace('-', "_");
    let library = libpcap_alone(cross, userland)?;
    cargo.args(["--package", "conntrack", "--profile", "emulated", "--target", cross.target]);
    cargo.env(format!("CARGO_TARGET_{variable}_LINKER"), cross.linker);
    // libpcap's own dependencies are only needed where it runs.
    let flags = "-Clink-arg=-Wl,--allow-shlib-undefined";
    cargo.env(format!("CARGO_TARGET_{variable}_RUSTFLAGS"), flags);
    // The build script would call the library for its version, and it cannot run here.
    Ok(cargo.env("LIBPCAP_LIBDIR", library).env("LIBPCAP_VER", "1.10.0"))
}

/// A folder with libpcap alone: the C library has to be the linker's.
fn libpcap_alone(cross: &Cross, userland: &Path) -> Result<PathBuf> {
    let folder = userland.with_file_name("libpcap");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let libraries = userland.join("usr/lib").join(cross.target.replace("-unknown", ""));
    let library = libraries.join("libpcap.so.0.8");
    let link = folder.join("libpcap.so");
    if !link.is_symlink() {
        symlink(&library, &link).with_context(|| link.display().to_string())?;
    }
    Ok(folder)
}

/// An absolute path, moved below `root`.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().with_context(|| format!("{} has no folder", path.display()))?;
    fs::create_dir_all(parent).with_context(|| parent.display().to_string())
}

/// Paths of test programs and binaries by name, from cargo's messages: a line of JSON for each
/// artifact (<https://doc.rust-lang.org/cargo/reference/external-tools.html#json-messages>).
fn executables(messages: &str) -> Result<BTreeMap<String, PathBuf>> {
    let mut executables = BTreeMap::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let target = &message["target"];
        let executable = message["executable"].as_str();
        // The unit tests of a binary have its name too.
        let is_program = target["kind"][0] == "bin" && message["profile"]["test"] == false;
        if let (Some(name), Some(executable)) = (target["name"].as_str(), executable)
            && (is_program || target["kind"][0] == "test")
        {
            executables.insert(name.to_owned(), executable.into());
        }
    }
    Ok(executables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_programs_are_told_from_everything_else() -> Result<()> {
        let artifact = |kind: &str, name: &str, test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"],"name":"{name}"}},"profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let messages = [
            artifact("lib", "conntrack", false, "null"),
            artifact("bin", "conntrack", false, r#""/t/debug/conntrack""#),
            artifact("bin", "conntrack", true, r#""/t/debug/deps/conntrack-1""#),
            artifact("test", "tests", true, r#""/t/debug/deps/tests-2""#),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ];
        let found = executables(&messages.join("\n"))?;
        let expected = [
            ("conntrack".to_owned(), "/t/debug/conntrack".into()),
            ("tests".to_owned(), "/t/debug/deps/tests-2".into()),
        ];
        assert_eq!(found, expected.into());
        Ok(())
    }

    #[test]
    fn absolute_paths_move_below_the_root() {
        assert_eq!(below(Path::new("/r"), Path::new("/a/b")), Path::new("/r/a/b"));
    }
}
