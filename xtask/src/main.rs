//! `cargo xtask <verb>`: the development commands of this workspace. This file only reads the command
//! line; each verb has a file of its name.

mod archive;
mod bench;
mod closed_loop;
mod command;
mod compiler;
mod dist;
mod document;
mod fleet;
mod folder;
mod formats;
mod fresh;
mod fuzz;
mod imports;
mod lint;
mod mirror;
mod musl;
mod os_release;
mod page;
mod privilege;
mod program;
mod run;
mod setup;
mod soak;
mod test;
mod testdata;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use fresh::debian::Release;

/// Development commands of this workspace
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Verb {
    /// Find or install what building, testing and linting need
    Setup(setup::Args),
    /// Build conntrack and run it, through sudo if not root
    Run(run::Args),
    /// Run every test, including those that need root
    Test(test::Args),
    /// Run the fuzz targets, each for a minute
    Fuzz(fuzz::Args),
    /// Measure what is promised about speed
    Bench(bench::Args),
    /// Run for minutes while devices and addresses change, and check that nothing leaks or is lost
    Soak(soak::Args),
    /// Record real servers while they are used and scanned, and try the rules on them
    Loop(closed_loop::Args),
    /// Run the tests that watch devices inside other kernels, in virtual machines
    Vm(vm::Args),
    /// Do what the README says in a minimal Debian, as a newcomer would
    Fresh(Release),
    /// Look at what conntrack report makes in a real browser, and keep pictures
    Page(Release),
    /// Do what docs/fleet.md says, with the real programs from the registries
    Fleet(Release),
    /// Make what is handed out: static programs, packages, manual pages, completions
    Dist(dist::Args),
    /// Have the real ufw and firewalld take the rules that are made for them, and send traffic through
    Formats(Release),
    /// Check formatting and clippy, with warnings denied
    Lint,
    /// Write the captures under testdata/, or check them
    Testdata(testdata::Args),
}

fn main() -> ExitCode {
    let result = match Verb::parse() {
        Verb::Setup(args) => setup::run(&args),
        Verb::Run(args) => run::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Soak(args) => soak::run(&args),
        Verb::Loop(args) => closed_loop::run(&args),
        Verb::Vm(args) => vm::run(&args),
        Verb::Fresh(release) => fresh::run(&release),
        Verb::Page(release) => page::run(&release),
        Verb::Fleet(release) => fleet::run(&release),
        Verb::Dist(args) => dist::run(&args),
        Verb::Formats(release) => formats::run(&release),
        Verb::Lint => lint::run(),
        Verb::Testdata(args) => testdata::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
