//! The agent: takes batches from a source, has the tracker make connections of them and the tree
//! show them. The only place that knows all three.
//!
//! Everything that it reacts to is an argument: the source, the signals. It reads no clock and no
//! command line.

use std::{collections::BTreeSet, future::Future, io, net::IpAddr};

use tokio::sync::mpsc;

use crate::{
    local_addrs::LocalAddrs,
    source::{FlowBatch, Source, SourceError},
    stats::Stats,
    tracker::Tracker,
    tree::{LastSeen, Shown, Tree},
};

/// One run, from its first batch to its last.
pub struct Agent {
    tracker: Tracker,
    tree: Tree,
    local: LocalAddrs,
    /// The local addresses when they were last read.
    was_local: BTreeSet<IpAddr>,
    stats: Stats,
    /// Whether it was said that files cannot be made. Said again when they could be in between.
    warned: bool,
}

impl Agent {
    /// An agent that has seen nothing yet.
    ///
    /// # Errors
    /// The kernel's refusal to list local addresses.
    pub fn new(tracker: Tracker, tree: Tree, local: LocalAddrs) -> io::Result<Self> {
        let was_local = local.current()?;
        Ok(Self { tracker, tree, local, was_local, stats: Stats::default(), warned: false })
    }

    /// Works until `shutdown` is ready, the source ends or it fails. Each message on
    /// `report_requests` has the counters handed to `report`.
    ///
    /// What was seen up to then is written and the source is detached, whatever happened; the
    /// counters and the source's error are handed back.
    pub async fn run<S: Source>(
        mut self,
        mut source: S,
        shutdown: impl Future<Output = ()>,
        mut report_requests: mpsc::Receiver<()>,
        report: impl Fn(&Stats),
    ) -> (Stats, Result<(), SourceError>) {
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
                    Ok(Some(batch)) => self.take(&batch),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                },
            }
        };
        let (last, finished) = source.finish().await;
        self.take(&last);
        self.stats.source = source.counters();
        (self.stats, worked.and(finished))
    }

    fn take(&mut self, batch: &FlowBatch) {
        self.read_local_addresses();
        let mut connections = BTreeSet::new();
        for connection in batch.flows.iter().filter_map(|flow| self.tracker.track(flow)) {
            self.stats.flows += 1;
            connections.insert(connection);
        }
        let last_seen = batch.captured_at.map_or(LastSeen::Now, LastSeen::At);
        let shown = self.tree.show(&connections, last_seen);
        self.count(shown);
    }

    /// A batch's packets were seen between the last reading and this one: what was local at either
    /// time is local to them. So an address that goes, or goes with its device, takes nothing with it.
    fn read_local_addresses(&mut self) {
        match self.local.current() {
            Ok(now) => {
                let then = std::mem::replace(&mut self.was_local, now);
                self.tracker.set_local_addresses(&then | &self.was_local);
            }
            Err(error) => {
                log::warn!("cannot read the local addresses, going on with the last: {error}");
                self.tracker.set_local_addresses(self.was_local.clone());
            }
        }
    }

    fn count(&mut self, shown: Shown) {
        self.stats.files += shown.made;
        self.stats.not_shown += shown.failed;
        match shown.first_error {
            Some(error) if !self.warned => log::warn!("{error}; going on without"),
            _ => {}
        }
        self.warned = shown.failed > 0;
    }
}
