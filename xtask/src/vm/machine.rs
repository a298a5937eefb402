//! A virtual machine: qemu with software emulation, a kernel and an initramfs, two processors and a
//! serial console, its only output.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    architecture::Architecture,
    kernel::Kernel,
    report::{Boot, Transcript},
};
use crate::command;

/// Limits for a whole run and for coming up, generous for a busy machine.
const TIME: Duration = Duration::from_mins(30);
const TIME_TO_COME_UP: Duration = Duration::from_mins(3);

/// Boots the kernel and prints the results of its tests until the machine ends.
///
/// # Errors
/// qemu cannot be started. A run that ends early is not an error here; [`Boot`] tells.
pub(crate) fn run(kernel: &'static Kernel, vmlinuz: &Path, initramfs: &Path) -> Result<Boot> {
    let mut qemu = qemu(kernel.architecture, vmlinuz, initramfs);
    eprintln!("+ {}", command::line(&qemu));
    let started = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut machine = Running(started.context("cannot start qemu")?);
    let lines = lines(&mut machine.0)?;
    let mut transcript = Transcript::default();
    let start = Instant::now();
    loop {
        let time = if transcript.has_begun() { TIME } else { TIME_TO_COME_UP };
        match lines.recv_timeout(time.saturating_sub(start.elapsed())) {
            Ok(line) => {
                if let Some(outcome) = transcript.read(&line) {
                    println!("{:<10} {outcome}", kernel.name);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                transcript.give_up(time);
                break;
            }
        }
    }
    Ok(transcript.finish(kernel, start.elapsed()))
}

fn qemu(architecture: &Architecture, vmlinuz: &Path, initramfs: &Path) -> Command {
    let mut qemu = Command::new(architecture.qemu);
    qemu.args(["-accel", "tcg,thread=multi"]).args(architecture.machine);
    qemu.args(["-smp", "2", "-m", "1536", "-nodefaults", "-no-reboot"]);
    qemu.args(["-display", "none", "-serial", "stdio"]);
    qemu.arg("-kernel").arg(vmlinuz).arg("-initrd").arg(initramfs);
    qemu.args(["-append", &format!("console={} panic=-1 quiet", architecture.console)]);
    qemu
}

/// Killed when it goes out of scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Reads lines on a thread, so that waiting for one can time out.
fn lines(child: &mut Child) -> Result<Receiver<String>> {
    let console = child.stdout.take().context("qemu's output is no pipe")?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}
