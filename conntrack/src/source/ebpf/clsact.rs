//! The clsact qdisc that TC filters hang on before TCX: made where it is missing, removed if it is
//! ours and nobody else uses it, cleaned of what a killed run left.
//!
//! Whose a filter is, its handle says: a number that its owner holds as the name of an abstract unix
//! socket (unix(7)). Such a name is of the network namespace that the device is in, whatever the
//! process ids there, and goes with its process. So a filter whose name is free was left behind. The
//! handle says too whether one of us made the qdisc; whoever goes last removes it.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
};

use aya::programs::{
    Link as _, TcAttachType,
    tc::{self, SchedClassifierLink, TcError, TcHandle},
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcHandle as Handle, TcHeader, TcMessage},
};
use rustix::io::Errno;

use super::load;
use crate::{
    host::{
        device::{self, Device},
        netlink::{Connection, Reply, attributes, text},
    },
    source::SourceError,
};

/// Attributes of a filter (`include/uapi/linux/rtnetlink.h`, `pkt_cls.h`).
mod attribute {
    pub(super) const OPTIONS: u16 = 2;
    /// Within the options.
    pub(super) const BPF_NAME: u16 = 7;
}

/// Length of `struct tcmsg`, behind which the attributes are.
const HEADER: usize = 20;

/// In a handle: one of us made the qdisc.
const MADE_QDISC: u32 = 1 << 31;

/// The clsact qdisc of a device, with a claim on a handle for filters on it.
pub(super) struct Clsact {
    device: Device,
    made_by_us: bool,
    claim: Claim,
}

impl Clsact {
    /// Makes the qdisc if it is missing and removes filters of runs that are no more.
    pub(super) fn prepare(device: &Device) -> Result<Self, SourceError> {
        let (device, claim) = (device.clone(), Claim::new().map_err(|error| failed(&error))?);
        match tc::qdisc_add_clsact(&device.kernel_name) {
            Ok(()) => Ok(Self { device, made_by_us: true, claim }),
            Err(error) if is_there(&error) => {
                let made_by_us = take_over(&device)?;
                Ok(Self { device, made_by_us, claim })
            }
            Err(error) => Err(load::refusal("making a clsact qdisc", &error)),
        }
    }

    /// The handle for our filters.
    pub(super) fn handle(&self) -> TcHandle {
        TcHandle::from(self.claim.number | if self.made_by_us { MADE_QDISC } else { 0 })
    }

    /// Removes the qdisc, once our filters are gone: only if one of us made it, and only if no other
    /// filter hangs on it, for that would go with it.
    pub(super) fn remove(self) -> Result<(), SourceError> {
        if !self.made_by_us {
            return Ok(());
        }
        let mut connection = Connection::to_route().map_err(|error| failed(&error))?;
        let index = device::index(&mut connection, &self.device.name);
        if index.map_err(|error| failed(&error))? != Some(self.device.index) {
            return Ok(());
        }
        if !filters(&self.device).map_err(|error| failed(&error))?.is_empty() {
            log::info!("{}: the clsact qdisc stays, others use it", self.device.name);
            return Ok(());
        }
        let command =
            RouteNetlinkMessage::DelQueueDiscipline(message(&self.device, Handle::CLSACT));
        match connection.command(command, 0) {
            // Somebody else has removed it.
            Err(error) if is_gone(&error) => Ok(()),
            removed => {
                removed.map_err(|error| SourceError::failed("removing the clsact qdisc", error))
            }
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

/// A filter on a device.
struct Filter {
    direction: TcAttachType,
    priority: u16,
    handle: u32,
    is_ours: bool,
}

impl Filter {
    /// Ours, and its owner is no more.
    fn is_left_behind(&self) -> bool {
        self.is_ours && bind(self.handle & !MADE_QDISC).is_ok()
    }
}

/// Removes the filters that were left behind; whether one of ours, dead or alive, says that one of
/// us made the qdisc.
fn take_over(device: &Device) -> Result<bool, SourceError> {
    let filters = filters(device).map_err(|error| failed(&error))?;
    for filter in filters.iter().filter(|filter| filter.is_left_behind()) {
        log::info!("{}: removing a filter that an earlier run left behind", device.name);
        let (direction, handle) = (filter.direction, TcHandle::from(filter.handle));
        SchedClassifierLink::attached(
            &device.kernel_name,
            direction,
            filter.priority,
            handle,
            None,
        )
        .map_err(|error| failed(&error))?
        .detach()
        .map_err(|error| SourceError::failed("removing an old filter", error))?;
    }
    Ok(filters.iter().any(|filter| filter.is_ours && filter.handle & MADE_QDISC != 0))
}

/// All filters on both sides of the qdisc; none where there is no qdisc.
fn filters(device: &Device) -> io::Result<Vec<Filter>> {
    let sides =
        [(TcAttachType::Ingress, Handle::MIN_INGRESS), (TcAttachType::Egress, Handle::MIN_EGRESS)];
    let mut connection = Connection::to_route()?;
    let mut filters = Vec::new();
    for (direction, minor) in sides {
        let parent = Handle { major: Handle::CLSACT.major, minor };
        let question = RouteNetlinkMessage::GetTrafficFilter(message(device, parent));
        match connection.dump(&question) {
            Err(error) if is_gone(&error) => {}
            answers => {
                filters.extend(answers?.iter().filter_map(|answer| filter(answer, direction)));
            }
        }
    }
    Ok(filters)
}

/// The kernel lists each chain's head too, with handle 0 and without options.
fn filter(answer: &Reply, direction: TcAttachType) -> Option<Filter> {
    let header = TcHeader::parse(&answer.payload).ok()?;
    let handle = u32::from(header.handle);
    if handle == 0 {
        return None;
    }
    let options = answer.attributes(HEADER).filter(|(kind, _)| *kind == attribute::OPTIONS);
    let is_ours = options
        .flat_map(|(_, options)| attributes(options))
        .any(|(kind, value)| kind == attribute::BPF_NAME && text(value) == load::CLASSIFIER);
    // The upper half of tcm_info; the lower is the protocol.
    let priority = (header.info >> 16) as u16;
    Some(Filter { direction, priority, handle, is_ours })
}

fn message(device: &Device, parent: Handle) -> TcMessage {
    let mut message = TcMessage::with_index(i32::try_from(device.index).unwrap_or(i32::MAX));
    message.header.parent = parent;
    message
}

fn is_there(error: &TcError) -> bool {
    let TcError::NetlinkError(error) = error else { return false };
    error.raw_os_error() == Some(Errno::EXIST.raw_os_error())
}

/// What the kernel says of a qdisc or a device that is no more.
fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::INVAL | Errno::NODEV))
}

fn failed(error: &io::Error) -> SourceError {
    SourceError::failed("asking for the device's TC filters", error)
}
