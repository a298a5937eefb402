//! The clsact qdisc that TC filters hang on before TCX: made where it is missing, removed if we
//! made it and nobody else uses it, cleaned of what a killed run left.
//!
//! Whose a filter is stands in its handle: the process id of its owner, and whether that made the
//! qdisc. So the next start can tell a filter that was left behind from one that is in use.

use std::{fs, io, path::Path, process};

use aya::programs::{
    Link as _, TcAttachType,
    tc::{self, SchedClassifierLink, TcError, TcHandle},
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcFilterBpfOption, TcHandle as Handle, TcMessage, TcOption},
};
use rustix::io::Errno;

use super::load;
use crate::{device::Device, netlink, source::SourceError};

/// Above all process ids: `PID_MAX_LIMIT` is 2^22 (`include/linux/threads.h`).
const MADE_QDISC: u32 = 1 << 31;

/// The clsact qdisc of a device.
pub(super) struct Clsact {
    device: Device,
    made_by_us: bool,
}

impl Clsact {
    /// Makes the qdisc if it is missing and removes filters of runs that are no more.
    pub(super) fn prepare(device: &Device) -> Result<Self, SourceError> {
        let device = device.clone();
        match tc::qdisc_add_clsact(&device.name) {
            Ok(()) => Ok(Self { device, made_by_us: true }),
            Err(error) if is_there(&error) => {
                let made_by_us = remove_left_behind(&device)?;
                Ok(Self { device, made_by_us })
            }
            Err(error) => Err(load::refusal("making a clsact qdisc", &error)),
        }
    }

    /// The handle for our filters.
    pub(super) fn handle(&self) -> TcHandle {
        TcHandle::from(process::id() | if self.made_by_us { MADE_QDISC } else { 0 })
    }

    /// Removes the qdisc, once our filters are gone: only if we made it, and only if no other
    /// filter hangs on it, for that would go with it.
    pub(super) fn remove(self) -> Result<(), SourceError> {
        if !self.made_by_us || !self.device.is_there() {
            return Ok(());
        }
        if !filters(&self.device).map_err(|error| failed(&error))?.is_empty() {
            log::info!("{}: the clsact qdisc stays, others use it", self.device.name);
            return Ok(());
        }
        let command =
            RouteNetlinkMessage::DelQueueDiscipline(message(&self.device, Handle::CLSACT));
        netlink::command(command).map_err(|error| failed(&error))
    }
}

/// A BPF filter on a device.
struct Filter {
    direction: TcAttachType,
    priority: u16,
    handle: u32,
    is_ours: bool,
}

impl Filter {
    const fn owner(&self) -> u32 {
        self.handle & !MADE_QDISC
    }

    /// Ours by its name, and its owner is no process of this program any more.
    fn is_left_behind(&self) -> bool {
        self.is_ours && (self.owner() == process::id() || !is_running(self.owner()))
    }
}

/// Whether one of the removed filters' owners had made the qdisc.
fn remove_left_behind(device: &Device) -> Result<bool, SourceError> {
    let mut made_qdisc = false;
    for filter in filters(device).map_err(|error| failed(&error))? {
        if filter.is_left_behind() {
            log::info!("{}: removing a filter that an earlier run left behind", device.name);
            let handle = TcHandle::from(filter.handle);
            SchedClassifierLink::attached(
                &device.name,
                filter.direction,
                filter.priority,
                handle,
                None,
            )
            .map_err(|error| failed(&error))?
            .detach()
            .map_err(|error| SourceError::failed("removing an old filter", error))?;
            made_qdisc |= filter.handle & MADE_QDISC != 0;
        }
    }
    Ok(made_qdisc)
}

/// All filters on both sides of the qdisc.
fn filters(device: &Device) -> io::Result<Vec<Filter>> {
    let sides =
        [(TcAttachType::Ingress, Handle::MIN_INGRESS), (TcAttachType::Egress, Handle::MIN_EGRESS)];
    let mut filters = Vec::new();
    for (direction, minor) in sides {
        let parent = Handle { major: Handle::CLSACT.major, minor };
        let question = RouteNetlinkMessage::GetTrafficFilter(message(device, parent));
        let answers = netlink::dump(question)?;
        filters.extend(answers.into_iter().filter_map(|answer| filter(answer, direction)));
    }
    Ok(filters)
}

/// The kernel lists each chain's head too, with handle 0 and without options.
fn filter(answer: RouteNetlinkMessage, direction: TcAttachType) -> Option<Filter> {
    let RouteNetlinkMessage::NewTrafficFilter(message) = answer else { return None };
    let handle = u32::from(message.header.handle);
    if handle == 0 {
        return None;
    }
    let is_ours = message.attributes.iter().any(|attribute| match attribute {
        TcAttribute::Options(options) => options.iter().any(|option| match option {
            TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => name == load::CLASSIFIER,
            _ => false,
        }),
        _ => false,
    });
    // The upper half of tcm_info; the lower is the protocol.
    let priority = (message.header.info >> 16) as u16;
    Some(Filter { direction, priority, handle, is_ours })
}

fn message(device: &Device, parent: Handle) -> TcMessage {
    let mut message = TcMessage::with_index(i32::try_from(device.index).unwrap_or(i32::MAX));
    message.header.parent = parent;
    message
}

/// Whether a process with this id runs this program.
fn is_running(pid: u32) -> bool {
    let name = |pid: &str| fs::read_to_string(Path::new("/proc").join(pid).join("comm")).ok();
    name(&pid.to_string()).is_some_and(|other| Some(other) == name("self"))
}

fn is_there(error: &TcError) -> bool {
    let TcError::NetlinkError(error) = error else { return false };
    error.raw_os_error() == Some(Errno::EXIST.raw_os_error())
}

fn failed(error: &io::Error) -> SourceError {
    SourceError::failed("asking for the device's TC filters", error)
}
