//! The machine that is measured: its description, and where trees are made.

use std::{env, fs, path::Path, thread, time::Duration};

use super::usage;

/// A file system in memory, on most machines.
const IN_MEMORY: &str = "/dev/shm";

/// Makes scratch directories in memory.
pub(crate) fn use_scratch_in_memory() {
    if Path::new(IN_MEMORY).is_dir() {
        tempfile::env::override_temp_dir(Path::new(IN_MEMORY)).expect("it is not yet set");
    }
}

/// One line.
pub(crate) fn description() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    let cpus = thread::available_parallelism().expect("a number of CPUs");
    let scratch = tempfile::env::temp_dir();
    let model = model().unwrap_or_default();
    let arch = env::consts::ARCH;
    let kernel = kernel.trim();
    let busy = busy(cpus.get());
    let scratch = scratch.display();
    format!(
        "Linux {kernel} on {arch}, {cpus} CPUs {model}; trees in `{scratch}`. In the second before, \
         other work kept the CPUs {busy:.0} % busy."
    )
}

/// Percent of the CPUs' time used by other work, as a caveat for readers of the figures.
fn busy(cpus: usize) -> f64 {
    const WINDOW: Duration = Duration::from_secs(1);
    let before = usage::machine_busy();
    thread::sleep(WINDOW);
    (usage::machine_busy() - before) / cpus as f64 / WINDOW.as_secs_f64() * 100.0
}

/// Not every architecture tells.
fn model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(format!("({})", line.split_once(": ")?.1))
}
