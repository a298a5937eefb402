//! The command `conntrack`: reads the command line, puts a source, a tracker and a tree together,
//! and turns what comes of it into an exit status. All work is done in the library.

use std::{
    fmt::Display,
    future::Future,
    io::{self, Write as _, stderr},
    process::ExitCode,
};

use anyhow::anyhow;
use conntrack::{
    agent::Agent,
    cli,
    config::{Config, Verbosity},
    connection::{Direction, Protocol, SourcePort},
    stats::Stats,
    tracker::Tracker,
    tree::Tree,
};
use log::LevelFilter;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

mod open;

use open::Opened;

const FAILED: u8 = 1;
const WRONG_COMMAND_LINE: u8 = 2;

fn main() -> ExitCode {
    let args = match cli::parse() {
        Ok(args) => args,
        Err(error) => return no_arguments(&error),
    };
    let config = Config::from(args);
    start_log(config.verbosity);
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Help and version go to standard output and are no error.
fn no_arguments(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        say(format_args!("conntrack: {}", printable(&cli::one_line(error))));
        return ExitCode::from(WRONG_COMMAND_LINE);
    }
    match error.print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_reads) => ExitCode::from(FAILED),
    }
}

/// One thread: capabilities are per thread.
#[tokio::main(flavor = "current_thread")]
async fn run(config: &Config) -> anyhow::Result<()> {
    let (shutdown, report_requests) = signals().map_err(|error| anyhow!("no signals: {error}"))?;
    tokio::pin!(shutdown);
    let tree = Tree::open_or_make(&config.path)?;
    let tracker = Tracker::new(config.settings.clone(), requested_ports(&tree)?);
    let local = config.local.clone();
    let agent = Agent::new(tracker, tree, local)
        .map_err(|error| anyhow!("cannot list the local addresses: {error}"))?;
    // A pipe that is to be read may not be open at its other end yet.
    let opened = tokio::select! {
        biased;
        () = &mut shutdown => return Ok(()),
        opened = open::source(config) => opened?,
    };
    let report = |stats: &Stats| say(stats);
    let (stats, outcome) = match opened {
        #[cfg(feature = "ebpf")]
        Opened::Ebpf(source) => agent.run(*source, shutdown, report_requests, report).await,
        #[cfg(feature = "pcap")]
        Opened::Live(source) => agent.run(source, shutdown, report_requests, report).await,
        #[cfg(feature = "pcap")]
        Opened::File(source) => agent.run(source, shutdown, report_requests, report).await,
    };
    report_at_end(&stats, config.verbosity);
    Ok(outcome?)
}

/// Lost is never silent.
fn report_at_end(stats: &Stats, verbosity: Verbosity) {
    let lost = stats.lost();
    match verbosity {
        Verbosity::Quiet if lost.total() > 0 => say(format_args!("lost: {lost}")),
        Verbosity::Quiet => {}
        Verbosity::Normal | Verbosity::Verbose => say(stats),
    }
}

/// A line on standard error. That nobody reads it is no reason to stop.
fn say(text: impl Display) {
    let _unread = writeln!(stderr(), "{text}");
}

/// System ports that an earlier run saw UDP requests go to, so that a restart does not turn their
/// answers into incoming connections.
fn requested_ports(tree: &Tree) -> anyhow::Result<Vec<u16>> {
    let mut ports = Vec::new();
    tree.for_each(Direction::Out, Protocol::Udp, |connection| {
        if connection.source_port == SourcePort::Any {
            ports.push(connection.destination_port);
        }
    })?;
    Ok(ports)
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

/// What names and paths hold may be anything; a message is one line and moves no cursor.
fn printable(text: &str) -> String {
    let printed = |character: char| -> String {
        if character.is_control() { character.escape_default().collect() } else { character.into() }
    };
    text.chars().map(printed).collect()
}

/// Messages are lines on standard error, like those of other network tools.
fn start_log(verbosity: Verbosity) {
    let level = match verbosity {
        Verbosity::Quiet => LevelFilter::Warn,
        Verbosity::Normal => LevelFilter::Info,
        Verbosity::Verbose => LevelFilter::Debug,
    };
    env_logger::Builder::new()
        .filter_level(LevelFilter::Warn)
        .filter_module("conntrack", level)
        .format(|line, record| {
            let kind = if record.level() == log::Level::Warn { "warning: " } else { "" };
            writeln!(line, "conntrack: {kind}{}", printable(&record.args().to_string()))
        })
        .init();
}
