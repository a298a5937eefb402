//! The agent: takes batches from a source, has the tracker make connections of them and the tree
//! show them. The only place that knows all three.
//!
//! Its inputs are arguments: the source, the signals. It never reads the command line, and the clock
//! only to end a slice.

use std::{
    collections::BTreeSet,
    future::Future,
    io, mem,
    net::IpAddr,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use conntrack_common::policy::{MAX_INTERNAL, MAX_LOCAL, Policy};
use tokio::sync::mpsc;

use super::{
    interruptions::{Interruption, Interruptions},
    losses::Losses,
    machine::Machine,
    obstacles::Obstacles,
    statement::Statement,
    stats::Stats,
};
use crate::{
    connection::Sighting,
    host::{
        address_events::AddressEvents,
        addresses::{AddressReader, LocalAddrs},
    },
    report::Reporter,
    source::{FlowBatch, Source, SourceError},
    tracker::Tracker,
    tree::{Cause, LastSeen, Shown, Tree, TreeError},
};

/// Connections are shown for this long at a time. Between two slices signals are handled and the
/// watchdog is fed.
const SLICE: Duration = Duration::from_millis(50);

/// One run, from its first batch to its last.
pub struct Agent {
    tracker: Tracker,
    tree: Tree,
    local: AddressReader,
    /// Local addresses at the last reading.
    was_local: BTreeSet<IpAddr>,
    /// Those that were local since then.
    meanwhile: BTreeSet<IpAddr>,
    /// Local addresses in the source's current policy.
    has_policy_for: BTreeSet<IpAddr>,
    /// Whether all that there is to say fitted into that policy.
    fits: bool,
    stats: Stats,
    obstacles: Obstacles,
    losses: Losses,
    /// Already reported that evidence cannot be stored.
    evidence_warned: bool,
    /// What the tree states about this run.
    statement: Option<Statement>,
    /// The machine that is watched, if it can be asked.
    machine: Option<Machine>,
    /// Whether what was open before the source that is to come is recorded.
    has_existing: bool,
    /// New connections after which it ends.
    count: Option<u64>,
}

impl Agent {
    /// An agent that has seen nothing yet.
    ///
    /// # Errors
    /// The kernel's refusal to list local addresses.
    pub fn new(tracker: Tracker, tree: Tree, local: LocalAddrs) -> io::Result<Self> {
        let mut local = AddressReader::new(local)?;
        let was_local = local.current()?.unwrap_or_default();
        let has_policy_for = was_local.clone();
        Ok(Self {
            tracker,
            tree,
            local,
            was_local,
            meanwhile: BTreeSet::new(),
            has_policy_for,
            fits: true,
            stats: Stats::default(),
            obstacles: Obstacles::default(),
            losses: Losses::default(),
            evidence_warned: false,
            statement: None,
            machine: None,
            has_existing: false,
            count: None,
        })
    }

    /// The same, and the source was opened with the policy for these addresses.
    #[must_use]
    pub fn with_policy_for(mut self, local: BTreeSet<IpAddr>) -> Self {
        self.policy_for(&local);
        Self { has_policy_for: local, ..self }
    }

    /// The same, and it ends with the batch in which this many connections were new.
    #[must_use]
    pub fn ending_after(self, count: Option<u64>) -> Self {
        Self { count, ..self }
    }

    /// The same, and the tree states this about the run.
    #[must_use]
    pub fn stating(self, statement: Statement) -> Self {
        let mut stating = Self { statement: Some(statement), ..self };
        stating.state();
        stating
    }

    /// The same, and this machine is asked for what packets do not tell.
    #[must_use]
    pub fn asking(self, machine: Machine) -> Self {
        Self { machine: Some(machine), ..self }
    }

    /// Tells it that only files below this directory can be written.
    #[must_use]
    pub fn confined_to(mut self, reach: OwnedFd) -> Self {
        self.tree.confine(reach);
        self
    }

    /// The policy for the addresses that are local now.
    fn policy(&mut self) -> Policy {
        let local = self.was_local.clone();
        self.policy_for(&local)
    }

    /// The policy when these addresses are local. What does not fit into it is said when that begins.
    fn policy_for(&mut self, local: &BTreeSet<IpAddr>) -> Policy {
        let policy = self.tracker.policy(local);
        let did_fit = mem::replace(&mut self.fits, policy.is_complete());
        if did_fit && !self.fits {
            log::warn!(
                "more than {MAX_LOCAL} local addresses or {MAX_INTERNAL} networks of --internal: flows \
                 are kept whole until they are shown, so a flood takes as much room as it has flows"
            );
        }
        policy
    }

    /// Runs until `shutdown` is ready, the source ends or it fails. `report` gets the counters at the
    /// start, after each batch, and for each message on `report_requests`.
    ///
    /// In every case the last batch is written and the source is detached. Returns the counters and the
    /// source's error.
    pub async fn run<S: Source>(
        mut self,
        mut source: S,
        shutdown: impl Future<Output = ()>,
        report_requests: mpsc::Receiver<()>,
        report: &mut impl Reporter,
    ) -> (Stats, Result<(), SourceError>) {
        tokio::pin!(shutdown);
        let mut interruptions = Interruptions::new(shutdown, report_requests);
        let changes = self.address_changes();
        self.stats.source = source.counters();
        report.progress(&self.stats);
        let opening = FlowBatch { is_first: true, ..FlowBatch::default() };
        let mut is_ending = self.take(&opening, &mut source, &mut interruptions, report).await;
        // Where the device is not there yet, it is due with its first batch.
        self.has_existing = !self.was_local.is_empty();
        let worked = loop {
            if is_ending {
                break Ok(());
            }
            tokio::select! {
                biased;
                interruption = interruptions.next() => match interruption {
                    Interruption::Shutdown => break Ok(()),
                    Interruption::ReportRequest => self.answer(&source, report),
                },
                () = changed(changes.as_ref()) => self.add_local_addresses(&mut source),
                batch = source.next_batch() => match batch {
                    Ok(Some(batch)) => {
                        is_ending =
                            self.take(&batch, &mut source, &mut interruptions, report).await;
                        report.progress(&self.stats);
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                },
            }
        };
        report.stopping();
        let (last, finished) = source.finish().await;
        self.take(&last, &mut source, &mut interruptions, report).await;
        while let Some(batch) = source.next_left() {
            self.take(&batch, &mut source, &mut interruptions, report).await;
        }
        self.conclude();
        (self.stats, worked.and(finished))
    }

    /// Handles a batch; returns whether to shut down.
    async fn take<F: Future<Output = ()>>(
        &mut self,
        batch: &FlowBatch,
        source: &mut impl Source,
        interruptions: &mut Interruptions<'_, F>,
        report: &mut impl Reporter,
    ) -> bool {
        self.read_local_addresses(source);
        let sightings = self.sightings(batch);
        let flows = sightings.iter().filter(|it| it.has_packet).count() as u64;
        if let Some(statement) = &mut self.statement {
            statement.see(&sightings);
        }
        let last_seen = batch.captured_at.map_or(LastSeen::Now, LastSeen::At);
        let mut showing = self.tree.begin(sightings, last_seen);
        let begun = Instant::now();
        let all = showing.left();
        let mut is_ending = false;
        loop {
            let start = Instant::now();
            self.tree.go_on(&mut showing, || start.elapsed() >= SLICE);
            let left = showing.left();
            let for_each = begun.elapsed() / u32::try_from(all - left).unwrap_or(u32::MAX).max(1);
            if left == 0 || interruptions.is_time_up(left, for_each) {
                break;
            }
            match interruptions.between().await {
                Some(Interruption::Shutdown) => is_ending = true,
                Some(Interruption::ReportRequest) => self.answer(source, report),
                None => {}
            }
        }
        // Counted at the end, so that a report never shows half a batch.
        let shown = self.tree.conclude(showing);
        report.new_connections(&shown.new, batch.captured_at);
        self.stats.flows += flows;
        self.count(&shown);
        self.stats.source = source.counters();
        self.losses.look_at(&self.stats.source);
        if let Some(statement) = &mut self.statement {
            statement.update(self.stats.lost().total().0, &shown.evidence);
        }
        self.state();
        is_ending || self.count.is_some_and(|count| self.stats.files.total() >= count)
    }

    /// What a batch shows, with what was open before it if it is the first of a source.
    fn sightings(&mut self, batch: &FlowBatch) -> Vec<Sighting> {
        let is_due = batch.is_first && !mem::take(&mut self.has_existing);
        let mut sightings = if is_due { self.existing() } else { Vec::new() };
        sightings.extend(self.tracker.track_batch(&batch.flows, batch.is_first));
        if let Some(machine) = &mut self.machine {
            machine.mark_served(&mut sightings);
            machine.tell_own(&sightings);
        }
        sightings
    }

    fn existing(&mut self) -> Vec<Sighting> {
        let policy = self.policy();
        let Some(machine) = &mut self.machine else { return Vec::new() };
        let flows = machine.existing(&self.was_local, &policy);
        self.tracker.track_batch(&flows, false)
    }

    fn answer(&mut self, source: &impl Source, report: &mut impl Reporter) {
        self.stats.source = source.counters();
        report.asked(&self.stats);
    }

    fn conclude(&mut self) {
        if let Some(statement) = &mut self.statement {
            statement.conclude();
        }
        self.state();
    }

    /// Has the tree state what is so now. Nothing is written if it does already.
    fn state(&mut self) {
        let Some(statement) = &self.statement else { return };
        let stated = self.tree.set_provenance(statement.provenance());
        if let Err(error) = stated {
            warn_of_evidence(&error, &mut self.evidence_warned);
        }
    }

    /// Where addresses may change, the kernel tells when they do. Where it does not, they are read for each
    /// batch.
    fn address_changes(&self) -> Option<AddressEvents> {
        if !self.local.is_of_kernel() {
            return None;
        }
        let events = AddressEvents::new();
        events.inspect_err(|error| log::debug!("no events of addresses: {error}")).ok()
    }

    /// What is new is local at once, also if it is gone again before the next batch.
    fn add_local_addresses(&mut self, source: &mut impl Source) {
        if let Ok(Some(now)) = self.local.current() {
            self.meanwhile.extend(now);
        }
        let local = &self.was_local | &self.meanwhile;
        self.set_local_addresses(local, source);
    }

    /// A batch's packets were seen between the last reading and this one, so addresses of both readings
    /// count as local: removing an address must not reclassify flows already seen. A missing device
    /// keeps its addresses.
    fn read_local_addresses(&mut self, source: &mut impl Source) {
        let now = self.local.current().unwrap_or_else(|error| {
            log::warn!("cannot read the local addresses, keeping the previous ones: {error}");
            None
        });
        let now = now.unwrap_or_else(|| self.was_local.clone());
        let local = &(&self.was_local | &now) | &mem::take(&mut self.meanwhile);
        self.was_local = now;
        self.set_local_addresses(local, source);
    }

    fn set_local_addresses(&mut self, local: BTreeSet<IpAddr>, source: &mut impl Source) {
        self.tracker.set_local_addresses(&local);
        if local != self.has_policy_for {
            match source.set_policy(&self.policy_for(&local)) {
                Ok(()) => self.has_policy_for = local,
                Err(error) => log::warn!(
                    "cannot apply new local addresses, keeping the previous ones: {error}"
                ),
            }
        }
    }

    fn count(&mut self, shown: &Shown) {
        self.stats.files.add(&shown.made);
        self.stats.connections.add(&shown.made);
        self.stats.connections.add(&shown.touched);
        for cause in Cause::ALL {
            self.stats.not_shown[cause as usize] += shown.obstacle(cause).connections;
        }
        self.obstacles.look_at(shown);
        self.stats.evidence_unkept += shown.evidence.connections;
        match &shown.evidence.first_error {
            Some(error) => warn_of_evidence(error, &mut self.evidence_warned),
            None if self.evidence_warned && shown.evidence.is_over => {
                log::info!("evidence is kept again");
                self.evidence_warned = false;
            }
            None => {}
        }
    }
}

/// Never, where nobody tells.
async fn changed(events: Option<&AddressEvents>) {
    match events {
        Some(events) => events.changed().await,
        None => std::future::pending().await,
    }
}

/// Warns once per episode.
fn warn_of_evidence(error: &TreeError, warned: &mut bool) {
    if !mem::replace(warned, true) {
        log::warn!("{error}; connections are recorded all the same, without what came of them");
    }
}
