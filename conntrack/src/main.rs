//! The command `conntrack`: reads the command line, puts a source, a tracker and a tree together,
//! and turns what comes of it into an exit status. All work is done in the library.

use std::{
    future::Future,
    io::{self, Write as _, stdout},
    process::ExitCode,
};

use anyhow::anyhow;
use conntrack::{
    agent::Agent,
    cli::{self, Invocation},
    config::{Config, Input, Verbosity},
    doctor::{Report, args::DoctorArgs},
    export::args::ExportCommand,
    report::{MetricsFile, Notifier, Outlets, Reports, Screen},
    stats::Stats,
    tracker::Tracker,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

mod commands;
mod confine;
mod messages;
mod open;

use confine::OpenTree;
use messages::{printable, start_log};
use open::Opened;

const FAILED: u8 = 1;
const WRONG_COMMAND_LINE: u8 = 2;

fn main() -> ExitCode {
    let args = match cli::parse() {
        Ok(Invocation::Watch(args)) => *args,
        Ok(Invocation::Export(command)) => return export(command),
        Ok(Invocation::Doctor(args)) => return doctor(&args),
        Err(error) => return no_arguments(&error),
    };
    let config = Config::from(args);
    let screen = screen(&config);
    start_log(config.verbosity, &screen);
    match run(&config, &screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Reads a tree. What comes of it may be a difference, which is no failure but a status of its own.
fn export(command: ExportCommand) -> ExitCode {
    start_log(Verbosity::Normal, &Screen::new(false));
    commands::run(command).unwrap_or_else(|error| {
        log::error!("{error}");
        ExitCode::from(FAILED)
    })
}

/// Looks at the machine. What is missing is no failure but what was asked.
fn doctor(args: &DoctorArgs) -> ExitCode {
    let report = Report::new(args);
    for line in report.lines() {
        let _unread = writeln!(stdout(), "{}", printable(&line));
    }
    ExitCode::from(report.status())
}

/// Help and version go to standard output and are no error.
fn no_arguments(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let complaint = printable(&cli::one_line(error));
        Screen::new(false).say(format_args!("conntrack: {complaint}"));
        return ExitCode::from(WRONG_COMMAND_LINE);
    }
    match error.print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_reads) => ExitCode::from(FAILED),
    }
}

/// With a live line for a device; a file has its progress bar.
fn screen(config: &Config) -> Screen {
    let is_device = matches!(config.input, Input::Device(_));
    Screen::new(is_device && config.verbosity != Verbosity::Quiet)
}

/// One thread: capabilities are per thread.
#[tokio::main(flavor = "current_thread")]
async fn run(config: &Config, screen: &Screen) -> anyhow::Result<()> {
    let (shutdown, report_requests) = signals().map_err(|error| anyhow!("no signals: {error}"))?;
    tokio::pin!(shutdown);
    let outlets = outlets(config, screen.clone())?;
    let mut rights = confine::rights(config)?;
    let OpenTree { tree, requested_ports, reach } = confine::open_tree(config, &mut rights)?;
    let tracker = Tracker::new(config.settings.clone(), requested_ports);
    let local = config.local.clone();
    let agent = Agent::new(tracker, tree, local)
        .map_err(|error| anyhow!("cannot list the local addresses: {error}"))?;
    let policy = agent.policy();
    // A pipe that is to be read may not be open at its other end yet.
    let opened = tokio::select! {
        biased;
        () = &mut shutdown => return Ok(()),
        opened = open::source(config, &policy) => opened?,
    };
    confine::confine(&rights, &opened, &reach, outlets.metrics.as_ref())?;
    opened.announce(config);
    let mut reports = Reports::new(opened.subject(config), config.interval, outlets);
    let (stats, outcome) = match opened {
        #[cfg(feature = "ebpf")]
        Opened::Ebpf(source) => agent.run(*source, shutdown, report_requests, &mut reports).await,
        #[cfg(feature = "pcap")]
        Opened::Live(source) => agent.run(*source, shutdown, report_requests, &mut reports).await,
        #[cfg(feature = "pcap")]
        Opened::File(source) => agent.run(source, shutdown, report_requests, &mut reports).await,
    };
    reports.end(&stats);
    report_at_end(&stats, config.verbosity, screen);
    Ok(outcome?)
}

/// The ways to tell how it goes, before anything that they should tell of is begun.
fn outlets(config: &Config, screen: Screen) -> anyhow::Result<Outlets> {
    let notifier = Notifier::from_environment();
    tokio::spawn(notifier.clone().feed_watchdog());
    let metrics = config.metrics_file.as_deref().map(MetricsFile::new).transpose()?;
    Ok(Outlets { notifier, metrics, screen })
}

/// Lost is never silent.
fn report_at_end(stats: &Stats, verbosity: Verbosity, screen: &Screen) {
    let lost = stats.lost();
    match verbosity {
        Verbosity::Quiet if lost.total() > 0 => screen.say(format_args!("lost: {lost}")),
        Verbosity::Quiet => {}
        Verbosity::Normal | Verbosity::Verbose => screen.say(stats),
    }
}

/// What ends the run, and what asks for a report.
fn signals() -> io::Result<(impl Future<Output = ()>, mpsc::Receiver<()>)> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut report = signal(SignalKind::user_defined1())?;
    let (sender, requests) = mpsc::channel(1);
    tokio::spawn(
        async move { while report.recv().await.is_some() && sender.send(()).await.is_ok() {} },
    );
    let shutdown = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok((shutdown, requests))
}
