//! A device that is watched whenever it is there: when it goes it is waited for, and watched again when it
//! is back, whatever its index is then. What is seen of several devices comes together in their source.
//!
//! It knows nothing of how a device is watched; that is for what it opens anew.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use tokio::time::Interval;

use super::{DeviceCounters, Reattached, SourceError, ticks};
use crate::host::device::DeviceError;

/// How often a device that is away is looked for, at least.
const LOOK_FOR_IT: Duration = Duration::from_secs(1);

/// What watches a device that is there.
#[expect(async_fn_in_trait, reason = "used within this crate, on one thread")]
pub trait Attached {
    /// Looks after it until something is wrong that cannot be mended.
    ///
    /// Nothing is forgotten if the future is dropped before it is ready.
    async fn keep(&mut self) -> SourceError;

    /// Has it stop soon.
    fn stop(&self) {}

    /// Stops watching: what was seen up to now is with the source then. If the future is dropped before it
    /// is ready, it may be asked again.
    ///
    /// # Errors
    /// What went wrong; it does not watch any more, all the same.
    async fn end(&mut self) -> Result<(), SourceError>;

    /// What was counted since it began.
    fn tally(&self) -> Tally;

    /// Packets that passed the device since then, if that is known.
    fn packets(&self) -> Option<u64>;
}

/// What is counted for each device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Times that what somebody else took away was attached again.
    pub taken_away: u64,
    /// Packets that libpcap dropped.
    pub dropped: u64,
}

impl Tally {
    fn and(self, later: Self) -> Self {
        Self {
            taken_away: self.taken_away + later.taken_away,
            dropped: self.dropped + later.dropped,
        }
    }
}

/// Opens what watches the device.
type Open<A> = Box<dyn FnMut() -> Result<A, SourceError>>;

/// A device that is watched whenever it is there.
pub struct Reattaching<A> {
    device: String,
    open: Open<A>,
    watched: Watched<A>,
    /// What watched a device that went, and has not ended yet.
    ending: Option<A>,
    /// Whether the device going is the end.
    is_exiting: bool,
    /// What was counted up to the last time that the device went.
    before: Tally,
    /// Packets up to then, if that is known.
    packets_before: Option<u64>,
    /// Times that the device was back.
    times_back: u64,
    ticks: Interval,
    /// Whether it was watched at all.
    was_watched: bool,
}

enum Watched<A> {
    Yes(A),
    /// And why not, which is said once.
    No(Obstacle),
}

/// Why a device is not watched at the moment.
#[derive(Debug, PartialEq, Eq)]
enum Obstacle {
    Gone,
    Down,
    Refused(String),
    /// The run is over.
    Over,
}

/// What became of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is not watched any more; what was seen of it is with the source.
    Went,
    /// It is watched from now on.
    Came,
}

impl<A: Attached> Reattaching<A> {
    /// Watches `device` with what `open` opens; while it is away, it is looked for once an interval,
    /// and at least once a second.
    ///
    /// # Errors
    /// Those of `open`, if the device cannot be watched to begin with. One that is down can be, later.
    pub fn new(device: &str, interval: Duration, mut open: Open<A>) -> Result<Self, SourceError> {
        let watched = match open() {
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
            before: Tally::default(),
            packets_before: Some(0),
            times_back: 0,
            ticks: ticks(interval.min(LOOK_FOR_IT)),
        })
    }

    /// The same, and the device going is an error if `is_exiting`.
    #[must_use]
    pub fn exiting(self, is_exiting: bool) -> Self {
        Self { is_exiting, ..self }
    }

    /// The name that the user gave.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// What watches it, while it is there.
    pub const fn attached(&self) -> Option<&A> {
        match &self.watched {
            Watched::Yes(attached) => Some(attached),
            Watched::No(_) => None,
        }
    }

    /// The same, to be changed.
    pub const fn attached_mut(&mut self) -> Option<&mut A> {
        match &mut self.watched {
            Watched::Yes(attached) => Some(attached),
            Watched::No(_) => None,
        }
    }

    /// What was counted since the start.
    pub fn tally(&self) -> Tally {
        self.now().fold(self.before, |sum, attached| sum.and(attached.tally()))
    }

    /// Packets that passed it since the start, if that is known.
    pub fn packets(&self) -> Option<u64> {
        self.now().try_fold(self.packets_before?, |sum, attached| Some(sum + attached.packets()?))
    }

    fn now(&self) -> impl Iterator<Item = &A> {
        self.attached().into_iter().chain(&self.ending)
    }

    /// How often watching it was taken up again.
    pub fn reattached(&self) -> Reattached {
        Reattached { taken_away: self.tally().taken_away, device_gone: self.times_back }
    }

    /// Waits until it goes or comes.
    ///
    /// Nothing is lost if the future is dropped before it is ready.
    ///
    /// # Errors
    /// Why it cannot be watched any more; that it is gone, where that is the end.
    pub async fn changed(&mut self) -> Result<Change, SourceError> {
        loop {
            if self.ending.is_some() {
                // What is gone cannot be detached from.
                let _detached = self.end_ending().await;
                // It may be back already.
                self.ticks.reset_immediately();
                return Ok(Change::Went);
            }
            let Watched::Yes(attached) = &mut self.watched else {
                self.ticks.tick().await;
                if self.look_for_it()? {
                    return Ok(Change::Came);
                }
                continue;
            };
            match attached.keep().await {
                SourceError::DeviceGone(_) if !self.is_exiting => self.let_go(Obstacle::Gone),
                SourceError::DeviceDown(_) => self.let_go(Obstacle::Down),
                error => return Err(error),
            }
        }
    }

    /// Has it stop soon.
    pub fn stop(&self) {
        if let Some(attached) = self.attached() {
            attached.stop();
        }
    }

    /// Stops watching it for good. If the future is dropped before it is ready, it may be asked again.
    ///
    /// # Errors
    /// What went wrong with a device that is there.
    pub async fn end(&mut self) -> Result<(), SourceError> {
        let _detached = self.end_ending().await;
        let Watched::Yes(attached) =
            std::mem::replace(&mut self.watched, Watched::No(Obstacle::Over))
        else {
            return Ok(());
        };
        self.ending = Some(attached);
        self.end_ending().await
    }

    /// It stays until it has ended: this future may be dropped before it is ready.
    async fn end_ending(&mut self) -> Result<(), SourceError> {
        let Some(attached) = &mut self.ending else { return Ok(()) };
        let ended = attached.end().await;
        self.before = self.before.and(attached.tally());
        self.packets_before =
            self.packets_before.zip(attached.packets()).map(|(before, later)| before + later);
        self.ending = None;
        ended
    }

    /// Lets go of a device that cannot be watched any more.
    fn let_go(&mut self, obstacle: Obstacle) {
        obstacle.tell(&self.device);
        if let Watched::Yes(attached) = std::mem::replace(&mut self.watched, Watched::No(obstacle))
        {
            self.ending = Some(attached);
        }
    }

    /// Whether it is there and watched now.
    ///
    /// # Errors
    /// That it is gone, where that is the end.
    fn look_for_it(&mut self) -> Result<bool, SourceError> {
        let obstacle = match (self.open)() {
            Ok(attached) => {
                self.tell_that_it_is_there();
                self.watched = Watched::Yes(attached);
                return Ok(true);
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
        Ok(false)
    }

    /// It may be watched for the first time now, if it was down at the start.
    fn tell_that_it_is_there(&mut self) {
        let device = &self.device;
        if self.was_watched {
            self.times_back += 1;
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
            Self::Over => {}
        }
    }
}

/// Waits until one of several devices goes or comes.
///
/// # Errors
/// As [`Reattaching::changed`].
pub(super) async fn one_changed<A: Attached>(
    devices: &mut [Reattaching<A>],
) -> Result<Change, SourceError> {
    type Changing<'a> = Pin<Box<dyn Future<Output = Result<Change, SourceError>> + 'a>>;
    let mut all: Vec<Changing<'_>> =
        devices.iter_mut().map(|device| Box::pin(device.changed()) as Changing<'_>).collect();
    poll_fn(|context| {
        let ready = all.iter_mut().find_map(|it| match it.as_mut().poll(context) {
            Poll::Ready(changed) => Some(changed),
            Poll::Pending => None,
        });
        ready.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// What was counted for each of several devices; of one, the packets are all that there are.
pub(super) fn counters<A: Attached>(devices: &[Reattaching<A>]) -> Vec<DeviceCounters> {
    let of = |device: &Reattaching<A>| DeviceCounters {
        device: device.device.clone(),
        packets: device.packets(),
    };
    if devices.len() > 1 { devices.iter().map(of).collect() } else { Vec::new() }
}

/// Stops watching all of them for good.
///
/// # Errors
/// The first one's that something went wrong with.
pub(super) async fn end_all<A: Attached>(
    devices: &mut [Reattaching<A>],
) -> Result<(), SourceError> {
    devices.iter().for_each(Reattaching::stop);
    let mut ended = Ok(());
    for device in devices {
        ended = ended.and(device.end().await);
    }
    ended
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    /// Its device is gone at once; it takes a while to end.
    struct Short {
        takes: Duration,
        ended: Rc<RefCell<u32>>,
    }

    impl Attached for Short {
        async fn keep(&mut self) -> SourceError {
            SourceError::DeviceGone("dev".to_owned())
        }

        async fn end(&mut self) -> Result<(), SourceError> {
            if !self.takes.is_zero() {
                tokio::time::sleep(self.takes).await;
            }
            *self.ended.borrow_mut() += 1;
            Ok(())
        }

        fn tally(&self) -> Tally {
            Tally { taken_away: 0, dropped: 1 }
        }

        fn packets(&self) -> Option<u64> {
            Some(2)
        }
    }

    /// One that takes so long to end, and how often one did.
    fn short(takes: Duration) -> (Reattaching<Short>, Rc<RefCell<u32>>) {
        let ended = Rc::new(RefCell::new(0));
        let count = Rc::clone(&ended);
        let open = Box::new(move || Ok(Short { takes, ended: Rc::clone(&count) }));
        (Reattaching::new("dev", INTERVAL, open).expect("it is there"), ended)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_last_is_there_also_where_a_future_was_dropped() {
        let (mut device, ended) = short(INTERVAL);
        let dropped = tokio::time::timeout(INTERVAL / 2, device.changed()).await;
        assert!(dropped.is_err(), "it was ready: {dropped:?}");
        assert_eq!((*ended.borrow(), device.tally().dropped), (0, 1));
        assert_eq!(device.changed().await.expect("no error"), Change::Went);
        assert_eq!((*ended.borrow(), device.tally().dropped), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_while_it_ends_is_ended_again() {
        let (mut device, ended) = short(INTERVAL);
        let dropped = tokio::time::timeout(INTERVAL / 2, device.end()).await;
        assert!(dropped.is_err(), "it was ready: {dropped:?}");
        device.end().await.expect("no error");
        assert_eq!((*ended.borrow(), device.tally().dropped), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_goes_is_waited_for_and_nothing_is_counted_twice() {
        let times = Rc::new(RefCell::new(0));
        let opened = Rc::clone(&times);
        let open = move || {
            *opened.borrow_mut() += 1;
            match *opened.borrow() {
                2 => Err(DeviceError::NotFound { name: "dev".into(), there_are: vec![] }.into()),
                3 => Err(SourceError::failed("attaching", "not yet")),
                _ => Ok(Short { takes: Duration::ZERO, ended: Rc::default() }),
            }
        };
        let mut device = Reattaching::new("dev", INTERVAL, Box::new(open)).expect("it is there");
        for expected in [Change::Went, Change::Came, Change::Went] {
            assert_eq!(device.changed().await.expect("no error"), expected);
        }
        assert_eq!(*times.borrow(), 4);
        assert_eq!((device.tally().dropped, device.packets()), (2, Some(4)));
        assert_eq!(device.reattached().device_gone, 1);
        device.end().await.expect("no error");
    }

    #[tokio::test(start_paused = true)]
    async fn each_device_goes_by_itself() {
        struct Lasting;
        impl Attached for Lasting {
            async fn keep(&mut self) -> SourceError {
                std::future::pending().await
            }

            async fn end(&mut self) -> Result<(), SourceError> {
                Err(SourceError::failed("detaching", "no"))
            }

            fn tally(&self) -> Tally {
                Tally::default()
            }

            fn packets(&self) -> Option<u64> {
                None
            }
        }
        enum Either {
            Short(Short),
            Lasting(Lasting),
        }
        impl Attached for Either {
            async fn keep(&mut self) -> SourceError {
                match self {
                    Self::Short(it) => it.keep().await,
                    Self::Lasting(it) => it.keep().await,
                }
            }

            async fn end(&mut self) -> Result<(), SourceError> {
                match self {
                    Self::Short(it) => it.end().await,
                    Self::Lasting(it) => it.end().await,
                }
            }

            fn tally(&self) -> Tally {
                match self {
                    Self::Short(it) => it.tally(),
                    Self::Lasting(it) => it.tally(),
                }
            }

            fn packets(&self) -> Option<u64> {
                match self {
                    Self::Short(it) => it.packets(),
                    Self::Lasting(it) => it.packets(),
                }
            }
        }
        let lasting =
            Reattaching::new("lasting", INTERVAL, Box::new(|| Ok(Either::Lasting(Lasting))));
        let takes = Duration::ZERO;
        let open = move || Ok(Either::Short(Short { takes, ended: Rc::default() }));
        let short = Reattaching::new("dev", INTERVAL, Box::new(open));
        let mut devices = [lasting.expect("there"), short.expect("there")];
        for expected in [Change::Went, Change::Came, Change::Went] {
            assert_eq!(one_changed(&mut devices).await.expect("no error"), expected);
        }
        assert!(devices[0].attached().is_some());
        assert_eq!(devices[0].packets(), None, "what is unknown is not 0");
        assert!(end_all(&mut devices).await.is_err());
        assert!(devices.iter().all(|device| device.attached().is_none()));
    }
}
