//! Keeps the programs attached: everything that was attached is looked for again and again, and so is
//! whether it sees anything where frames pass the device.

use std::{cell::RefCell, fmt::Display, io, rc::Rc, time::Duration};

use super::{
    attach::{Attachment, Hook},
    counted::Counted,
    sight::Sight,
};
use crate::{
    host::device::{Device, State},
    program,
    source::{SourceError, monitor::Monitor},
};

/// Times in a row that attaching again may fail.
const TRIES: u32 = 3;

/// Looks that find everything in its place, after which what is taken away then is another episode.
const CALM: u32 = 60;

/// Looks from one for what comes before ours to the next: it may be a long list.
const LOOKS_PER_LIST: u32 = 10;

/// Attached programs, and what looks after them. Dropping it detaches them.
pub(super) struct Guard {
    attachment: Attachment,
    monitor: Monitor,
    counted: Rc<RefCell<Counted>>,
    sight: Sight,
    failures: u32,
    /// Looks since something was missing last; none before the first time.
    calm: Option<u32>,
    /// The kernel did not say what is attached when it was asked last.
    is_unknown: bool,
    reattached: u64,
    /// What comes before ours, as far as it was said.
    before_us: Vec<String>,
    looks: u32,
}

impl Guard {
    /// Looks after programs that are attached to the device, at least once an interval.
    ///
    /// # Errors
    /// That the kernel cannot be asked.
    pub(super) fn new(
        attachment: Attachment,
        device: &Device,
        counted: Rc<RefCell<Counted>>,
        interval: Duration,
    ) -> io::Result<Self> {
        Ok(Self {
            attachment,
            monitor: Monitor::new(device, interval)?,
            counted,
            sight: Sight::default(),
            failures: 0,
            calm: None,
            is_unknown: false,
            reattached: 0,
            before_us: Vec::new(),
            looks: 0,
        })
    }

    /// How the programs are attached, in words.
    pub(super) fn describe(&self) -> String {
        self.attachment.describe()
    }

    /// Times that something was attached again.
    pub(super) const fn reattached(&self) -> u64 {
        self.reattached
    }

    /// Detaches the programs.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn detach(self) -> Result<(), SourceError> {
        self.attachment.detach()
    }

    /// Looks after the programs, until something is wrong that cannot be mended here.
    ///
    /// Nothing is forgotten if the future is dropped before it is ready.
    pub(super) async fn keep(&mut self) -> SourceError {
        loop {
            let state = self.monitor.next().await;
            let looked = state.and_then(|state| match state {
                Some(state) => self.look(&state),
                None => Ok(()),
            });
            if let Err(error) = looked {
                return error;
            }
        }
    }

    fn look(&mut self, now: &State) -> Result<(), SourceError> {
        match self.attachment.missing(now) {
            Ok(missing) if missing.is_empty() => {
                self.is_unknown = false;
                self.failures = 0;
                self.calm = self.calm.map(|looks| looks + 1).filter(|looks| *looks < CALM);
            }
            Ok(missing) => return self.attach_again(&missing),
            Err(error) => {
                if !self.is_unknown {
                    let name = &now.device.name;
                    log::warn!("cannot ask what is attached to {name}, going on: {error}");
                }
                self.is_unknown = true;
            }
        }
        if self.looks.is_multiple_of(LOOKS_PER_LIST) {
            self.tell_what_comes_before_us(now);
        }
        self.looks = self.looks.wrapping_add(1);
        if let Some(frames) =
            self.sight.look(now.frames, || self.counted.borrow().passed(now.device.index))
        {
            self.put_first(now, frames);
        }
        Ok(())
    }

    /// Most of what others attach lets packets pass.
    fn tell_what_comes_before_us(&mut self, now: &State) {
        let Ok(before_us) = self.attachment.before_us(now) else { return };
        for other in before_us.iter().filter(|it| !self.before_us.contains(it)) {
            let name = &now.device.name;
            log::info!("{other} of {name} comes before ours: what it takes is not seen");
        }
        self.before_us = before_us;
    }

    /// Said once in an episode: there are agents that take away again and again.
    fn attach_again(&mut self, missing: &[Hook]) -> Result<(), SourceError> {
        let device = &self.monitor.device().name;
        let what = list(missing);
        let is_news = self.calm.replace(0).is_none();
        match self.attachment.restore(missing) {
            Ok(()) => {
                self.failures = 0;
                self.reattached += 1;
                if is_news {
                    log::warn!("taken off {device} by somebody else, and attached again: {what}");
                }
                Ok(())
            }
            Err(error) => {
                self.failures += 1;
                if self.failures >= TRIES {
                    let device = device.clone();
                    let source = Box::new(error);
                    return Err(SourceError::Detached { device, what, source });
                }
                if self.failures == 1 {
                    log::warn!(
                        "taken off {device} by somebody else: {what}; cannot be attached again yet: \
                         {error}"
                    );
                }
                Ok(())
            }
        }
    }

    /// Frames pass, and somebody takes them before us.
    fn put_first(&mut self, now: &State, frames: u64) {
        let device = &now.device.name;
        let before = self.attachment.before_us(now).unwrap_or_default();
        let moved = self.attachment.put_first();
        let what = match &moved {
            _ if before.is_empty() => {
                let program = program::name();
                format!("what takes them is not known, see `{program} doctor -d {device}`")
            }
            Ok(true) => format!("before ours came {}; ours is put first now", list(&before)),
            Ok(false) => format!("before ours comes {}, in the first place", list(&before)),
            Err(error) => format!("before ours comes {}: {error}", list(&before)),
        };
        log::warn!("{frames} frames passed {device}, and none of them was seen: {what}");
    }
}

fn list(items: &[impl Display]) -> String {
    let words: Vec<_> = items.iter().map(ToString::to_string).collect();
    words.join(" and ")
}
