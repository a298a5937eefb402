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
    local::LocalAddresses,
    losses::Losses,
    machine::Machine,
    obstacles::Obstacles,
    statement::Statement,
    stats::Stats,
};
use crate::{
    connection::Sighting,
    host::{address_events::AddressEvents, addresses::LocalAddrs},
    report::{Reporter, Told},
    source::{FlowBatch, Source, SourceError},
    tracker::Tracker,
    tree::{Cause, LastSeen, Shown, Tree, TreeError},
};

/// Connections are shown for this long at a time. Between two slices signals are handled and the
/// watchdog is fed.
const SLICE: Duration = Duration::from_millis(50);

/// The source's policy.
struct InForce {
    /// Local addresses in it.
    local: BTreeSet<IpAddr>,
    /// Whether all that there is to say fitted into it.
    fits: bool,
    /// The source did not take the one after it.
    is_refused: bool,
}

/// One run, from its first batch to its last.
pub struct Agent {
    tracker: Tracker,
    tree: Tree,
    local: LocalAddresses,
    policy: InForce,
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
        let local = LocalAddresses::new(local)?;
        let policy = InForce { local: local.last().clone(), fits: true, is_refused: false };
        Ok(Self {
            tracker,
            tree,
            local,
            policy,
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
        self.policy.local = local;
        self
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
        let local = self.local.last().clone();
        self.policy_for(&local)
    }

    /// The policy when these addresses are local. What does not fit into it is said when that begins.
    fn policy_for(&mut self, local: &BTreeSet<IpAddr>) -> Policy {
        let policy = self.tracker.policy(local);
        let did_fit = mem::replace(&mut self.policy.fits, policy.is_complete());
        if did_fit && !self.policy.fits {
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
        let changes = self.local.changes();
        self.count_source(&source);
        report.progress(&self.stats);
        let opening = FlowBatch { is_first: true, ..FlowBatch::default() };
        let mut is_ending = self.take(&opening, &mut source, &mut interruptions, report).await;
        // Where the device is not there yet, it is due with its first batch.
        self.has_existing = !self.local.last().is_empty();
        let mut is_sources_turn = false;
        let worked = loop {
            if is_ending {
                break Ok(());
            }
            let waited = Waiting { interruptions: &mut interruptions, changes: changes.as_ref() };
            match waited.next(&mut source, is_sources_turn).await {
                Event::Interruption(Interruption::Shutdown) | Event::Batch(Ok(None)) => {
                    break Ok(());
                }
                Event::Interruption(Interruption::ReportRequest) => {
                    self.answer(&source, report);
                    is_sources_turn = true;
                }
                Event::AddressesChanged => {
                    let local = self.local.up_to_now();
                    self.set_local_addresses(local, &mut source);
                    is_sources_turn = true;
                }
                Event::Batch(Ok(Some(batch))) => {
                    is_ending = self.take(&batch, &mut source, &mut interruptions, report).await;
                    report.progress(&self.stats);
                    is_sources_turn = false;
                }
                Event::Batch(Err(error)) => break Err(error),
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
        let local = self.local.of_batch();
        self.set_local_addresses(local, source);
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
        let Shown { new, changed, .. } = &shown;
        report.connections(&Told { new, changed, seen: batch.captured_at });
        self.stats.flows += flows;
        self.count(&shown);
        self.count_source(source);
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
            machine.name_units(&mut sightings);
            machine.tell_own(&sightings);
        }
        sightings
    }

    fn existing(&mut self) -> Vec<Sighting> {
        let policy = self.policy();
        let Some(machine) = &mut self.machine else { return Vec::new() };
        let flows = machine.existing(self.local.last(), &policy);
        self.tracker.track_batch(&flows, false)
    }

    fn answer(&mut self, source: &impl Source, report: &mut impl Reporter) {
        self.count_source(source);
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

    fn set_local_addresses(&mut self, local: BTreeSet<IpAddr>, source: &mut impl Source) {
        self.tracker.set_local_addresses(&local);
        if local == self.policy.local {
            return;
        }
        let applied = source.set_policy(&self.policy_for(&local));
        let was_refused = mem::replace(&mut self.policy.is_refused, applied.is_err());
        match applied {
            Ok(()) => self.policy.local = local,
            Err(error) if !was_refused => {
                log::warn!("cannot apply new local addresses, keeping the previous ones: {error}");
            }
            Err(_) => {}
        }
    }

    fn count_source(&mut self, source: &impl Source) {
        self.stats.source = source.counters();
        self.stats.devices = source.devices();
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

/// What the agent waits for.
enum Event {
    Interruption(Interruption),
    AddressesChanged,
    Batch(Result<Option<FlowBatch>, SourceError>),
}

/// Where events but batches come from.
struct Waiting<'a, 's, F> {
    interruptions: &'a mut Interruptions<'s, F>,
    changes: Option<&'a AddressEvents>,
}

impl<F: Future<Output = ()>> Waiting<'_, '_, F> {
    /// Batches come last, but after something else it is the source's turn: reports may be asked for, and
    /// addresses may change, without a pause.
    async fn next(self, source: &mut impl Source, is_sources_turn: bool) -> Event {
        if is_sources_turn {
            tokio::select! {
                biased;
                batch = source.next_batch() => Event::Batch(batch),
                event = self.interrupted() => event,
            }
        } else {
            tokio::select! {
                biased;
                event = self.interrupted() => event,
                batch = source.next_batch() => Event::Batch(batch),
            }
        }
    }

    async fn interrupted(self) -> Event {
        tokio::select! {
            biased;
            interruption = self.interruptions.next() => Event::Interruption(interruption),
            () = changed(self.changes) => Event::AddressesChanged,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report, source::SourceCounters, tracker::Settings};

    const BATCHES: u32 = 5;

    /// So many batches, each of them due at once.
    struct Batches(u32);

    impl Source for Batches {
        async fn next_batch(&mut self) -> Result<Option<FlowBatch>, SourceError> {
            let is_over = self.0 == 0;
            self.0 = self.0.saturating_sub(1);
            Ok((!is_over).then(FlowBatch::default))
        }

        async fn finish(&mut self) -> (FlowBatch, Result<(), SourceError>) {
            (FlowBatch::default(), Ok(()))
        }

        fn set_policy(&mut self, _: &Policy) -> Result<(), SourceError> {
            Ok(())
        }

        fn counters(&self) -> SourceCounters {
            SourceCounters::default()
        }
    }

    /// What was reported, in order.
    #[derive(Default)]
    struct Told(String);

    impl Reporter for Told {
        fn progress(&mut self, _: &Stats) {
            self.0.push('b');
        }

        fn asked(&mut self, _: &Stats) {
            self.0.push('r');
        }

        fn stopping(&mut self) {}

        fn connections(&mut self, _: &report::Told<'_>) {}
    }

    #[tokio::test]
    async fn batches_have_their_turn_where_reports_are_asked_for_without_a_pause() {
        const REQUESTS: usize = 100;
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let tree = Tree::open_or_make(&scratch.path().join("tree")).expect("a tree");
        let tracker = Tracker::new(Settings::default(), []);
        let agent = Agent::new(tracker, tree, LocalAddrs::Fixed(BTreeSet::new()));
        let (sender, requests) = mpsc::channel(REQUESTS);
        for _ in 0..REQUESTS {
            sender.try_send(()).expect("room for all");
        }
        let mut told = Told::default();
        let shutdown = std::future::pending::<()>();
        let run = agent.expect("an agent").run(Batches(BATCHES), shutdown, requests, &mut told);
        let (_stats, ended) = run.await;
        ended.expect("the end");
        // Before the first batch the counters are told once.
        assert_eq!(told.0, format!("b{}r", "rb".repeat(5)));
    }
}
