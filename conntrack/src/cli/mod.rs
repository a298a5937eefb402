//! The command line: parses arguments and runs commands. Nothing else in the library imports it.

mod apply;
mod commands;
mod complaint;
mod completion;
mod devices;
mod doctor;
mod export;
mod here;
mod output;
mod place;
mod reading;
mod report;
mod show;
mod translation;
mod values;
mod version;
mod watch;

use std::{
    env,
    ffi::OsStr,
    fmt::Display,
    io::{Write as _, stdout},
    process::ExitCode,
};

use anyhow::anyhow;
use clap::{Args as _, FromArgMatches as _, Parser as _, Subcommand as _, error::ErrorKind};

use self::{
    apply::{ApplyArgs, ApplyCommand},
    devices::{Devices, default_device},
    doctor::{DoctorArgs, DoctorCommand},
    export::{ExportCommand, Telling},
    watch::Args,
};
use crate::{
    doctor::Report,
    program,
    report::{
        Screen,
        log::{printable, start_log},
    },
    watch::config::{Config, Hook, Mode, Verbosity},
};

const FAILED: u8 = 1;
const WRONG_COMMAND_LINE: u8 = 2;

/// Runs the command; returns the exit status.
pub fn run() -> ExitCode {
    completion::answer(command);
    match parse() {
        Ok(Invocation::Watch(args)) => watch(*args),
        Ok(Invocation::Export(command)) => export(command),
        Ok(Invocation::Apply(args)) => apply(&args),
        Ok(Invocation::Doctor(args)) => doctor(&args),
        Ok(Invocation::Devices) => list_devices(),
        Err(error) => no_arguments(&error),
    }
}

fn watch(mut args: Args) -> ExitCode {
    let screen = Screen::new(has_live_line(&args));
    start_log(args.verbosity(), &screen);
    if args.device.is_empty() && args.read.is_none() {
        args.device = match default_device() {
            Ok(device) => vec![device],
            Err(error) => return failed(&error),
        };
    }
    match crate::watch::run(&Config::from(args), &screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &impl Display) -> ExitCode {
    log::error!("{error}");
    ExitCode::from(FAILED)
}

/// Runs `conntrack -D`.
fn list_devices() -> ExitCode {
    start_log(Verbosity::Normal, &Screen::blocking());
    let devices = Devices::now().map_err(|error| anyhow!("cannot list the devices: {error}"));
    match devices.and_then(|it| output::print(&it)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Runs a command that reads a tree.
fn export(command: ExportCommand) -> ExitCode {
    start_log(Verbosity::Normal, &Screen::blocking());
    commands::run(command).unwrap_or_else(|error| failed(&error))
}

/// Runs `conntrack apply`.
fn apply(args: &ApplyArgs) -> ExitCode {
    start_log(Verbosity::Normal, &Screen::blocking());
    apply::run(args).unwrap_or_else(|error| failed(&error))
}

/// Runs `conntrack doctor`. The status tells what would start.
fn doctor(args: &DoctorArgs) -> ExitCode {
    let is_table = args.format == Telling::Table;
    let report = Report::look(&args.subjects(), |line| {
        if is_table {
            let _unread = writeln!(stdout(), "{}", printable(&line));
        }
    });
    if !is_table {
        let _unread = writeln!(stdout(), "{}", report.json());
    }
    ExitCode::from(report.status())
}

/// Help and version go to standard output and are no error.
fn no_arguments(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let arguments: Vec<_> = env::args_os().skip(1).collect();
        let complaint = complaint::lines(error, &arguments, &command()).join("\n");
        Screen::blocking().say(format_args!("{}: {complaint}", program::name()));
        return ExitCode::from(WRONG_COMMAND_LINE);
    }
    match error.print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_reads) => ExitCode::from(FAILED),
    }
}

/// A live line for a device; a file has a progress bar.
const fn has_live_line(args: &Args) -> bool {
    args.read.is_none() && !args.quiet
}

/// A parsed command line.
#[derive(Clone, Debug)]
enum Invocation {
    /// Record.
    Watch(Box<Args>),
    /// Evaluate a tree.
    Export(ExportCommand),
    /// Put rules in force.
    Apply(ApplyArgs),
    /// Check the machine.
    Doctor(DoctorArgs),
    /// List the devices.
    Devices,
}

/// Parses the command line.
///
/// # Errors
/// A wrong command line; also help and version, as clap reports them.
fn parse() -> Result<Invocation, clap::Error> {
    let matches = command().try_get_matches()?;
    if matches.subcommand_name().is_some() {
        return subcommand(&matches);
    }
    let args = Args::from_arg_matches(&matches)?;
    if args.list_devices {
        return Ok(Invocation::Devices);
    }
    if args.mode == Mode::Pcap && args.hook == Hook::Xdp {
        return Err(complaint::hook_without_ebpf(command()));
    }
    if let Some(complaint) = complaint::of_devices(&args.device) {
        return Err(command().error(ErrorKind::ArgumentConflict, complaint));
    }
    if args.read.is_some() && args.local.is_empty() {
        return Err(complaint::local_is_missing(command()));
    }
    Ok(Invocation::Watch(Box::new(args)))
}

/// Parses arguments for recording, the program's name first.
///
/// # Errors
/// Wrong arguments.
pub fn config<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> Result<Config, clap::Error> {
    Args::try_parse_from(arguments).map(Config::from)
}

/// Parses a subcommand.
fn subcommand(matches: &clap::ArgMatches) -> Result<Invocation, clap::Error> {
    if matches.subcommand_name() == Some("apply") {
        let ApplyCommand::Apply(args) = ApplyCommand::from_arg_matches(matches)?;
        return Ok(Invocation::Apply(args));
    }
    if matches.subcommand_name() == Some("doctor") {
        let DoctorCommand::Doctor(args) = DoctorCommand::from_arg_matches(matches)?;
        if let Some(complaint) = complaint::of_devices(&args.device) {
            return Err(command().error(ErrorKind::ArgumentConflict, complaint));
        }
        return Ok(Invocation::Doctor(args));
    }
    ExportCommand::from_arg_matches(matches).map(Invocation::Export)
}

/// Recording has no subcommand; everything else is one.
pub fn command() -> clap::Command {
    // In this order, so that the program's description is the one of `Args`.
    let command = ExportCommand::augment_subcommands(clap::Command::new(program::name()));
    let command = ApplyCommand::augment_subcommands(command);
    let command = Args::augment_args(DoctorCommand::augment_subcommands(command))
        .subcommand_required(false)
        .arg_required_else_help(false)
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .override_usage(usage())
        .mut_subcommands(naming);
    naming(command)
}

fn usage() -> String {
    let name = program::name();
    format!(
        "{name} [-d DEV] -p DIR [OPTIONS]\n       {name} -r FILE --local IP -p DIR [OPTIONS]\n       \
         {name} COMMAND ..."
    )
}

/// The examples of a command, with the name that the program was called by.
fn naming(command: clap::Command) -> clap::Command {
    let Some(help) = command.get_after_help().map(ToString::to_string) else { return command };
    command.after_help(help.replace("conntrack ", &format!("{} ", program::name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        command().debug_assert();
    }
}
