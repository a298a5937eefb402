//! `cargo xtask test`: every test. Integration tests in modules named `live_*` watch real devices, so
//! they need root and network namespaces; the others need nothing. Tests that are left out are
//! counted.

use std::{
    ffi::OsString,
    fs,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::{
    command,
    compiler::Compiler,
    fuzz,
    privilege::Privilege,
    setup::{self, Purpose},
    workspace::{ALL_BUT_EBPF, Workspace},
};

/// What `test` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the tests that need root
    #[arg(long)]
    unprivileged: bool,
    /// Seconds that each fuzz target runs; 0 leaves them out, and so does an argument for test
    /// programs
    #[arg(long, value_name = "N", default_value_t = 60)]
    fuzz_seconds: u32,
    /// Arguments for the test programs, for instance a part of a test's name
    #[arg(last = true)]
    libtest: Vec<OsString>,
}

/// Runs every step even if one fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let purpose = if args.unprivileged { Purpose::Build } else { Purpose::Test };
    let suite = Suite { workspace: Workspace::find()?, libtest: &args.libtest };
    setup::prepare(&suite.workspace, purpose)?;
    // The same packages, features and profile in each step, so that nothing is compiled twice.
    command::run(suite.cargo_test().arg("--no-run"))?;

    let steps: [(&str, &dyn Fn() -> Result<()>); 4] = [
        ("unit tests", &|| suite.unit()),
        ("documentation tests", &|| suite.documentation()),
        ("integration tests", &|| suite.integration(args.unprivileged)),
        ("fuzz targets", &|| fuzz(args)),
    ];
    let mut failed = Vec::new();
    for (name, step) in steps {
        if let Err(error) = step() {
            eprintln!("error: {error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Not where only certain tests are asked for.
fn fuzz(args: &Args) -> Result<()> {
    if args.fuzz_seconds == 0 || !args.libtest.is_empty() {
        eprintln!("the fuzz targets did not run");
        return Ok(());
    }
    fuzz::run(&fuzz::Args::all(args.fuzz_seconds))
}

/// Begins the names of the modules with tests that need root; no other test has it in its name.
const LIVE: &str = "live_";

/// All tests of this workspace.
struct Suite<'a> {
    workspace: Workspace,
    libtest: &'a [OsString],
}

impl Suite<'_> {
    fn unit(&self) -> Result<()> {
        self.run(self.cargo_test().args(["--lib", "--bins"]), &[])
    }

    fn documentation(&self) -> Result<()> {
        self.run(self.cargo_test().arg("--doc"), &[])
    }

    fn integration(&self, unprivileged: bool) -> Result<()> {
        let privilege = Privilege::find();
        if unprivileged {
            self.without_live()?;
            eprintln!("{} tests that need root did not run (--unprivileged)", self.count_live()?);
        } else if let Some(obstacle) = obstacle(privilege) {
            // Report both: what failed, and what did not run.
            let others = self.without_live();
            let count = self.count_live()?;
            let accept = "use root, or accept it with --unprivileged";
            eprintln!("error: {count} tests that need root did not run ({obstacle}): {accept}");
            others?;
            bail!("{count} tests did not run");
        } else {
            self.with_live(privilege)?;
        }
        Ok(())
    }

    fn without_live(&self) -> Result<()> {
        self.run(&mut self.integration_tests(), &["--skip", LIVE])
    }

    /// All of them with the same privileges, in one run. Tests that need a newer kernel are skipped,
    /// with a message.
    fn with_live(&self, privilege: Privilege) -> Result<()> {
        let mut cargo = self.integration_tests();
        if privilege == Privilege::Sudo {
            cargo.env(Compiler::find()?.runner_variable(), "sudo -E");
        }
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        if lacks_tcx(&release) {
            eprintln!("the tests of TCX do not run: it takes Linux 6.6, this is {release}");
            self.run(&mut cargo, &["--skip", "::tcx"])
        } else {
            self.run(&mut cargo, &[])
        }
    }

    fn count_live(&self) -> Result<usize> {
        let mut cargo = self.integration_tests();
        let cargo = cargo.arg("--").args(self.libtest).arg("--list");
        Ok(count(&command::output(cargo)?))
    }

    fn integration_tests(&self) -> Command {
        let mut cargo = self.cargo_test();
        cargo.args(["--test", "*"]);
        cargo
    }

    fn cargo_test(&self) -> Command {
        let mut cargo = self.workspace.cargo();
        cargo.arg("test").args(ALL_BUT_EBPF);
        cargo
    }

    /// Runs the tests that `cargo` selects, all of them even if some fail.
    fn run(&self, cargo: &mut Command, libtest: &[&str]) -> Result<()> {
        cargo.args(["--no-fail-fast", "--"]).args(self.libtest).args(libtest);
        command::run(cargo)
    }
}

/// Whether a kernel of this release is older than TCX.
fn lacks_tcx(release: &str) -> bool {
    let mut numbers =
        release.split(|it: char| !it.is_ascii_digit()).map_while(|it| it.parse().ok());
    let version: Option<(u32, u32)> = numbers.next().zip(numbers.next());
    version.is_some_and(|version| version < (6, 6))
}

/// How many tests of a libtest list need root.
fn count(list: &str) -> usize {
    list.lines().filter(|line| line.contains(LIVE) && line.ends_with(": test")).count()
}

/// The reason why tests that need root cannot run.
pub(crate) fn obstacle(privilege: Privilege) -> Option<String> {
    if privilege == Privilege::None {
        return Some("you are not root and sudo is not usable".into());
    }
    // As `ip netns` does it. Sudo may ask for a password here, and then not again for a while.
    let mut unshare = privilege.command("unshare");
    unshare.args(["--net", "--mount", "true"]).stdin(Stdio::inherit());
    let error = command::run(&mut unshare).err()?;
    Some(format!("namespaces cannot be made here: {error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcx_is_of_linux_6_6() {
        assert!(lacks_tcx("6.1.0-50-amd64\n") && lacks_tcx("5.10.0-32-amd64\n"));
        assert!(!lacks_tcx("6.6.0\n") && !lacks_tcx("7.3.4+deb13\n") && !lacks_tcx("unknown"));
    }

    #[test]
    fn tests_that_need_root_are_counted_over_all_lists() {
        let list = "live_links::tcx: test\nwire_judge::udp: test\n\n2 tests, 0 benchmarks\n\
            live_bench: benchmark\nlive_links::xdp: test\n\n1 test, 1 benchmark\n";
        assert_eq!(count(list), 2);
        assert_eq!(count(""), 0);
    }
}
