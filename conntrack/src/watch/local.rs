//! The local addresses from batch to batch. That the kernel does not list them is said once an episode.

use std::{collections::BTreeSet, io, mem, net::IpAddr};

use crate::host::{
    address_events::AddressEvents,
    addresses::{AddressReader, LocalAddrs},
};

/// Local addresses, read again for each batch and when the kernel says that they changed.
pub(super) struct LocalAddresses {
    reader: AddressReader,
    last: BTreeSet<IpAddr>,
    /// Those that were local since then.
    meanwhile: BTreeSet<IpAddr>,
    /// The kernel did not list them when it was asked last.
    is_unknown: bool,
}

impl LocalAddresses {
    /// As they are now.
    ///
    /// # Errors
    /// The kernel's refusal to list them.
    pub(super) fn new(of: LocalAddrs) -> io::Result<Self> {
        let mut reader = AddressReader::new(of)?;
        let last = reader.current()?.unwrap_or_default();
        Ok(Self { reader, last, meanwhile: BTreeSet::new(), is_unknown: false })
    }

    /// Where addresses may change, the kernel tells when they do. Where it does not, they are read for each
    /// batch.
    pub(super) fn changes(&self) -> Option<AddressEvents> {
        if !self.reader.is_of_kernel() {
            return None;
        }
        let events = AddressEvents::new();
        events.inspect_err(|error| log::debug!("no events of addresses: {error}")).ok()
    }

    /// At the last batch.
    pub(super) const fn last(&self) -> &BTreeSet<IpAddr> {
        &self.last
    }

    /// Those of the batch that is going on. What is new is local at once, also if it is gone again before
    /// the next batch.
    pub(super) fn up_to_now(&mut self) -> BTreeSet<IpAddr> {
        if let Some(now) = self.current() {
            self.meanwhile.extend(now);
        }
        &self.last | &self.meanwhile
    }

    /// Those of a batch that is over now. Its packets were seen between the last reading and this one, so
    /// addresses of both count: removing an address must not reclassify flows already seen. A missing
    /// device keeps its addresses.
    pub(super) fn of_batch(&mut self) -> BTreeSet<IpAddr> {
        let now = self.current().unwrap_or_else(|| self.last.clone());
        let all = &(&self.last | &now) | &mem::take(&mut self.meanwhile);
        self.last = now;
        all
    }

    /// None where the device is missing or the kernel does not say.
    fn current(&mut self) -> Option<BTreeSet<IpAddr>> {
        let now = self.reader.current();
        let was_unknown = mem::replace(&mut self.is_unknown, now.is_err());
        match &now {
            Ok(_) if was_unknown => log::info!("the local addresses are read again"),
            Err(error) if !was_unknown => {
                log::warn!("cannot read the local addresses, keeping the previous ones: {error}");
            }
            _ => {}
        }
        now.ok().flatten()
    }
}
