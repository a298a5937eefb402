//! The command line: parses arguments and runs commands. Nothing else in the library imports it.

mod commands;
mod completion;
mod doctor;
mod export;
mod values;
mod watch;

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{Write as _, stdout},
    os::unix::ffi::OsStrExt as _,
    process::ExitCode,
};

use clap::{
    Args as _, FromArgMatches as _, Parser as _, Subcommand as _,
    error::{ContextKind, ContextValue, ErrorKind},
};

use self::{
    doctor::{DoctorArgs, DoctorCommand},
    export::ExportCommand,
    watch::Args,
};
use crate::{
    doctor::Report,
    program,
    report::{
        Screen,
        log::{printable, start_log},
    },
    watch::config::{Config, Hook, Input, Mode, Verbosity},
};

const FAILED: u8 = 1;
const WRONG_COMMAND_LINE: u8 = 2;

/// Runs the command; returns the exit status.
pub fn run() -> ExitCode {
    completion::answer();
    match parse() {
        Ok(Invocation::Watch(args)) => watch(*args),
        Ok(Invocation::Export(command)) => export(command),
        Ok(Invocation::Doctor(args)) => doctor(&args),
        Err(error) => no_arguments(&error, &env::args_os().skip(1).collect::<Vec<_>>()),
    }
}

fn watch(args: Args) -> ExitCode {
    let config = Config::from(args);
    let screen = screen(&config);
    start_log(config.verbosity, &screen);
    match crate::watch::run(&config, &screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Runs a command that reads a tree.
fn export(command: ExportCommand) -> ExitCode {
    start_log(Verbosity::Normal, &Screen::blocking());
    commands::run(command).unwrap_or_else(|error| {
        log::error!("{error}");
        ExitCode::from(FAILED)
    })
}

/// Runs `conntrack doctor`. The status tells what would start.
fn doctor(args: &DoctorArgs) -> ExitCode {
    let report = Report::new(&args.subjects());
    for line in report.lines() {
        let _unread = writeln!(stdout(), "{}", printable(&line));
    }
    ExitCode::from(report.status())
}

/// Help and version go to standard output and are no error.
fn no_arguments(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if error.use_stderr() {
        let complaint = printable(&one_line(error, arguments));
        Screen::blocking().say(format_args!("{}: {complaint}", program::name()));
        return ExitCode::from(WRONG_COMMAND_LINE);
    }
    match error.print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_reads) => ExitCode::from(FAILED),
    }
}

/// A live line for a device; a file has a progress bar.
fn screen(config: &Config) -> Screen {
    let is_device = matches!(config.input, Input::Device(_));
    Screen::new(is_device && config.verbosity != Verbosity::Quiet)
}

/// A parsed command line.
#[derive(Clone, Debug)]
enum Invocation {
    /// Record.
    Watch(Box<Args>),
    /// Evaluate a tree.
    Export(ExportCommand),
    /// Check the machine.
    Doctor(DoctorArgs),
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
    if args.mode == Mode::Pcap && args.hook == Hook::Xdp {
        let complaint = "--hook xdp is for eBPF and cannot be used with --mode pcap";
        return Err(command().error(ErrorKind::ArgumentConflict, complaint));
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
    if matches.subcommand_name() == Some("doctor") {
        let DoctorCommand::Doctor(args) = DoctorCommand::from_arg_matches(matches)?;
        return Ok(Invocation::Doctor(args));
    }
    ExportCommand::from_arg_matches(matches).map(Invocation::Export)
}

/// Recording has no subcommand; everything else is one.
pub fn command() -> clap::Command {
    // In this order, so that the program's description is the one of `Args`.
    let command = ExportCommand::augment_subcommands(clap::Command::new(program::name()));
    Args::augment_args(DoctorCommand::augment_subcommands(command))
        .subcommand_required(false)
        .arg_required_else_help(false)
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .disable_help_subcommand(true)
}

/// clap's error in one line, without the usage, and which `--help` to read.
fn one_line(error: &clap::Error, arguments: &[OsString]) -> String {
    let complaint = stray(error, arguments).unwrap_or_else(|| complaint(error));
    let subcommand = arguments.first().and_then(|word| word.to_str());
    let name = program::name();
    let command = match subcommand.filter(|word| command().find_subcommand(word).is_some()) {
        Some(subcommand) => format!("{name} {subcommand}"),
        None => name.to_owned(),
    };
    format!("{complaint}; see {command} --help")
}

fn complaint(error: &clap::Error) -> String {
    let text = error.to_string();
    let complaint: Vec<_> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let complaint = complaint.join(" ");
    complaint.strip_prefix("error: ").unwrap_or(&complaint).to_owned()
}

/// After flags, an unknown subcommand is really a stray argument: most often a second file from a shell
/// pattern behind `--read`.
fn stray(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let starts_with = |word: &OsString, text: &str| word.as_bytes().starts_with(text.as_bytes());
    if !arguments.first().is_some_and(|word| starts_with(word, "-")) {
        return None;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let reads = arguments.iter().any(|it| starts_with(it, "-r") || starts_with(it, "--read"));
    let advice = if reads {
        ": --read takes one file; merge several with mergecap (-w - FILE...) and read its output \
         with --read -"
    } else {
        ""
    };
    Some(format!("unexpected argument '{word}'{advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        command().debug_assert();
    }
}
