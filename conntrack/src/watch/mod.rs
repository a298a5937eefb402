//! The running collector: opens source, tracker and tree, drops privileges, runs the agent, reports.

pub mod agent;
pub mod config;
mod confine;
mod descriptors;
mod existing;
mod interruptions;
mod local;
mod losses;
pub mod machine;
mod obstacles;
mod open;
mod pace;
mod served;
mod signals;
mod sockets;
pub mod statement;
pub mod stats;
mod units;

use std::{
    collections::BTreeSet,
    future::Future,
    io,
    net::IpAddr,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::anyhow;
use log::Level;
use tokio::{runtime::Builder, time::sleep};

use self::{
    agent::Agent,
    config::{Config, Input, Verbosity},
    confine::OpenTree,
    machine::Machine,
    open::Opened,
    statement::{Before, Statement},
    stats::Stats,
};
use crate::{
    host::{self, addresses::AddressReader},
    program,
    record::Outcome,
    report::{
        Ended, Events, Lines, Notifier, Origin, Outlets, Reports, Screen, elapsed::Elapsed,
        log::shell_quoted,
    },
    tracker::Tracker,
    tree::{Claim, Telling},
};

/// Runs until a signal or the end of the file. Single-threaded, because capabilities are per thread.
///
/// # Errors
/// Why it cannot start or continue, in one line.
pub fn run(config: &Config, screen: &Screen) -> anyhow::Result<()> {
    descriptors::check()?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| anyhow!("cannot start the runtime: {error}"))?;
    runtime.block_on(watch(config, screen))
}

async fn watch(config: &Config, screen: &Screen) -> anyhow::Result<()> {
    let (shutdown, report_requests) =
        signals::take_over().map_err(|error| anyhow!("no signals: {error}"))?;
    tokio::pin!(shutdown);
    let notifier = Notifier::from_environment();
    tokio::spawn(notifier.clone().feed_watchdog());
    let events = config.events.then(|| events(config, screen));
    let mut rights = confine::rights(config)?;
    // Checked before anything is created.
    let metrics = confine::metrics_file(config, &mut rights)?;
    confine::check_tree(config, &mut rights)?;
    let local = local_addresses(config)?;
    let policy = Tracker::new(config.settings.clone(), []).policy(&local);
    // Opening a FIFO blocks until its writer opens it.
    let opened = tokio::select! {
        biased;
        () = &mut shutdown => return Ok(()),
        opened = open::source(config, &policy, screen) => opened?,
    };
    // Made last, so that a start that fails leaves nothing behind.
    let OpenTree { tree, requested_ports, before, reach, claim } =
        confine::open_tree(config, &mut rights)?;
    let tracker = Tracker::new(config.settings.clone(), requested_ports);
    let agent = Agent::new(tracker, tree, config.local.clone())
        .map_err(|error| no_addresses(&error))?
        .with_policy_for(local);
    let is_confined = confine::confine(&rights, &opened, &reach, metrics.as_ref(), &notifier)?;
    let agent = if is_confined { agent.confined_to(reach) } else { agent };
    let agent = agent.stating(statement(config, &opened, &before)).ending_after(config.ends.count);
    let agent = match machine(config) {
        Some(machine) => agent.asking(machine),
        None => agent,
    };
    if claim.as_ref().is_some_and(Claim::has_others) {
        let path = config.path.display();
        log::warn!(
            "another one records into {path} already, so it holds what both see; unless that is meant, give \
             each a directory of its own"
        );
    }
    opened.announce(config);
    let shutdown = Box::pin(until(shutdown, config.ends.after));
    tokio::spawn(screen.clone().keep_current());
    // Events say what these lines say.
    let has_lines = config.telling() == Telling::New;
    let lines = has_lines.then(|| Lines::new(screen));
    if let Some(events) = events.clone() {
        tokio::spawn(events.keep_flowing());
    }
    let outlets = Outlets { notifier, metrics, lines, events, screen: screen.clone() };
    let mut reports = Reports::new(opened.subject(config), config.interval, outlets);
    let (stats, outcome) = match opened {
        #[cfg(feature = "ebpf")]
        Opened::Ebpf(source) => {
            Box::pin(agent.run(*source, shutdown, report_requests, &mut reports)).await
        }
        #[cfg(feature = "pcap")]
        Opened::Live(source) => agent.run(*source, shutdown, report_requests, &mut reports).await,
        #[cfg(feature = "pcap")]
        Opened::File(source) => agent.run(source, shutdown, report_requests, &mut reports).await,
    };
    let ended = reports.end(&stats);
    report_at_end(&stats, &ended, config, screen);
    outcome?;
    match &config.input {
        Input::File(path) => check_complete(path, &stats),
        Input::Device(_) => Ok(()),
    }
}

/// Connections for programs. A reader of a file's events may take its time, because a file waits.
fn events(config: &Config, screen: &Screen) -> Events {
    const OF_A_FILE: Duration = Duration::from_secs(2);
    let (origin, patience) = match &config.input {
        Input::Device(watch) => {
            let device = Some(watch.list());
            (Origin { host: host::name(), device, unseen: Outcome::None }, Duration::ZERO)
        }
        Input::File(_) => {
            (Origin { host: None, device: None, unseen: Outcome::Unknown }, OF_A_FILE)
        }
    };
    Events::new(screen, origin, patience)
}

/// Ready with `shutdown`, or when this time is over.
async fn until(shutdown: impl Future<Output = ()>, after: Option<Duration>) {
    let Some(after) = after else { return shutdown.await };
    tokio::select! {
        biased;
        () = shutdown => {}
        () = sleep(after) => {}
    }
}

/// The local addresses at the start.
fn local_addresses(config: &Config) -> anyhow::Result<BTreeSet<IpAddr>> {
    let addresses = AddressReader::new(config.local.clone()).and_then(|mut it| it.current());
    Ok(addresses.map_err(|error| no_addresses(&error))?.unwrap_or_default())
}

fn no_addresses(error: &io::Error) -> anyhow::Error {
    anyhow!("cannot list the local addresses: {error}")
}

/// What the tree states about this run.
fn statement(config: &Config, opened: &Opened, before: &Before) -> Statement {
    let provenance = opened.provenance(config);
    match &config.input {
        Input::Device(_) => Statement::on_device(provenance, before, SystemTime::now),
        Input::File(_) => Statement::on_file(provenance, before, SystemTime::now),
    }
}

/// The machine that the device is on, if it can be asked.
fn machine(config: &Config) -> Option<Machine> {
    let Input::Device(watch) = &config.input else { return None };
    match Machine::with(&watch.devices, watch.existing) {
        Ok(machine) => Some(machine),
        Err(error) => {
            log::warn!(
                "cannot ask for the sockets of this machine: {error}; UDP that is not answered has no \
                 evidence, and what was open before is not recorded"
            );
            None
        }
    }
}

/// Incomplete is an error for a file, which can be read again.
fn check_complete(path: &Path, stats: &Stats) -> anyhow::Result<()> {
    let path = path.display();
    match stats.lost().total().0.unwrap_or_default() {
        0 => Ok(()),
        1 => Err(anyhow!("{path}: 1 connection is not in the tree; see lost")),
        lost => Err(anyhow!("{path}: {lost} connections are not in the tree; see lost")),
    }
}

/// Losses are reported even with `--quiet`.
fn report_at_end(stats: &Stats, ended: &Ended, config: &Config, screen: &Screen) {
    match config.verbosity {
        Verbosity::Quiet => {
            let lines = [Some(stats.lost_line()), ended.events.clone()];
            let losses: Vec<_> =
                lines.into_iter().flatten().filter(|(level, _)| *level == Level::Warn).collect();
            if !losses.is_empty() {
                screen.say_last_report(&losses);
            }
        }
        verbosity => {
            log::info!("{}", farewell(ended.elapsed, config));
            let mut lines = stats.lines(verbosity != Verbosity::Normal);
            lines.extend(ended.events.clone());
            screen.say_last_report(&lines);
        }
    }
}

/// How long it went on, and what to type next.
fn farewell(elapsed: Duration, config: &Config) -> String {
    let elapsed = Elapsed(elapsed);
    let done = match &config.input {
        Input::Device(watch) => format!("watched {} for {elapsed}", watch.list()),
        Input::File(path) => format!("read {} in {elapsed}", path.display()),
    };
    let path = config.path.to_str().and_then(shell_quoted);
    let path = path.unwrap_or_else(|| "DIR".to_owned());
    let name = program::name();
    format!("{done}; next: {name} show -p {path}, or {name} rules -p {path}")
}
