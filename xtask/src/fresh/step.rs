//! A step: its time, and a log of what its commands said. A failure shows the end of the log.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use crate::command;

/// How much of its output a failure shows.
const LAST_LINES: usize = 40;

/// Steps that keep their logs in one folder.
pub(crate) struct Steps<'a> {
    place: &'a Path,
}

impl<'a> Steps<'a> {
    pub(crate) const fn new(place: &'a Path) -> Self {
        Self { place }
    }

    /// Prints a line when it begins, and one with its time when it ends.
    pub(crate) fn take<T>(&self, name: &str, step: impl FnOnce(&Log) -> Result<T>) -> Result<T> {
        let log = Log::new(self.place.join(format!("{name}.log")))?;
        eprintln!("{name}: begins, its output is in {}", log.path.display());
        let begin = Instant::now();
        let outcome = step(&log);
        let how = if outcome.is_ok() { "done" } else { "failed" };
        eprintln!("{name}: {how} after {} s", begin.elapsed().as_secs());
        outcome.inspect_err(|_| eprint!("{}", log.end())).with_context(|| {
            format!("{name} failed, and all of its output is in {}", log.path.display())
        })
    }
}

/// The log of one step.
pub(crate) struct Log {
    path: PathBuf,
}

impl Log {
    fn new(path: PathBuf) -> Result<Self> {
        fs::write(&path, "").with_context(|| path.display().to_string())?;
        Ok(Self { path })
    }

    /// Runs `command` to its end.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        let status = self.start(command)?.wait()?;
        ensure!(status.success(), "`{}` failed: {status}", command::line(command));
        Ok(())
    }

    /// Starts `command`, with no input and its output in the log.
    pub(crate) fn start(&self, command: &mut Command) -> Result<Child> {
        let line = command::line(command);
        let mut file = self.open().with_context(|| self.path.display().to_string())?;
        writeln!(file, "+ {line}")?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        command.spawn().with_context(|| format!("cannot start `{line}`"))
    }

    fn open(&self) -> std::io::Result<File> {
        OpenOptions::new().append(true).open(&self.path)
    }

    /// The log so far.
    pub(crate) fn text(&self) -> Result<String> {
        let bytes = fs::read(&self.path).with_context(|| self.path.display().to_string())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The end of the log.
    fn end(&self) -> String {
        last_lines(&self.text().unwrap_or_default(), LAST_LINES)
    }
}

/// The last `count` lines of `text`.
fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(count)..];
    last.iter().flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    #[test]
    fn the_last_lines_are_all_if_there_are_few() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last_lines("a", 2), "a\n");
        assert_eq!(last_lines("", 2), "");
    }

    #[test]
    fn a_failure_tells_the_step_its_log_and_what_failed() -> Result<()> {
        let place = env::temp_dir().join(format!("xtask-step-{}", std::process::id()));
        fs::create_dir_all(&place)?;
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let outcome = Steps::new(&place).take("step", |log| log.run(&mut command));
        let text = format!("{:#}", outcome.expect_err("exit status 3"));
        assert!(text.starts_with("step failed, and all of its output is in "), "{text}");
        assert!(text.contains("/step.log: `sh -c "), "{text}");
        assert!(text.ends_with("failed: exit status: 3"), "{text}");
        let log = fs::read_to_string(place.join("step.log"))?;
        assert!(log.ends_with("\none\ntwo\n"), "{log}");
        fs::remove_dir_all(&place)?;
        Ok(())
    }
}
