//! The agent: takes batches from a source, has the tracker make connections of them and the tree
//! show them. The only place that knows all three.
//!
//! Everything that it reacts to is an argument: the source, the signals. It reads no clock and no
//! command line.

use std::{collections::BTreeSet, future::Future, io};

use tokio::sync::mpsc;

use crate::{
    local_addrs::LocalAddrs,
    source::{FlowBatch, Source, SourceError},
    stats::Stats,
    tracker::Tracker,
    tree::{LastSeen, Tree},
};

/// Why the agent stopped before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The source cannot go on.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It is not known which addresses are local.
    #[error("cannot read the device's addresses: {0}")]
    LocalAddrs(#[from] io::Error),
}

/// One run, from its first batch to its last.
pub struct Agent {
    tracker: Tracker,
    tree: Tree,
    local: LocalAddrs,
    stats: Stats,
    /// Whether it was said that files cannot be made. Said again when they could be in between.
    warned: bool,
}

impl Agent {
    /// An agent that has seen nothing yet.
    pub fn new(tracker: Tracker, tree: Tree, local: LocalAddrs) -> Self {
        Self { tracker, tree, local, stats: Stats::default(), warned: false }
    }

    /// Works until `shutdown` is ready, the source ends or it fails. Each message on
    /// `report_requests` has the counters handed to `report`.
    ///
    /// What was seen up to then is written and the source is detached, whatever happened.
    ///
    /// # Errors
    /// The source's error, or that local addresses could not be read.
    pub async fn run<S: Source>(
        mut self,
        mut source: S,
        shutdown: impl Future<Output = ()>,
        mut report_requests: mpsc::Receiver<()>,
        report: impl Fn(&Stats),
    ) -> (Stats, Result<(), AgentError>) {
        tokio::pin!(shutdown);
        let worked = loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break Ok(()),
                Some(()) = report_requests.recv() => {
                    self.stats.source = source.counters();
                    report(&self.stats);
                }
                batch = source.next_batch() => match batch {
                    Ok(Some(batch)) => if let Err(error) = self.take(&batch) { break Err(error) },
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error.into()),
                },
            }
        };
        let finished = self.finish(&mut source).await;
        (self.stats, worked.and(finished))
    }

    async fn finish<S: Source>(&mut self, source: &mut S) -> Result<(), AgentError> {
        let last = source.finish().await;
        self.stats.source = source.counters();
        self.take(&last?)
    }

    fn take(&mut self, batch: &FlowBatch) -> Result<(), AgentError> {
        if batch.flows.is_empty() {
            return Ok(());
        }
        self.tracker.set_local_addresses(self.local.current()?);
        let mut connections = BTreeSet::new();
        for connection in batch.flows.iter().filter_map(|flow| self.tracker.track(flow)) {
            self.stats.flows += 1;
            connections.insert(connection);
        }
        let shown =
            self.tree.show(&connections, batch.captured_at.map_or(LastSeen::Now, LastSeen::At));
        self.stats.files += shown.made;
        self.stats.not_shown += shown.failed;
        match shown.first_error {
            Some(error) if !self.warned => log::warn!("{error}; going on without"),
            _ => {}
        }
        self.warned = shown.failed > 0;
        Ok(())
    }
}
