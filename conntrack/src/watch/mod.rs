//! The running collector: a source, a tracker and a tree put together, from the first right that is
//! given up to the last batch that is written.

pub mod agent;
pub mod config;
mod confine;
mod open;
pub mod stats;

use std::{future::Future, io};

use anyhow::anyhow;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use self::{
    agent::Agent,
    config::{Config, Verbosity},
    confine::OpenTree,
    open::Opened,
    stats::Stats,
};
use crate::{
    report::{MetricsFile, Notifier, Outlets, Reports, Screen},
    tracker::Tracker,
};

/// Watches until a signal or the end of the file. One thread: capabilities are per thread.
///
/// # Errors
/// Why it cannot start or go on, in one line for people.
pub fn run(config: &Config, screen: &Screen) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| anyhow!("cannot wait for events: {error}"))?;
    runtime.block_on(watch(config, screen))
}

async fn watch(config: &Config, screen: &Screen) -> anyhow::Result<()> {
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
