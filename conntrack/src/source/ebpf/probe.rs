//! Trying what this kernel can do, without touching a device of the machine.

use std::{cell::RefCell, io, rc::Rc};

use nix::sched::{CloneFlags, unshare};

use super::{
    attach::{Attachment, Chain, Ingress},
    clsact,
    load::{self, Constants, Kind},
    path::TcPath,
    tc::Tc,
};
use crate::{
    host::{device::Device, thread::on_own_thread},
    source::SourceError,
};

/// Enough to try with.
const CONSTANTS: Constants = Constants { max_flows: 16, by_device: false, says: false };

/// Which ways of attaching work.
pub(crate) struct Hooks {
    pub(crate) tcx: Result<(), SourceError>,
    pub(crate) clsact: Result<(), SourceError>,
    /// With the way for leaving packets that works.
    pub(crate) xdp: Result<(), SourceError>,
}

/// What others have on the TC path of a device.
pub(crate) struct Others {
    /// The kind of the qdisc that stands in the place of clsact.
    pub(crate) qdisc: Option<String>,
    /// Filters that ours would come after, in words.
    pub(crate) before_us: Vec<String>,
}

/// Looks at what is on a device.
///
/// # Errors
/// That the kernel does not say.
pub(crate) fn others_on(device: &Device) -> io::Result<Others> {
    let mut tc = Tc::of(device)?;
    let qdisc = tc.qdisc_kind()?;
    let mut before_us = Vec::new();
    for path in TcPath::BOTH {
        let filters = tc.filters(path)?;
        let ours = clsact::priority_before(&filters);
        let before = filters.iter().filter(|it| it.chain == 0 && it.place.priority < ours);
        before_us.extend(before.map(ToString::to_string));
    }
    // A filter of kind u32 is listed with its tables.
    before_us.dedup();
    Ok(Others { qdisc, before_us })
}

/// Has the kernel take the program for the TC hook; it is gone again afterwards.
pub(crate) fn load() -> Result<(), SourceError> {
    load::classifier(&mut load::maps(CONSTANTS)?, Kind::Ethernet).map(drop)
}

/// Attaches the programs in each way to the loopback device of a network namespace that is made for it
/// and goes with the thread that does so.
///
/// # Errors
/// That no namespace can be made, which takes `CAP_SYS_ADMIN`, or no thread.
pub(crate) fn hooks() -> io::Result<Hooks> {
    on_own_thread(in_namespace)?
}

fn in_namespace() -> io::Result<Hooks> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    Ok(Hooks {
        tcx: attach(Ingress::Tc, Chain::Tcx),
        clsact: attach(Ingress::Tc, Chain::Clsact),
        xdp: attach(Ingress::Xdp, Chain::Auto),
    })
}

fn attach(ingress: Ingress, chain: Chain) -> Result<(), SourceError> {
    let device = Device::find("lo")?;
    let ebpf = Rc::new(RefCell::new(load::maps(CONSTANTS)?));
    Attachment::new(ebpf, &device, ingress, chain)?.detach()
}
