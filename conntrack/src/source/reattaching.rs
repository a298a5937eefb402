//! A source that outlives its device: when the device goes it is waited for, and watched again when it
//! is back, whatever its index is then.
//!
//! It knows nothing of how a device is watched; that is the source's that it opens anew.

use std::time::Duration;

use conntrack_common::policy::Policy;
use tokio::time::Interval;

use super::{FlowBatch, Source, SourceCounters, SourceError, ticks};
use crate::host::device::DeviceError;

/// How often a device that is away is looked for, at least.
const LOOK_FOR_IT: Duration = Duration::from_secs(1);

/// Opens a source on the device, under this policy.
type Open<S> = Box<dyn FnMut(&Policy) -> Result<S, SourceError>>;

/// A device that is watched whenever it is there.
pub struct Reattaching<S> {
    device: String,
    open: Open<S>,
    watched: Watched<S>,
    /// A source whose device went, and whose last batch is still to come.
    ending: Option<S>,
    /// Whether the device going is the end.
    is_exiting: bool,
    policy: Box<Policy>,
    /// What was counted up to the last time that the device went.
    before: SourceCounters,
    ticks: Interval,
    /// Whether it was watched at all.
    was_watched: bool,
}

enum Watched<S> {
    Yes(S),
    /// And why not, which is said once.
    No(Obstacle),
}

/// Why a device is not watched at the moment.
#[derive(Debug, PartialEq, Eq)]
enum Obstacle {
    Gone,
    Down,
    Refused(String),
}

impl<S: Source> Reattaching<S> {
    /// Watches `device` with what `open` opens; while it is away, it is looked for once an interval,
    /// and at least once a second.
    ///
    /// # Errors
    /// Those of `open`, if the device cannot be watched to begin with. One that is down can be, later.
    pub fn new(
        device: &str,
        interval: Duration,
        policy: &Policy,
        mut open: Open<S>,
    ) -> Result<Self, SourceError> {
        let watched = match open(policy) {
            Err(SourceError::DeviceDown(_)) => {
                Obstacle::Down.tell(device);
                Watched::No(Obstacle::Down)
            }
            opened => Watched::Yes(opened?),
        };
        Ok(Self {
            device: device.to_owned(),
            open,
            was_watched: matches!(watched, Watched::Yes(_)),
            watched,
            ending: None,
            is_exiting: false,
            policy: Box::new(*policy),
            before: SourceCounters::default(),
            ticks: ticks(interval.min(LOOK_FOR_IT)),
        })
    }

    /// The same, but for the device going, which is an error then.
    #[must_use]
    pub fn exiting(self) -> Self {
        Self { is_exiting: true, ..self }
    }

    /// The source, while the device is there.
    pub const fn source(&self) -> Option<&S> {
        match &self.watched {
            Watched::Yes(source) => Some(source),
            Watched::No(_) => None,
        }
    }

    /// Lets go of a device that cannot be watched any more.
    fn let_go(&mut self, obstacle: Obstacle) {
        obstacle.tell(&self.device);
        if let Watched::Yes(source) = std::mem::replace(&mut self.watched, Watched::No(obstacle)) {
            self.ending = Some(source);
        }
    }

    /// What was seen last of a device that went. The source stays until it has said it: this future may be
    /// dropped before it is ready.
    async fn last_batch(&mut self) -> Option<FlowBatch> {
        let source = self.ending.as_mut()?;
        // What is gone cannot be detached from.
        let (last, _detached) = source.finish().await;
        self.before += source.counters();
        self.ending = None;
        // It may be back already.
        self.ticks.reset_immediately();
        Some(last)
    }

    /// # Errors
    /// That it is gone, where that is the end.
    fn look_for_it(&mut self) -> Result<(), SourceError> {
        let obstacle = match (self.open)(&self.policy) {
            Ok(source) => {
                self.tell_that_it_is_there();
                self.watched = Watched::Yes(source);
                return Ok(());
            }
            Err(SourceError::Device(DeviceError::NotFound { .. })) if self.is_exiting => {
                return Err(SourceError::DeviceGone(self.device.clone()));
            }
            Err(SourceError::Device(DeviceError::NotFound { .. })) => Obstacle::Gone,
            Err(SourceError::DeviceDown(_)) => Obstacle::Down,
            Err(error) => Obstacle::Refused(error.to_string()),
        };
        if !matches!(&self.watched, Watched::No(before) if *before == obstacle) {
            obstacle.tell(&self.device);
            self.watched = Watched::No(obstacle);
        }
        Ok(())
    }

    /// It may be watched for the first time now, if it was down at the start.
    fn tell_that_it_is_there(&mut self) {
        let device = &self.device;
        if self.was_watched {
            self.before.reattached.device_gone += 1;
            log::info!("{device} is back and watched again");
        } else {
            log::info!("{device} is up and watched");
        }
        self.was_watched = true;
    }
}

impl Obstacle {
    fn tell(&self, device: &str) {
        match self {
            Self::Gone => log::warn!("{device} is gone; waiting for it"),
            Self::Down => log::warn!("{device} is down: nothing is seen until it is up"),
            Self::Refused(why) => log::warn!("{device} is back and cannot be watched yet: {why}"),
        }
    }
}

impl<S: Source> Source for Reattaching<S> {
    async fn next_batch(&mut self) -> Result<Option<FlowBatch>, SourceError> {
        if let Some(last) = self.last_batch().await {
            return Ok(Some(last));
        }
        let Watched::Yes(source) = &mut self.watched else {
            self.ticks.tick().await;
            self.look_for_it()?;
            return Ok(Some(FlowBatch::default()));
        };
        match source.next_batch().await {
            Err(SourceError::DeviceGone(_)) if !self.is_exiting => self.let_go(Obstacle::Gone),
            Err(SourceError::DeviceDown(_)) => self.let_go(Obstacle::Down),
            batch => return batch,
        }
        Ok(Some(self.last_batch().await.unwrap_or_default()))
    }

    async fn finish(&mut self) -> (FlowBatch, Result<(), SourceError>) {
        if let Some(last) = self.last_batch().await {
            return (last, Ok(()));
        }
        match &mut self.watched {
            Watched::Yes(source) => source.finish().await,
            Watched::No(_) => (FlowBatch::default(), Ok(())),
        }
    }

    fn set_policy(&mut self, policy: &Policy) -> Result<(), SourceError> {
        *self.policy = *policy;
        match &mut self.watched {
            Watched::Yes(source) => source.set_policy(policy),
            Watched::No(_) => Ok(()),
        }
    }

    fn counters(&self) -> SourceCounters {
        let mut counters = self.before;
        for source in self.source().into_iter().chain(&self.ending) {
            counters += source.counters();
        }
        counters
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use conntrack_common::{
        address::Address,
        counters::Outcome,
        flow::{FlowKey, Protocol},
        seen::Flow,
    };

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    fn flow(port: u16) -> Flow {
        let end = (Address::default(), port);
        Flow::opened(FlowKey::new(Protocol::Tcp, end, end))
    }

    /// Hands out one flow, then its device is gone; one more was seen meanwhile.
    struct Short {
        port: u16,
        handed_out: bool,
    }

    impl Source for Short {
        async fn next_batch(&mut self) -> Result<Option<FlowBatch>, SourceError> {
            if std::mem::replace(&mut self.handed_out, true) {
                return Err(SourceError::DeviceGone("dev".to_owned()));
            }
            Ok(Some(FlowBatch { flows: vec![flow(self.port)], captured_at: None, is_first: false }))
        }

        async fn finish(&mut self) -> (FlowBatch, Result<(), SourceError>) {
            (
                FlowBatch { flows: vec![flow(self.port + 1)], captured_at: None, is_first: false },
                Ok(()),
            )
        }

        fn set_policy(&mut self, _: &Policy) -> Result<(), SourceError> {
            Ok(())
        }

        fn counters(&self) -> SourceCounters {
            let mut counters = SourceCounters { dropped: 1, ..SourceCounters::default() };
            let packets = counters.packets.get_or_insert_default();
            packets.count(Outcome::Flow);
            counters
        }
    }

    /// The same, and it takes a while to say what it saw last.
    struct Slow(Short);

    impl Source for Slow {
        async fn next_batch(&mut self) -> Result<Option<FlowBatch>, SourceError> {
            self.0.next_batch().await
        }

        async fn finish(&mut self) -> (FlowBatch, Result<(), SourceError>) {
            tokio::time::sleep(INTERVAL).await;
            self.0.finish().await
        }

        fn set_policy(&mut self, policy: &Policy) -> Result<(), SourceError> {
            self.0.set_policy(policy)
        }

        fn counters(&self) -> SourceCounters {
            self.0.counters()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_last_is_there_also_where_a_future_was_dropped() {
        let open = Box::new(|_: &Policy| Ok(Slow(Short { port: 10, handed_out: false })));
        let mut source = Reattaching::new("dev", INTERVAL, &Policy::NONE, open).expect("a source");
        let first = source.next_batch().await.expect("a batch").expect("no end");
        assert_eq!(first.flows, [flow(10)]);
        let dropped = tokio::time::timeout(INTERVAL / 2, source.next_batch()).await;
        assert!(dropped.is_err(), "it was ready: {dropped:?}");
        assert_eq!(source.counters().dropped, 1);
        let last = source.next_batch().await.expect("a batch").expect("no end");
        assert_eq!(last.flows, [flow(11)]);
        assert_eq!(source.counters().dropped, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_goes_is_waited_for_and_nothing_is_lost_or_counted_twice() {
        let times = Rc::new(RefCell::new(0));
        let opened = Rc::clone(&times);
        let open = move |_: &Policy| {
            *opened.borrow_mut() += 1;
            match *opened.borrow() {
                2 => Err(DeviceError::NotFound { name: "dev".into(), there_are: vec![] }.into()),
                3 => Err(SourceError::failed("attaching", "not yet")),
                time => Ok(Short { port: time * 10, handed_out: false }),
            }
        };
        let open = Box::new(open);
        let mut source = Reattaching::new("dev", INTERVAL, &Policy::NONE, open).expect("a source");
        let mut seen = Vec::new();
        for _ in 0..7 {
            let batch = source.next_batch().await.expect("no error").expect("no end");
            seen.extend(batch.flows);
        }
        assert_eq!(seen, [flow(10), flow(11), flow(40), flow(41)]);
        assert_eq!(*times.borrow(), 4);
        assert_eq!(source.counters().dropped, 2);
        assert_eq!(source.counters().with_outcome(Outcome::Flow), Some(2));
        assert_eq!(source.counters().reattached.device_gone, 1);
        assert!(source.finish().await.0.flows.is_empty());
    }
}
