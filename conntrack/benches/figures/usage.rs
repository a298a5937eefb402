//! CPU time and memory of a process and of the machine, from `/proc`.

use std::fs;

/// Seconds that the process's threads were on a CPU, from `schedstat`: `stat` has ticks of 10 ms.
pub(crate) fn cpu_time(process: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("a running process");
    let nanoseconds = threads.filter_map(|thread| {
        let path = thread.ok()?.path().join("schedstat");
        fs::read_to_string(path).ok()?.split(' ').next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1e9
}

/// Seconds that all CPUs together were busy since the machine started.
pub(crate) fn machine_busy() -> f64 {
    const IDLE: [usize; 2] = [3, 4];
    /// User, nice, system, idle, iowait, irq, softirq; what follows is counted in these or was taken
    /// by other machines.
    const FIELDS: usize = 7;
    /// `USER_HZ` is 100 wherever these programs run.
    const TICKS_PER_SECOND: f64 = 100.0;
    let text = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let fields = text.split_ascii_whitespace().skip(1).take(FIELDS).enumerate();
    let busy = fields.filter(|(at, _)| !IDLE.contains(at));
    let ticks: u64 = busy.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum();
    ticks as f64 / TICKS_PER_SECOND
}

/// Memory of a process, in KiB.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// All resident memory.
    pub(crate) resident: u64,
    /// Anonymous resident memory.
    pub(crate) anonymous: u64,
}

impl Memory {
    pub(crate) fn of(process: u32) -> Self {
        let text =
            fs::read_to_string(format!("/proc/{process}/status")).expect("a running process");
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            let number =
                value.and_then(|value| value.split_ascii_whitespace().next()?.parse().ok());
            number.unwrap_or_else(|| panic!("no {name} in {text}"))
        };
        Self { resident: field("VmRSS:"), anonymous: field("RssAnon:") }
    }
}
