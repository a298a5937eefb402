//! What a newcomer types: `git clone`, and the two commands at the top of the README, verbatim.

use std::{
    fs,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{enter::Entrance, home::HOME, step::Log};
use crate::{command, workspace::Workspace};

/// The README's first command.
const RUN: &str = "cargo xtask run -- -d eth0 -p /tmp/conntrack_data";

/// The README's second command.
const TEST: &str = "cargo xtask test";

/// The device in the README, and the one that every machine has.
const DEVICES: (&str, &str) = ("eth0", "lo");

/// Where the README's first command writes.
const TREE: &str = "/tmp/conntrack_data";

/// Enough for downloading and building everything, on a slow machine.
const UNTIL_WATCHING: Duration = Duration::from_hours(1);

const UNTIL_ENDED: Duration = Duration::from_mins(1);

/// Where the clone comes from, and the uncommitted changes.
const ORIGIN: &str = "/srv/conntrack.git";
const CHANGES: &str = "/srv/uncommitted.patch";

/// Clones what is checked out here, with the uncommitted changes.
pub(super) fn clone(entrance: &Entrance, log: &Log) -> Result<()> {
    offer(entrance, log)?;
    let clone = clone_folder();
    log.run(&mut entrance.command(HOME, ["git", "clone", ORIGIN, clone.as_str()]))?;
    let changes = entrance.root.outside(CHANGES);
    if fs::metadata(&changes).with_context(|| changes.display().to_string())?.len() > 0 {
        eprintln!("clone: with uncommitted changes");
        log.run(&mut entrance.command(&clone, ["git", "apply", "--index", CHANGES]))?;
    }
    Ok(())
}

/// Puts a bare clone and the uncommitted changes inside, so that nothing in there can reach this
/// work tree.
fn offer(entrance: &Entrance, log: &Log) -> Result<()> {
    let workspace = entrance.workspace;
    let root = entrance.root;
    let mut bare = git(workspace);
    bare.args(["clone", "--bare", "--no-hardlinks"]).arg(&workspace.root);
    log.run(bare.arg(root.outside(ORIGIN)))?;
    let mut output = std::ffi::OsString::from("--output=");
    output.push(root.outside(CHANGES));
    log.run(git(workspace).args(["diff-index", "--patch", "--binary"]).arg(output).arg("HEAD"))?;

    let unknown = ["ls-files", "--others", "--exclude-standard"];
    for file in command::output(git(workspace).args(unknown))?.lines() {
        eprintln!("clone: without {file}, which is untracked; try `git add`");
    }
    Ok(())
}

fn git(workspace: &Workspace) -> Command {
    let mut git = workspace.program("git");
    git.arg("-C").arg(&workspace.root);
    git
}

fn clone_folder() -> String {
    format!("{HOME}/conntrack")
}

/// The README's first command, ended with Ctrl-C once it watches.
pub(super) fn run(entrance: &Entrance, log: &Log) -> Result<()> {
    let (from, to) = DEVICES;
    let words = RUN.split(' ').map(|word| if word == from { to } else { word });
    let mut running = Running(log.start(&mut entrance.command(&clone_folder(), words))?);
    let sign = format!("watching {to} ");
    running
        .wait(UNTIL_WATCHING, |_| Ok(log.text()?.contains(&sign)))
        .context("before it watched")?;
    running.interrupt()?;
    running.wait(UNTIL_ENDED, |child| Ok(child.try_wait()?.is_some())).context("after SIGINT")?;
    let status = running.0.wait()?;
    ensure!(status.success(), "`{RUN}` ended with {status} after SIGINT");
    for direction in ["in", "out", "else"] {
        let folder = format!("{TREE}/{direction}");
        ensure!(entrance.root.outside(&folder).is_dir(), "`{RUN}` left no {folder}");
    }
    Ok(())
}

/// The README's second command.
pub(super) fn test(entrance: &Entrance, log: &Log) -> Result<()> {
    log.run(&mut entrance.command(&clone_folder(), TEST.split(' ')))
}

/// The command that becomes conntrack; killed when it goes out of scope.
struct Running(Child);

impl Running {
    /// Waits until `is_so`.
    ///
    /// # Errors
    /// It takes longer than `limit`, or the command ends first.
    fn wait(&mut self, limit: Duration, is_so: impl Fn(&mut Child) -> Result<bool>) -> Result<()> {
        let begin = Instant::now();
        while !is_so(&mut self.0)? {
            if let Some(status) = self.0.try_wait()? {
                bail!("`{RUN}` ended: {status}");
            }
            ensure!(begin.elapsed() < limit, "`{RUN}` takes longer than {limit:?}");
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Sends SIGINT to conntrack alone, the child of `unshare` and its script.
    fn interrupt(&self) -> Result<()> {
        let process = only_child(only_child(self.0.id())?)?;
        let name = format!("/proc/{process}/comm");
        let name = fs::read_to_string(&name).context(name)?;
        ensure!(name.trim_end() == "conntrack", "process {process} is {name} and not conntrack");
        command::output(Command::new("sh").args(["-c", &format!("kill -INT {process}")]))?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn only_child(process: u32) -> Result<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(&path).with_context(|| path.clone())?;
    children.trim().parse().with_context(|| format!("{path} has not one number: {children:?}"))
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    /// The commands of the README's first shell block, without their comments.
    fn commands(readme: &str) -> Vec<&str> {
        let block = readme.split("```sh\n").nth(1).unwrap_or_default();
        let block = block.split("```").next().unwrap_or_default();
        block.lines().map(|line| line.split(" #").next().unwrap_or_default().trim_end()).collect()
    }

    #[test]
    fn the_readme_starts_with_what_is_run() {
        assert_eq!(commands(include_str!("../../../README.md")), [RUN, TEST]);
        assert!(RUN.split(' ').any(|word| word == DEVICES.0) && RUN.ends_with(TREE));
    }

    #[test]
    fn a_process_is_found_below_another() -> Result<()> {
        let mut sh = Command::new("sh");
        let sh = sh.args(["-c", "cat; exit"]).stdin(Stdio::piped()).spawn()?;
        let mut running = Running(sh);
        let sh = running.0.id();
        running.wait(UNTIL_ENDED, |_| Ok(only_child(sh).is_ok()))?;
        assert!(only_child(only_child(sh)?).is_err());
        assert!(running.interrupt().is_err());
        drop(running.0.stdin.take());
        assert!(running.0.wait()?.success());
        Ok(())
    }

    #[test]
    fn what_ends_early_is_not_waited_for() -> Result<()> {
        let mut running = Running(Command::new("false").spawn()?);
        let error = running.wait(UNTIL_ENDED, |_| Ok(false)).expect_err("it ended");
        assert!(format!("{error:#}").ends_with("ended: exit status: 1"));
        Ok(())
    }
}
