//! Running other programs: find them, show the command line, run it, explain a failure.

use std::{
    env,
    ffi::OsStr,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

/// Shows `command` and runs it with our input and output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    eprintln!("+ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    ensure!(status.success(), "`{line}` failed: {status}");
    Ok(())
}

/// Runs `command` silently and returns its standard output. Its standard error becomes part of the
/// error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed: {}: {}", output.status, said.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` wrote no UTF-8"))
}

/// Where programs are looked for: cargo's own folder first, because a `PATH` under sudo lacks it;
/// then `PATH`; then the system folders that an ordinary user's `PATH` lacks on Debian.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = cargo_bin().into_iter().collect();
    dirs.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    dirs.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    dirs
}

/// The first file of this name in [`search_path`].
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    search_path().into_iter().map(|dir| dir.join(program)).find(|path| path.is_file())
}

fn cargo_bin() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .map(|home| home.join("bin"))
}

/// `command` as one would type it, with the environment that it sets, except `PATH`, which is only
/// extended.
pub(crate) fn line(command: &Command) -> String {
    let settings = command
        .get_envs()
        .filter(|(name, _)| *name != "PATH")
        .filter_map(|(name, value)| Some((name, value?)))
        .map(|(name, value)| format!("{}={}", name.display(), quoted(value)));
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted);
    settings.chain(words).collect::<Vec<_>>().join(" ")
}

/// `word`, quoted for a shell only where necessary.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_typed_into_a_shell() {
        let mut command = Command::new("cargo");
        command
            .args(["test", "--test", "live_*", "it's", ""])
            .env("LLVM_PREFIX", "/opt/my llvm")
            .env("PATH", "/bin");
        assert_eq!(
            line(&command),
            r"LLVM_PREFIX='/opt/my llvm' cargo test --test 'live_*' 'it'\''s' ''"
        );
    }

    #[test]
    fn output_is_what_the_program_wrote() -> Result<()> {
        assert_eq!(output(Command::new("echo").arg("a b"))?, "a b\n");
        Ok(())
    }

    #[test]
    fn a_failure_names_the_command_and_its_standard_error() {
        let error = output(Command::new("sh").args(["-c", "echo no such luck >&2; exit 3"]))
            .expect_err("exit status 3");
        let text = format!("{error:#}");
        assert!(text.contains("sh -c"), "{text}");
        assert!(text.contains("exit status: 3: no such luck"), "{text}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut Command::new("no-such-program")).expect_err("no such program");
        assert!(format!("{error:#}").starts_with("cannot start `no-such-program`"));
        assert_eq!(find("no-such-program"), None);
    }
}
