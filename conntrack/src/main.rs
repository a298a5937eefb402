//! The command `conntrack`: reads the command line, puts a source, a tracker and a tree together,
//! and turns what comes of it into an exit status. All work is done in the library.

use std::{
    fmt::Display,
    future::Future,
    io::{Write as _, stderr},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser as _;
use conntrack::{
    agent::Agent,
    cli::{self, Args},
    config::{Config, Verbosity},
    connection::{Direction, Protocol, SourcePort},
    source::Source,
    stats::Stats,
    tracker::Tracker,
    tree::Tree,
};
use log::LevelFilter;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

mod open;

use open::Opened;

const FAILED: u8 = 1;
const WRONG_COMMAND_LINE: u8 = 2;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return no_arguments(&error),
    };
    let config = Config::from(args);
    start_log(config.verbosity);
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// Help and version go to standard output and are no error.
fn no_arguments(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        say(format_args!("conntrack: {}", cli::one_line(error)));
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
    let signals = Signals::listen().context("cannot listen for signals")?;
    let tree = Tree::open_or_make(&config.path)?;
    let tracker = Tracker::new(config.settings.clone(), requested_ports(&tree)?);
    let agent = Agent::new(tracker, tree, config.local.clone());
    match open::source(config)? {
        #[cfg(feature = "ebpf")]
        Opened::Ebpf(source) => watch(agent, *source, signals, config).await,
        #[cfg(feature = "pcap")]
        Opened::Live(source) => watch(agent, source, signals, config).await,
        #[cfg(feature = "pcap")]
        Opened::File(source) => watch(agent, source, signals, config).await,
    }
}

/// Runs the agent and says what it is doing and what came of it.
async fn watch<S: Source>(
    agent: Agent,
    source: S,
    signals: Signals,
    config: &Config,
) -> anyhow::Result<()> {
    let (shutdown, report_requests) = signals.split();
    let report = |stats: &Stats| say(stats);
    let (stats, outcome) = agent.run(source, shutdown, report_requests, report).await;
    match (config.verbosity, stats.lost()) {
        (Verbosity::Quiet, lost) if lost.total() > 0 => say(format_args!("lost: {lost}")),
        (Verbosity::Quiet, _) => {}
        _ => report(&stats),
    }
    Ok(outcome?)
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

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    report: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            report: signal(SignalKind::user_defined1())?,
        })
    }

    /// What ends the run, and what asks for a report.
    fn split(self) -> (impl Future<Output = ()>, mpsc::Receiver<()>) {
        let Self { mut interrupt, mut terminate, mut report } = self;
        let (sender, requests) = mpsc::channel(1);
        tokio::spawn(async move {
            while report.recv().await.is_some() && sender.send(()).await.is_ok() {}
        });
        let shutdown = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        (shutdown, requests)
    }
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
        .format(|line, record| match record.level() {
            log::Level::Warn => writeln!(line, "conntrack: warning: {}", record.args()),
            _ => writeln!(line, "conntrack: {}", record.args()),
        })
        .init();
}
