//! Our program as filters on a clsact qdisc, for kernels before TCX: the qdisc is made where it is
//! missing, removed if one of us made it and nobody else uses it, and cleaned of what a killed run left.
//!
//! A filter is ours if its name says the tag of its program, which the kernel computes from the program's
//! instructions. Whose of us, its handle says: a number that its owner holds as the name of an abstract
//! unix socket (unix(7)). Such a name is of the network namespace that the device is in, whatever the
//! process ids there, and goes with its process. So a filter whose name is free was left behind. The
//! handle says too whether one of us made the qdisc; the last one removes it.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    io,
    os::{
        fd::AsFd as _,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
};

use aya::programs::SchedClassifier;
use rustix::io::Errno;

use super::{
    load,
    path::TcPath,
    tc::{self, Filter, Place, Program, Tag, Tc},
};
use crate::{host::device::Device, source::SourceError};

/// In a handle: one of us made the qdisc.
const MADE_QDISC: u32 = 1 << 31;

/// Our priority where there are no other filters. Low, so that most come after it; not the lowest, so
/// that there is room before it; and no round number, for the kernel refuses filters of another kind
/// with the same priority.
const PRIORITY: u16 = 23;

/// Our filters on a device, with a claim on a handle for them. Dropping it removes them.
pub(super) struct Clsact {
    device: Device,
    tc: Tc,
    claim: Claim,
    made_by_us: bool,
    program: u32,
    name: String,
    places: Vec<Place>,
}

impl Clsact {
    /// Attaches the program in each path; all or nothing.
    ///
    /// # Errors
    /// [`SourceError::Unsupported`] where there can be no clsact qdisc.
    pub(super) fn new(
        classifier: &SchedClassifier,
        device: &Device,
        paths: &[TcPath],
    ) -> Result<Self, SourceError> {
        let info =
            classifier.info().map_err(|error| load::refusal("asking for the program", error))?;
        let mut clsact = Self {
            device: device.clone(),
            tc: Tc::of(device).map_err(failed)?,
            claim: Claim::new().map_err(failed)?,
            made_by_us: false,
            program: info.id(),
            name: name_of(info.tag().to_be_bytes()),
            places: Vec::new(),
        };
        clsact.prepare()?;
        for &path in paths {
            clsact.place(classifier, path)?;
        }
        Ok(clsact)
    }

    /// Where our filters are.
    pub(super) fn paths(&self) -> Vec<TcPath> {
        self.places.iter().map(|place| place.path).collect()
    }

    /// The paths in which our filter is missing, or somebody put another program into it.
    ///
    /// # Errors
    /// That the kernel does not say.
    pub(super) fn missing(&mut self) -> io::Result<Vec<TcPath>> {
        let mut missing = Vec::new();
        for place in self.places.clone() {
            if !self.is_there(place)? {
                missing.push(place.path);
            }
        }
        Ok(missing)
    }

    /// Attaches the program again where it is missing.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(super) fn restore(
        &mut self,
        classifier: &SchedClassifier,
        missing: &[TcPath],
    ) -> Result<(), SourceError> {
        if missing.len() == self.places.len() {
            // The qdisc may be another one.
            self.made_by_us = false;
            self.prepare()?;
        }
        for &path in missing {
            self.place(classifier, path)?;
        }
        Ok(())
    }

    /// Puts our filter before those of others; whether that changed anything.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(super) fn put_first(
        &mut self,
        classifier: &SchedClassifier,
        path: TcPath,
    ) -> Result<bool, SourceError> {
        let ours = self.places.iter().find(|place| place.path == path);
        let Some(priority) = ours.map(|place| place.priority) else { return Ok(false) };
        let filters = self.tc.filters(path).map_err(failed)?;
        if self.before_us(path).map_err(failed)?.is_empty() || priority_before(&filters) >= priority
        {
            return Ok(false);
        }
        self.place(classifier, path).map(|()| true)
    }

    /// The filters that are asked before ours.
    ///
    /// # Errors
    /// That the kernel does not say.
    pub(super) fn before_us(&mut self, path: TcPath) -> io::Result<Vec<Filter>> {
        let filters = self.tc.filters(path)?;
        let is_ours = |filter: &Filter| self.places.contains(&filter.place);
        // The kernel lists them in the order in which they are asked.
        let before = filters.into_iter().take_while(|filter| !is_ours(filter));
        Ok(before.filter(|it| it.chain == 0 && !is_one_of_ours(it)).collect())
    }

    /// Removes the filters, and the qdisc if one of us made it and no other filter hangs on it, for
    /// that would go with it.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn remove(mut self) -> Result<(), SourceError> {
        self.clear().map_err(|error| SourceError::caused_by("removing our TC filters", error))
    }

    /// Makes the qdisc if it is missing, and removes filters of runs that are no more.
    fn prepare(&mut self) -> Result<(), SourceError> {
        match self.tc.add_qdisc() {
            Ok(()) => self.made_by_us = true,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => {
                let kind = self.tc.qdisc_kind().map_err(failed)?;
                if kind.as_deref() != Some("clsact") {
                    return Err(self.no_room_beside(kind.as_deref().unwrap_or("another")));
                }
                self.made_by_us = self.take_over().map_err(failed)?;
            }
            Err(error) => return Err(load::refusal("making a clsact qdisc", error)),
        }
        Ok(())
    }

    /// An `ingress` qdisc stands in the same place, and takes filters for leaving packets as if they
    /// were for arriving ones.
    fn no_room_beside(&self, kind: &str) -> SourceError {
        let name = &self.device.name;
        SourceError::unsupported(format!(
            "{name} has a qdisc of the kind `{kind}` in the place of clsact, so leaving packets cannot \
             be seen there; TCX (Linux 6.6) works beside it, and `tc qdisc delete dev {name} {kind}` \
             removes it"
        ))
    }

    /// Removes the filters that were left behind; whether one of ours, dead or alive, says that one of
    /// us made the qdisc.
    fn take_over(&mut self) -> io::Result<bool> {
        let mut made_by_us = false;
        for path in TcPath::BOTH {
            for filter in self.tc.filters(path)?.iter().filter(|it| is_one_of_ours(it)) {
                made_by_us |= filter.place.handle & MADE_QDISC != 0;
                if is_left_behind(filter) {
                    let name = &self.device.name;
                    log::info!("{name}: removing a filter that an earlier run left behind");
                    self.tc.delete(filter.place)?;
                }
            }
        }
        Ok(made_by_us)
    }

    /// Attaches the program before all other filters, if there is room, and takes it away from where it
    /// was.
    fn place(&mut self, classifier: &SchedClassifier, path: TcPath) -> Result<(), SourceError> {
        let filters = self.tc.filters(path).map_err(failed)?;
        let handle = self.claim.number | if self.made_by_us { MADE_QDISC } else { 0 };
        let priority = priority_before(&filters);
        let place = Place { path, priority, handle };
        let program = classifier.fd().map_err(|error| load::refusal("the TC program", error))?;
        let added = self.tc.add(place, program.as_fd(), &self.name);
        added.map_err(|error| load::refusal("adding a TC filter", error))?;
        let old: Vec<_> = self.places.extract_if(.., |old| old.path == path).collect();
        self.places.push(place);
        for old in old.into_iter().filter(|old| *old != place) {
            self.delete(old).map_err(failed)?;
        }
        Ok(())
    }

    /// Deletes a filter of ours; whether it was there, and with our program in it.
    fn delete(&mut self, place: Place) -> io::Result<bool> {
        Ok(self.is_there(place)? && self.tc.delete(place)?)
    }

    fn is_there(&mut self, place: Place) -> io::Result<bool> {
        let program = self.tc.filter(place)?.and_then(|filter| filter.program);
        Ok(program.is_some_and(|program| program.id == self.program))
    }

    fn clear(&mut self) -> io::Result<()> {
        let mut were_there = false;
        // Arriving packets first, as in `Attachment::detach`.
        for place in std::mem::take(&mut self.places).into_iter().rev() {
            were_there |= self.delete(place)?;
        }
        // Where none was there any more, the qdisc may be another one.
        if !self.made_by_us || !were_there {
            return Ok(());
        }
        for path in TcPath::BOTH {
            if !self.tc.filters(path)?.is_empty() {
                log::info!("{}: the clsact qdisc stays, others use it", self.device.name);
                return Ok(());
            }
        }
        match self.tc.delete_qdisc() {
            // Somebody else has removed it.
            Err(error) if tc::is_gone(&error) => Ok(()),
            deleted => deleted,
        }
    }
}

impl Drop for Clsact {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            log::warn!("{}: our TC filters stay: {error}", self.device.name);
        }
    }
}

/// A number that is ours as long as this lives.
struct Claim {
    number: u32,
    _name: UnixListener,
}

impl Claim {
    fn new() -> io::Result<Self> {
        loop {
            // Random by the standard library's seed; 0 would have the kernel choose a handle.
            let random = RandomState::new().hash_one(());
            let number = u32::try_from(random >> 33).unwrap_or_default().max(1);
            match bind(number) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                bound => return Ok(Self { number, _name: bound? }),
            }
        }
    }
}

fn bind(number: u32) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(format!("conntrack-tc-{number:08x}"))?)
}

/// The name of a filter that runs a program with this tag.
fn name_of(tag: Tag) -> String {
    format!("conntrack-{:016x}", u64::from_be_bytes(tag))
}

/// Whether it is of this program, of any version and run.
fn is_one_of_ours(filter: &Filter) -> bool {
    let program = filter.program.as_ref();
    program.is_some_and(|Program { name, tag, .. }| *name == name_of(*tag))
}

/// Its owner is no more.
fn is_left_behind(filter: &Filter) -> bool {
    bind(filter.place.handle & !MADE_QDISC).is_ok()
}

/// A priority with which a filter of ours is asked before these, or if there is none, as early as can
/// be. Among filters of the same kind and priority the newest is asked first.
pub(super) fn priority_before(filters: &[Filter]) -> u16 {
    let in_chain = || filters.iter().filter(|filter| filter.chain == 0);
    let first = in_chain().map(|filter| filter.place.priority).min();
    let Some(first) = first else { return PRIORITY };
    if first > 1 {
        return PRIORITY.min(first - 1);
    }
    let is_free = |priority: &u16| {
        in_chain().filter(|it| it.place.priority == *priority).all(Filter::shares_its_priority)
    };
    (1..u16::MAX).find(is_free).unwrap_or(u16::MAX)
}

fn failed(error: io::Error) -> SourceError {
    load::refusal("asking for the device's TC filters", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(priority: u16, kind: &str) -> Filter {
        Filter {
            place: Place { path: TcPath::Ingress, priority, handle: 1 },
            kind: kind.to_owned(),
            chain: 0,
            is_for_any_protocol: true,
            program: None,
        }
    }

    #[test]
    fn ours_comes_before_others_where_there_is_room() {
        for (others, ours) in [
            (vec![], PRIORITY),
            (vec![filter(49_152, "flower")], PRIORITY),
            (vec![filter(PRIORITY, "flower")], PRIORITY - 1),
            (vec![filter(2, "flower"), filter(1000, "u32")], 1),
            // At the first place: beside one of our kind, else behind.
            (vec![filter(1, "bpf")], 1),
            (vec![filter(1, "matchall"), filter(2, "u32"), filter(4, "u32")], 3),
            (vec![filter(1, "matchall"), filter(2, "bpf")], 2),
        ] {
            assert_eq!(priority_before(&others), ours, "{others:?}");
        }
    }

    #[test]
    fn a_filter_for_one_protocol_or_in_another_chain_is_told_apart() {
        let one_protocol = Filter { is_for_any_protocol: false, ..filter(1, "bpf") };
        assert_eq!(priority_before(&[one_protocol]), 2);
        let elsewhere = Filter { chain: 7, ..filter(1, "matchall") };
        assert_eq!(priority_before(&[elsewhere]), PRIORITY);
    }

    #[test]
    fn only_a_name_that_says_its_program_s_tag_is_ours() {
        let tag = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        let named = |name: &str| {
            let program = Program { name: name.to_owned(), tag, id: 1 };
            is_one_of_ours(&Filter { program: Some(program), ..filter(1, "bpf") })
        };
        assert!(named("conntrack-0123456789abcdef"));
        assert!(!named("conntrack"));
        assert!(!named("conntrack-0000000000000000"));
        assert!(!is_one_of_ours(&filter(1, "bpf")));
    }
}
