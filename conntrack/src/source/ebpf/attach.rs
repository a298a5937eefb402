//! Putting the classifier into both directions of a device's packet path, and taking it out again.
//!
//! TCX (Linux 6.6) first: its links go with our process, however that ends. Else filters on a
//! clsact qdisc, which stay behind when we are killed; see [`super::clsact`].

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, TcAttachType,
        tc::{NlOptions, TcAttachOptions},
    },
};

use super::{clsact::Clsact, load};
use crate::{device::Device, source::SourceError};

/// The ways into a device's packet path.
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

/// Attached programs; dropping it detaches them.
pub(super) struct Attachment {
    /// Holds the program and its links.
    ebpf: Ebpf,
    clsact: Option<Clsact>,
}

const BOTH: [TcAttachType; 2] = [TcAttachType::Ingress, TcAttachType::Egress];

impl Attachment {
    pub(super) fn new(ebpf: Ebpf, device: &Device, chain: Chain) -> Result<Self, SourceError> {
        let mut attachment = Self { ebpf, clsact: None };
        let attached = match chain {
            Chain::Tcx => attachment.attach_tcx(device),
            Chain::Clsact => attachment.attach_clsact(device),
            Chain::Auto => attachment.attach_tcx(device).or_else(|error| {
                log::debug!("no TCX, trying clsact: {error}");
                attachment.attach_clsact(device)
            }),
        };
        match attached {
            Ok(()) => Ok(attachment),
            Err(error) => {
                if let Err(left) = attachment.detach() {
                    log::warn!("{left}");
                }
                Err(error)
            }
        }
    }

    pub(super) fn describe(&self) -> &'static str {
        if self.clsact.is_some() { "TC (clsact)" } else { "TC (TCX)" }
    }

    /// Detaches the programs, and removes the qdisc if we made it.
    pub(super) fn detach(self) -> Result<(), SourceError> {
        let Self { ebpf, clsact } = self;
        drop(ebpf);
        clsact.map_or(Ok(()), Clsact::remove)
    }

    /// First in the chain: what a program before us drops or redirects we would not see.
    fn attach_tcx(&mut self, device: &Device) -> Result<(), SourceError> {
        for direction in BOTH {
            let options = TcAttachOptions::TcxOrder(LinkOrder::first());
            self.attach(device, direction, options)?;
        }
        Ok(())
    }

    fn attach_clsact(&mut self, device: &Device) -> Result<(), SourceError> {
        let clsact = Clsact::prepare(device)?;
        let handle = clsact.handle();
        self.clsact = Some(clsact);
        for direction in BOTH {
            // Priority 0 has the kernel choose one before all that are there.
            let options = NlOptions { priority: 0, handle, classid: None };
            self.attach(device, direction, TcAttachOptions::Netlink(options))?;
        }
        Ok(())
    }

    fn attach(
        &mut self,
        device: &Device,
        direction: TcAttachType,
        options: TcAttachOptions,
    ) -> Result<(), SourceError> {
        let attached =
            load::classifier(&mut self.ebpf)?.attach_with_options(&device.name, direction, options);
        let attached: Result<_, ProgramError> = attached;
        attached.map(|_link| ()).map_err(|error| load::refusal("attaching the program", &error))
    }
}
