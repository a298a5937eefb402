//! Our program on a device's TCX hooks (Linux 6.6): each held by a link, which goes with our process,
//! however that ends.

use std::io;

use aya::programs::{
    LinkOrder, SchedClassifier,
    links::FdLink,
    tc::{SchedClassifierLink, TcAttachOptions},
};

use super::{
    load,
    path::TcPath,
    query::{self, Attached},
};
use crate::{host::device::Device, source::SourceError};

/// Our program on one hook; dropping it detaches it.
pub(super) struct TcxLink {
    path: TcPath,
    id: u32,
    /// None where it could not be attached again.
    link: Option<SchedClassifierLink>,
}

impl TcxLink {
    /// Attaches the program as the first of the chain: what one before it drops or redirects it would
    /// not see.
    ///
    /// # Errors
    /// [`SourceError::Unsupported`] where the kernel has no TCX.
    pub(super) fn new(
        classifier: &mut SchedClassifier,
        device: &Device,
        path: TcPath,
    ) -> Result<Self, SourceError> {
        let mut link = Self { path, id: 0, link: None };
        link.renew(classifier, device)?;
        Ok(link)
    }

    /// Attaches the program again, as the first of the chain as it is now. It cannot be there twice, so
    /// for a moment it is not there at all.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(super) fn renew(
        &mut self,
        classifier: &mut SchedClassifier,
        device: &Device,
    ) -> Result<(), SourceError> {
        drop(self.link.take());
        let first = TcAttachOptions::TcxOrder(LinkOrder::first());
        let id = classifier.attach_with_options(&device.kernel_name, self.path.into(), first);
        let link = id.and_then(|id| classifier.take_link(id));
        let link = link.map_err(|error| load::refusal("attaching to TCX", error))?;
        let info = <&FdLink>::try_from(&link).and_then(FdLink::info);
        let info = info.map_err(|error| load::refusal("asking for the TCX link", error))?;
        self.id = info.id();
        self.link = Some(link);
        Ok(())
    }

    pub(super) const fn path(&self) -> TcPath {
        self.path
    }

    /// Whether it is still attached.
    ///
    /// # Errors
    /// That the kernel does not say.
    pub(super) fn is_there(&self, device: &Device) -> io::Result<bool> {
        Ok(query::tcx(device.index, self.path)?.iter().any(|attached| self.is(attached)))
    }

    /// The programs that run before it; all that there are if it is not attached.
    ///
    /// # Errors
    /// That the kernel does not say.
    pub(super) fn before_us(&self, device: &Device) -> io::Result<Vec<Attached>> {
        let chain = query::tcx(device.index, self.path)?;
        Ok(chain.into_iter().take_while(|attached| !self.is(attached)).collect())
    }

    fn is(&self, attached: &Attached) -> bool {
        self.link.is_some() && attached.link == self.id
    }
}
