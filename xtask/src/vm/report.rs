//! Results of the tests in the machines, read from their consoles: a line for each test, and a table
//! of all kernels.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use super::{
    kernel::{Kernel, Lack},
    modules::MODULES,
};

/// The results of one kernel.
pub(crate) struct Boot {
    pub(crate) kernel: &'static Kernel,
    /// The kernel's release, as in `uname -r`.
    version: String,
    outcomes: Vec<Outcome>,
    /// Why the run is incomplete.
    problem: Option<String>,
    /// From the start of the machine to its end.
    took: Duration,
    /// Whether it got as far as process 1.
    started: bool,
    /// Other lines, shown if something failed.
    said: Vec<String>,
}

/// What a kernel says last (`kernel/panic.c`).
const PANIC: &str = "Kernel panic - not syncing";

/// The result of one test.
pub(crate) struct Outcome {
    module: String,
    test: String,
    passed: bool,
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed { "ok" } else { "FAILED" };
        write!(f, "{:<18} {:<70} {verdict}", self.module, self.test)
    }
}

/// A console, read line by line.
#[derive(Default)]
pub(crate) struct Transcript {
    version: String,
    module: String,
    /// How many passed, by the test program's own count.
    counted: Option<usize>,
    ended: usize,
    outcomes: Vec<Outcome>,
    problem: Option<String>,
    said: Vec<String>,
}

impl Transcript {
    /// Takes a line; returns the result in it, if there is one.
    pub(crate) fn read(&mut self, line: &str) -> Option<&Outcome> {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["@", "kernel", version] => version.clone_into(&mut self.version),
            ["@", "begin", module] => {
                module.clone_into(&mut self.module);
                self.counted = None;
            }
            ["@", "end", module, status] => self.end(module, status),
            ["test", test, "...", verdict] => {
                self.outcomes.push(Outcome {
                    module: self.module.clone(),
                    test: self.without_module(test).to_owned(),
                    passed: verdict == "ok",
                });
                return self.outcomes.last();
            }
            ["test", "result:", _, passed, "passed;", ..] => self.counted = passed.parse().ok(),
            _ => self.said.push(line.to_owned()),
        }
        None
    }

    fn without_module<'n>(&self, test: &'n str) -> &'n str {
        let below = test.strip_prefix(self.module.as_str()).and_then(|it| it.strip_prefix("::"));
        below.unwrap_or(test)
    }

    fn end(&mut self, module: &str, status: &str) {
        self.ended += 1;
        let outcomes = self.outcomes.iter().filter(|it| it.module == module);
        let (passed, failed): (Vec<_>, Vec<_>) = outcomes.partition(|it| it.passed);
        if status != "0" && failed.is_empty() {
            self.problem = Some(format!("{module} ended with status {status}"));
        } else if self.counted != Some(passed.len()) {
            // The kernel has written into one of the lines.
            let counted = format!("{:?} by its own count", self.counted);
            self.problem = Some(format!("{module}: {} passed, {counted}", passed.len()));
        }
    }

    /// Whether it got as far as process 1.
    pub(crate) fn has_begun(&self) -> bool {
        !self.version.is_empty() || !self.module.is_empty()
    }

    /// The machine ran for too long.
    pub(crate) fn give_up(&mut self, after: Duration) {
        let minutes = after.as_secs() / 60;
        self.said.push(format!("ended, because it was still running after {minutes} minutes"));
    }

    /// The machine has ended.
    pub(crate) fn finish(mut self, kernel: &'static Kernel, took: Duration) -> Boot {
        if self.ended < MODULES.len() {
            let when = if self.module.is_empty() { "before any test" } else { &self.module };
            self.problem = Some(format!("the machine ended early: {when}"));
        } else if self.outcomes.is_empty() {
            self.problem = Some("no test ran".to_owned());
        }
        let started = self.has_begun();
        let Self { version, outcomes, problem, said, .. } = self;
        Boot { kernel, version, outcomes, problem, took, started, said }
    }
}

impl Boot {
    /// A kernel that could not be booted.
    pub(crate) fn impossible(kernel: &'static Kernel, error: &anyhow::Error) -> Self {
        Self {
            kernel,
            version: "nothing".to_owned(),
            outcomes: Vec::new(),
            problem: Some(format!("{error:#}")),
            took: Duration::ZERO,
            started: false,
            said: Vec::new(),
        }
    }

    /// Whether it got as far as process 1.
    pub(crate) fn started(&self) -> bool {
        self.started
    }

    /// Whether its kernel panicked.
    pub(crate) fn died(&self) -> bool {
        self.said.iter().any(|line| line.contains(PANIC))
    }

    pub(crate) fn passed(&self) -> bool {
        self.problem.is_none() && self.outcomes.iter().all(|outcome| outcome.passed)
    }

    /// The cell of this column.
    fn of(&self, column: &Column) -> String {
        if let Some(Lack { why, .. }) = self.kernel.lack(column.tests) {
            return format!("– ({why})");
        }
        let tests = self.outcomes.iter().filter(|it| column.is_about(&it.test));
        let (passed, failed): (Vec<_>, Vec<_>) = tests.partition(|it| it.passed);
        match (passed.len(), failed.len()) {
            (0, 0) => "none".to_owned(),
            (passed, 0) => format!("ok, {passed}"),
            (_, failed) => format!("**{failed} failed**"),
        }
    }
}

impl Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.passed() {
            self.said.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        let passed = self.outcomes.iter().filter(|outcome| outcome.passed).count();
        let name = self.kernel.name;
        let version = &self.version;
        let all = self.outcomes.len();
        let took = self.took.as_secs();
        write!(f, "{name:<10} {version}: {passed} of {all} tests passed in {took} s")?;
        self.problem.as_ref().map_or(Ok(()), |problem| write!(f, "; {problem}"))
    }
}

/// A column of the table.
struct Column {
    title: &'static str,
    /// The end of the names of its tests; empty for the tests of no other column.
    tests: &'static str,
}

/// Each way to watch a device, then tests about several of them or none.
const COLUMNS: [Column; 5] = [
    Column { title: "eBPF, TCX", tests: "::tcx" },
    Column { title: "eBPF, clsact", tests: "::clsact" },
    Column { title: "eBPF, XDP", tests: "::xdp" },
    Column { title: "libpcap", tests: "::pcap" },
    Column { title: "side by side, and others", tests: "" },
];

impl Column {
    fn is_about(&self, test: &str) -> bool {
        if self.tests.is_empty() { !test.contains("::") } else { test.ends_with(self.tests) }
    }
}

/// How many tests passed and failed, of all kernels.
pub(crate) fn sum(boots: &[Boot]) -> String {
    let all = boots.iter().flat_map(|boot| &boot.outcomes);
    let (passed, failed): (Vec<_>, Vec<_>) = all.partition(|outcome| outcome.passed);
    format!("{} passed, {} failed", passed.len(), failed.len())
}

/// A row for each kernel.
pub(crate) fn table(boots: &[Boot]) -> String {
    let mut rows = vec![
        ["kernel"]
            .into_iter()
            .chain(COLUMNS.iter().map(|it| it.title))
            .map(str::to_owned)
            .collect(),
        vec!["---".to_owned(); 1 + COLUMNS.len()],
    ];
    for boot in boots {
        let name = format!("Linux {} ({})", boot.version, boot.kernel.architecture.debian);
        let results = COLUMNS.iter().map(|column| boot.of(column));
        rows.push([name].into_iter().chain(results).collect::<Vec<_>>());
    }
    let lines: Vec<_> = rows.iter().map(|row| format!("| {} |", row.join(" | "))).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::kernel::ALL;

    /// The results of a console on which the first module says this and ends with this status, and the
    /// others succeed.
    fn boot(said: &str, status: &str) -> Boot {
        let passed = said.matches(" ... ok\n").count();
        let mut transcript = Transcript::default();
        let module = MODULES[0];
        let said = said.replace("test ", &format!("test {module}::"));
        let said = format!("{said}test result: ok. {passed} passed; 0 failed\n");
        let start = format!("@ kernel 6.1.0-50\n@ begin {module}\n{said}@ end {module} {status}\n");
        let rest = MODULES[1..]
            .iter()
            .map(|it| format!("@ begin {it}\ntest result: ok. 0 passed; 0 failed\n@ end {it} 0\n"));
        for line in (start + &rest.collect::<String>()).lines() {
            transcript.read(line);
        }
        transcript.finish(&ALL[1], Duration::ZERO)
    }

    #[test]
    fn tests_are_counted_for_their_way() {
        let boot = boot("test a::xdp ... ok\ntest b::xdp ... ok\ntest c ... ok\n", "0");
        assert!(boot.passed());
        let row = table(&[boot]).lines().nth(2).map(str::to_owned);
        let expected = "| Linux 6.1.0-50 (amd64) | – (6.6) | none | ok, 2 | none | ok, 1 |";
        assert_eq!(row.as_deref(), Some(expected));
    }

    #[test]
    fn a_test_that_fails_is_a_failure() {
        let boot = boot("test a::xdp ... ok\ntest b::xdp ... FAILED\n", "101");
        assert!(!boot.passed());
        assert!(table(&[boot]).contains("| **1 failed** |"));
    }

    #[test]
    fn a_program_that_fails_without_saying_so_is_a_failure() {
        let boot = boot("test a::xdp ... ok\ntest b::xdp ... FAI[ 1.2] oops\n", "101");
        assert!(!boot.passed());
        assert!(boot.to_string().contains("ended with status 101"), "{boot}");
    }

    #[test]
    fn a_line_that_is_broken_is_noticed() {
        let mut transcript = Transcript::default();
        for line in ["@ begin a", "test b ... o[ 1.2] k", "test result: ok. 1 passed;", "@ end a 0"]
        {
            transcript.read(line);
        }
        assert!(transcript.problem.is_some());
    }

    #[test]
    fn where_no_test_ran_nothing_passed() {
        assert!(!boot("", "0").passed());
    }

    #[test]
    fn a_kernel_that_panics_is_told() {
        let mut transcript = Transcript::default();
        transcript.read("@ kernel 6.1.0-50");
        transcript.read("@ begin live_captures");
        transcript.read("[  313.059699] Kernel panic - not syncing: Fatal exception in interrupt");
        let boot = transcript.finish(&ALL[1], Duration::ZERO);
        assert!(boot.started() && boot.died() && !boot.passed(), "{boot}");
    }

    #[test]
    fn a_machine_that_ends_early_has_not_passed() {
        let mut transcript = Transcript::default();
        transcript.read("@ kernel 6.1.0-50");
        transcript.read("@ begin live_captures");
        transcript.read("test a::xdp ... ok");
        let boot = transcript.finish(&ALL[1], Duration::ZERO);
        assert!(boot.started() && !boot.passed() && !boot.died());
        assert!(boot.to_string().contains("ended early: live_captures"), "{boot}");
    }
}
