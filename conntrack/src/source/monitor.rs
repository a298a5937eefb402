//! Whether a device is still the one that is watched, asked again and again: the name that it was asked
//! for leads to the same index, and its frames start with the same header.
//!
//! Sources ask at least once a second, also where their batches are due less often: a device that went
//! takes along whatever was attached to it, and the kernel tells nobody.

use std::{io, time::Duration};

use tokio::time::Interval;

use super::{SourceError, ticks};
use crate::host::{
    device::{Device, State},
    netlink::Connection,
};

/// How long a change may go unnoticed at most.
const UNNOTICED: Duration = Duration::from_secs(1);

/// Asks for one device. The socket to ask with is kept: it goes on when there are no descriptors left.
pub(super) struct Monitor {
    device: Device,
    connection: Connection,
    ticks: Interval,
    is_down: bool,
    /// The kernel did not say when it was asked last.
    is_unknown: bool,
}

impl Monitor {
    /// Asks for the device once an interval, and at least once a second.
    pub(super) fn new(device: &Device, interval: Duration) -> io::Result<Self> {
        Ok(Self {
            device: device.clone(),
            connection: Connection::to_route()?,
            ticks: ticks(interval.min(UNNOTICED)),
            is_down: false,
            is_unknown: false,
        })
    }

    /// The device, as it was when it was opened.
    pub(super) const fn device(&self) -> &Device {
        &self.device
    }

    /// Waits until it is time to ask; how the device is then, or `None` where the kernel does not say.
    ///
    /// # Errors
    /// [`SourceError::DeviceGone`] if another device has its name now, or none.
    pub(super) async fn next(&mut self) -> Result<Option<State>, SourceError> {
        self.ticks.tick().await;
        self.look()
    }

    /// How the device is now.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub(super) fn look(&mut self) -> Result<Option<State>, SourceError> {
        match State::of(&mut self.connection, &self.device.name) {
            Ok(Some(state)) if state.device.is(&self.device) => {
                self.is_unknown = false;
                self.tell_if_down(&state);
                Ok(Some(state))
            }
            Ok(_another) => Err(SourceError::DeviceGone(self.device.name.clone())),
            Err(error) => {
                if !self.is_unknown {
                    let name = &self.device.name;
                    log::warn!("cannot ask whether {name} is still watched, going on: {error}");
                }
                self.is_unknown = true;
                Ok(None)
            }
        }
    }

    /// Once for each time that it goes down or up.
    fn tell_if_down(&mut self, state: &State) {
        let name = &self.device.name;
        match (self.is_down, state.is_up) {
            (false, false) => log::warn!("{name} is down: nothing is seen until it is up"),
            (true, true) => log::info!("{name} is up"),
            _ => {}
        }
        self.is_down = !state.is_up;
    }
}
