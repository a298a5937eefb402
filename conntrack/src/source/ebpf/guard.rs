//! Keeps the programs attached: everything that was attached is looked for again and again.

use std::{io, time::Duration};

use super::{attach::Attachment, drain::Drain};
use crate::{
    host::device::Device,
    source::{SourceError, monitor::Monitor},
};

/// Attached programs, and what looks after them. Dropping it detaches them.
pub(super) struct Guard {
    attachment: Attachment,
    monitor: Monitor,
}

impl Guard {
    /// Looks after programs that are attached to the device, at least once an interval.
    pub(super) fn new(
        attachment: Attachment,
        device: &Device,
        interval: Duration,
    ) -> io::Result<Self> {
        Ok(Self { attachment, monitor: Monitor::new(device, interval)? })
    }

    /// How the programs are attached, in words.
    pub(super) fn describe(&self) -> String {
        self.attachment.describe()
    }

    /// Detaches the programs.
    pub(super) fn detach(self) -> Result<(), SourceError> {
        self.attachment.detach()
    }

    /// Looks after the programs, until something is wrong that cannot be mended here.
    ///
    /// Nothing is forgotten if the future is dropped before it is ready.
    pub(super) async fn keep(&mut self, _drain: &Drain) -> SourceError {
        loop {
            if let Err(error) = self.monitor.next().await {
                return error;
            }
        }
    }
}
