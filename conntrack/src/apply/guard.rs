//! The guard: takes rules back when nobody calls it off. It is a process of its own that waits at a pipe: the
//! pipe ends with whoever put the rules in force, however that ends. Where systemd runs, a timer of it does
//! the same later on, for the case that both are killed.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    path::Path,
    process::{self, Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::setsid,
};

use super::{error::ApplyError, state::State, table};
use crate::host::programs::run;

/// What the guard says when it waits, and what it is told.
const READY: u8 = b'r';
const CALL_OFF: u8 = b'k';
/// Whoever asks has a little more time than it says.
const GRACE: Duration = Duration::from_secs(5);
/// The timer is for the case that the guard is gone.
const TIMER_GRACE: Duration = Duration::from_secs(30);
/// There is systemd, as `sd_booted(3)` finds it.
const SYSTEMD: &str = "/run/systemd/system";

/// The guard, as whoever put rules in force sees it.
pub(super) struct Guard {
    child: Child,
    timer: Option<Timer>,
}

impl Guard {
    /// Starts it. It waits by the time this returns.
    pub(super) fn start(state: &State, patience: Duration) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["apply", "--guard"]).arg(state.directory());
        command.args(["--confirm", &format!("{}ms", (patience + GRACE).as_millis())]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut said = [0];
        let stdout = child.stdout.as_mut();
        let is_ready = stdout.map(|it| it.read_exact(&mut said)).transpose();
        if !matches!(is_ready, Ok(Some(()))) || said != [READY] {
            return Err(io::Error::other("the process that would do it does not start"));
        }
        Ok(Self { child, timer: Timer::start(&state.undo(), patience + TIMER_GRACE) })
    }

    /// The rules stay; false if it has taken them back already.
    pub(super) fn call_off(&self) -> bool {
        let told = self.child.stdin.as_ref().map(|mut it| it.write_all(&[CALL_OFF]));
        let is_told = matches!(told, Some(Ok(())));
        if is_told && let Some(timer) = &self.timer {
            timer.stop();
        }
        is_told
    }

    /// Has it take the rules back now.
    pub(super) fn take_back(mut self) -> io::Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("the process that does it: {status}")));
        }
        if let Some(timer) = &self.timer {
            timer.stop();
        }
        Ok(())
    }
}

/// Runs as the guard: waits, and takes the rules back unless it is called off.
///
/// # Errors
/// That they cannot be taken back.
pub fn guard(directory: &Path, patience: Duration) -> Result<(), ApplyError> {
    // A session of its own: no terminal ends it.
    let _leads_one_already = setsid();
    let state = State::at(directory);
    let script = fs::read(state.undo()).map_err(ApplyError::Guard)?;
    let mut stdout = io::stdout();
    stdout.write_all(&[READY]).and_then(|()| stdout.flush()).map_err(ApplyError::Guard)?;
    if is_called_off(patience) {
        return Ok(());
    }
    // Whoever is killed may leave an nft behind that has not loaded yet.
    state.wait_for_loads();
    table::load(&script).map_err(ApplyError::Undo)?;
    state.remove();
    Ok(())
}

fn is_called_off(patience: Duration) -> bool {
    let start = Instant::now();
    loop {
        let left = patience.saturating_sub(start.elapsed());
        let Ok(left) = Timespec::try_from(left) else { return false };
        let stdin = io::stdin();
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut ready, Some(&left)) {
            Ok(0) => return false,
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => {
                let mut said = [0];
                return matches!(stdin.lock().read(&mut said), Ok(1)) && said == [CALL_OFF];
            }
        }
    }
}

/// A transient timer of systemd.
struct Timer {
    unit: String,
}

impl Timer {
    fn start(undo: &Path, after: Duration) -> Option<Self> {
        if !Path::new(SYSTEMD).exists() {
            return None;
        }
        let unit = format!("conntrack-undo-{}", process::id());
        let delay = format!("{}s", after.as_secs() + 1);
        let arguments = [
            "--quiet",
            "--collect",
            "--unit",
            &unit,
            "--on-active",
            &delay,
            "--timer-property=AccuracySec=1s",
            "nft",
            "-f",
            undo.to_str()?,
        ];
        run("systemd-run", &arguments, &[]).ok().map(|_started| Self { unit })
    }

    fn stop(&self) {
        let _ran_already = run("systemctl", &["stop", &format!("{}.timer", self.unit)], &[]);
    }
}
