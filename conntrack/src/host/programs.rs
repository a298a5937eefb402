//! Programs of this machine that we run: those that load and list rules. In the network namespace of the
//! thread that asks.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

/// Where the programs are if the path does not say.
const PLACES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Why a program did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not there.
    #[error("{0} is needed, and it is not installed")]
    NotInstalled(&'static str),
    /// It cannot be run.
    #[error("cannot run {program}: {error}")]
    Run {
        /// Which.
        program: &'static str,
        /// Why.
        error: io::Error,
    },
    /// It ran, and has a complaint.
    #[error("{program}: {complaint}")]
    Refused {
        /// Which.
        program: &'static str,
        /// In one line.
        complaint: String,
    },
}

/// Runs a program to its end, with this on its standard input; what it printed.
///
/// # Errors
/// That it is not there, or its complaint.
pub(crate) fn run(
    program: &'static str,
    arguments: &[&str],
    input: &[u8],
) -> Result<Vec<u8>, ProgramError> {
    let mut child = spawn(program, arguments, Stdio::piped)?;
    let mut stdin = child.stdin.take();
    let output = thread::scope(|scope| {
        // A program that does not read to the end has a complaint.
        scope.spawn(move || stdin.take().map(|mut it| it.write_all(input)));
        child.wait_with_output()
    });
    judge(program, output)
}

/// The same with a file on its standard input, which it holds open until it ends.
///
/// # Errors
/// As for [`run`].
pub(crate) fn run_with(
    program: &'static str,
    arguments: &[&str],
    input: &File,
) -> Result<Vec<u8>, ProgramError> {
    let input = || input.try_clone().map_or_else(|_no_descriptors| Stdio::null(), Stdio::from);
    judge(program, spawn(program, arguments, input)?.wait_with_output())
}

fn judge(program: &'static str, output: io::Result<Output>) -> Result<Vec<u8>, ProgramError> {
    let output = output.map_err(|error| ProgramError::Run { program, error })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(ProgramError::Refused { program, complaint: complaint(&output) })
}

fn spawn(
    program: &'static str,
    arguments: &[&str],
    input: impl Fn() -> Stdio,
) -> Result<Child, ProgramError> {
    let places = PLACES.iter().map(|place| Path::new(place).join(program));
    for path in [PathBuf::from(program)].into_iter().chain(places) {
        let mut command = Command::new(path);
        command.args(arguments).env("LC_ALL", "C");
        command.stdin(input()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            spawned => return spawned.map_err(|error| ProgramError::Run { program, error }),
        }
    }
    Err(ProgramError::NotInstalled(program))
}

/// What it says is wrong, in one line: `nft` names each error, the others say a few words.
fn complaint(output: &Output) -> String {
    const FEW: usize = 3;
    let said = String::from_utf8_lossy(&output.stderr);
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    if let Some(line) = lines().find(|line| line.contains("Error: ")) {
        return line.to_owned();
    }
    let lines: Vec<_> = lines().take(FEW).collect();
    if lines.is_empty() { output.status.to_string() } else { lines.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says_is_one_line() {
        let said = |script: &str| match run("sh", &["-c", script], b"") {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(said("echo a"), "a\n");
        assert_eq!(
            said("echo x; echo one >&2; echo 'f:1: Error: two' >&2; exit 1"),
            "sh: f:1: Error: two"
        );
        assert_eq!(said("echo one >&2; echo two >&2; exit 2"), "sh: one; two");
        assert_eq!(said("exit 2"), "sh: exit status: 2");
        let missing = run("no-such-program-here", &[], b"").expect_err("there is none");
        assert_eq!(missing.to_string(), "no-such-program-here is needed, and it is not installed");
    }

    #[test]
    fn a_program_that_does_not_read_is_no_obstacle() {
        let long = vec![b'x'; 1 << 20];
        assert_eq!(run("true", &[], &long).expect("it ran"), b"");
        assert_eq!(run("cat", &[], &long).expect("it ran"), long);
    }
}
