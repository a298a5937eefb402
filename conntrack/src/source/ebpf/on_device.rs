//! The programs on one device, while it is there.

use std::{cell::RefCell, rc::Rc, time::Duration};

use super::{
    attach::{Attachment, Chain, Ingress, Programs},
    counted::Counted,
    guard::Guard,
    load::{self, Kind},
};
use crate::{
    host::device::Device,
    source::{
        SourceError,
        reattaching::{Attached, Tally},
    },
};

/// How devices are watched, all in one way.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) programs: Programs,
    pub(super) counted: Rc<RefCell<Counted>>,
    pub(super) ingress: Ingress,
    pub(super) chain: Chain,
    pub(super) interval: Duration,
}

/// The programs on a device; dropping it detaches them.
pub(super) struct OnDevice {
    index: u32,
    counted: Rc<RefCell<Counted>>,
    /// None once they are detached.
    guard: Option<Guard>,
    /// As it was when they were detached.
    last: Tally,
    last_packets: Option<u64>,
}

/// Whether a device can be watched in this way, as far as it tells itself.
///
/// # Errors
/// Why not.
pub(super) fn check(device: &Device, ingress: Ingress) -> Result<(), SourceError> {
    if ingress == Ingress::Xdp && Kind::of(device)? == Kind::Tunnel {
        let why = format!("not on a tunnel, which {} is; use --hook tc", device.name);
        return Err(SourceError::failed("--hook xdp", why));
    }
    Ok(())
}

impl OnDevice {
    /// Attaches the programs.
    ///
    /// # Errors
    /// [`SourceError::Unsupported`] where this kernel cannot; others where something else is wrong.
    pub(super) fn open(device: &Device, way: &Way) -> Result<Self, SourceError> {
        let Way { programs, counted, ingress, chain, interval } = way;
        check(device, *ingress)?;
        // Another device may have had its index.
        counted.borrow_mut().forget(device.index);
        let attachment = Attachment::new(Rc::clone(programs), device, *ingress, *chain)?;
        let guard = Guard::new(attachment, device, Rc::clone(counted), *interval)
            .map_err(|error| load::refusal("keeping the programs attached", error))?;
        Ok(Self {
            index: device.index,
            counted: Rc::clone(counted),
            guard: Some(guard),
            last: Tally::default(),
            last_packets: None,
        })
    }

    /// How the programs are attached, in words.
    pub(super) fn describe(&self) -> String {
        self.guard.as_ref().map_or_else(String::new, Guard::describe)
    }
}

impl Attached for OnDevice {
    async fn keep(&mut self) -> SourceError {
        match &mut self.guard {
            Some(guard) => guard.keep().await,
            None => std::future::pending().await,
        }
    }

    async fn end(&mut self) -> Result<(), SourceError> {
        self.last = self.tally();
        let Some(guard) = self.guard.take() else { return Ok(()) };
        let detached = guard.detach();
        self.last_packets = self.counted.borrow().passed(self.index);
        detached
    }

    fn tally(&self) -> Tally {
        let taken_away = self.guard.as_ref().map(Guard::reattached);
        taken_away.map_or(self.last, |taken_away| Tally { taken_away, dropped: 0 })
    }

    fn packets(&self) -> Option<u64> {
        match self.guard {
            Some(_) => self.counted.borrow().passed(self.index),
            None => self.last_packets,
        }
    }
}
