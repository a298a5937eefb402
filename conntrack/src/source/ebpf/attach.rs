//! Putting the programs into both directions of a device's packet path, and taking them out again.
//!
//! Leaving packets are always seen at TC, arriving ones at TC or XDP. At TC it is TCX (Linux 6.6)
//! first, whose links go with our process, however that ends; else filters on a clsact qdisc, which
//! stay behind when we are killed (see [`super::clsact`]). XDP's links go with our process.

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
        tc::{NlOptions, TcAttachOptions},
    },
};
use rustix::io::Errno;

use super::{clsact::Clsact, load};
use crate::{host::device::Device, source::SourceError};

/// The ways into a device's TC path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chain {
    /// TCX, or clsact where the kernel has no TCX. It is tried, not told by the version: a kernel
    /// can be built without.
    #[default]
    Auto,
    /// TCX or an error.
    Tcx,
    /// A clsact qdisc or an error.
    Clsact,
}

/// Where arriving packets are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ingress {
    /// At TC, as leaving ones.
    #[default]
    Tc,
    /// At XDP.
    Xdp,
}

/// Attached programs; dropping it detaches them.
pub(super) struct Attachment {
    /// Holds the programs and their links.
    ebpf: Ebpf,
    clsact: Option<Clsact>,
    /// How XDP runs, if it does.
    xdp: Option<XdpMode>,
}

impl Attachment {
    pub(super) fn new(
        ebpf: Ebpf,
        device: &Device,
        ingress: Ingress,
        chain: Chain,
    ) -> Result<Self, SourceError> {
        let mut attachment = Self { ebpf, clsact: None, xdp: None };
        match attachment.attach(device, ingress, chain) {
            Ok(()) => Ok(attachment),
            Err(error) => {
                if let Err(left) = attachment.detach() {
                    log::warn!("{left}");
                }
                Err(error)
            }
        }
    }

    /// How the programs are attached, in words.
    pub(super) fn describe(&self) -> String {
        let tc = if self.clsact.is_some() { "clsact" } else { "TCX" };
        match self.xdp {
            None => format!("TC ({tc})"),
            Some(XdpMode::Driver) => format!("native XDP and TC ({tc})"),
            Some(_) => format!("generic XDP and TC ({tc})"),
        }
    }

    /// Detaches the programs, and removes the qdisc if we made it.
    pub(super) fn detach(self) -> Result<(), SourceError> {
        let Self { ebpf, clsact, xdp: _ } = self;
        drop(ebpf);
        clsact.map_or(Ok(()), Clsact::remove)
    }

    fn attach(
        &mut self,
        device: &Device,
        ingress: Ingress,
        chain: Chain,
    ) -> Result<(), SourceError> {
        let directions: &[TcAttachType] = match ingress {
            Ingress::Tc => &[TcAttachType::Ingress, TcAttachType::Egress],
            Ingress::Xdp => {
                self.xdp = Some(attach_xdp(load::xdp(&mut self.ebpf)?, device)?);
                &[TcAttachType::Egress]
            }
        };
        let classifier = load::classifier(&mut self.ebpf)?;
        match chain {
            Chain::Tcx => attach_tcx(classifier, device, directions),
            Chain::Clsact => attach_clsact(classifier, device, directions, &mut self.clsact),
            Chain::Auto => attach_tcx(classifier, device, directions).or_else(|error| {
                log::debug!("no TCX, trying clsact: {error}");
                attach_clsact(classifier, device, directions, &mut self.clsact)
            }),
        }
    }
}

/// First in the chain: what a program before us drops or redirects we would not see.
fn attach_tcx(
    classifier: &mut SchedClassifier,
    device: &Device,
    directions: &[TcAttachType],
) -> Result<(), SourceError> {
    for &direction in directions {
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        attached(classifier.attach_with_options(&device.kernel_name, direction, options))?;
    }
    Ok(())
}

fn attach_clsact(
    classifier: &mut SchedClassifier,
    device: &Device,
    directions: &[TcAttachType],
    prepared: &mut Option<Clsact>,
) -> Result<(), SourceError> {
    let clsact = prepared.insert(Clsact::prepare(device)?);
    for &direction in directions {
        // Priority 0 has the kernel choose one before all that are there.
        let options = NlOptions { priority: 0, handle: clsact.handle(), classid: None };
        let options = TcAttachOptions::Netlink(options);
        attached(classifier.attach_with_options(&device.kernel_name, direction, options))?;
    }
    Ok(())
}

/// Native where the driver has it, else generic. Only one program can be attached at a time; that of
/// somebody else stays.
fn attach_xdp(program: &mut Xdp, device: &Device) -> Result<XdpMode, SourceError> {
    let is_taken =
        |error: &ProgramError| matches!(load::errno(error), Some(Errno::BUSY | Errno::EXIST));
    let native = program.attach_to_if_index(device.index, XdpMode::Driver);
    let (mode, result) = match native {
        Err(error) if !is_taken(&error) => {
            log::debug!("{}: no native XDP: {error}", device.name);
            (XdpMode::Skb, program.attach_to_if_index(device.index, XdpMode::Skb))
        }
        native => (XdpMode::Driver, native),
    };
    match result {
        Err(error) if is_taken(&error) => {
            let why = format!("{} already has an XDP program; use --hook tc", device.name);
            Err(SourceError::failed("--hook xdp", why))
        }
        result => attached(result).map(|()| mode),
    }
}

fn attached<L>(result: Result<L, ProgramError>) -> Result<(), SourceError> {
    result.map(|_link| ()).map_err(|error| load::refusal("attaching the program", &error))
}
