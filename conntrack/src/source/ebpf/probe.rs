//! Trying what this kernel can do, without touching a device of the machine.

use std::io;

use conntrack_common::wire::LinkLayer;
use nix::sched::{CloneFlags, unshare};

use super::{
    attach::{Attachment, Chain, Ingress},
    load,
};
use crate::{
    host::{device::Device, thread::on_own_thread},
    source::SourceError,
};

/// Enough to try with.
const FLOWS: u32 = 16;

/// Which ways of attaching work.
pub(crate) struct Hooks {
    pub(crate) tcx: Result<(), SourceError>,
    pub(crate) clsact: Result<(), SourceError>,
    /// With the way for leaving packets that works.
    pub(crate) xdp: Result<(), SourceError>,
}

/// Has the kernel take the program for the TC hook; it is gone again afterwards.
pub(crate) fn load() -> Result<(), SourceError> {
    let mut ebpf = load::maps(LinkLayer::Ethernet, false, FLOWS)?;
    load::load_classifier(&mut ebpf)
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
    let ebpf = load::maps(device.link_layer()?, false, FLOWS)?;
    Attachment::new(ebpf, &device, ingress, chain)?.detach()
}
