//! The link types of a capture file, which may have several.

use std::{fmt, io::Read};

use conntrack_common::wire::LinkLayer;

use super::{
    capture::{Capture, LinkType},
    link,
};

/// Link types of the packets so far.
#[derive(Default)]
pub(super) struct LinkTypes {
    is_any_supported: bool,
    /// Unsupported ones, at most [`REMEMBERED`].
    unsupported: Vec<LinkType>,
    /// Number of those already reported.
    said: usize,
}

/// A hostile file could have 65,536.
const REMEMBERED: usize = 8;

impl LinkTypes {
    /// Of a capture before its first packet.
    ///
    /// # Errors
    /// Its only link type is unsupported.
    pub(super) fn of<R: Read>(capture: &Capture<R>) -> Result<Self, Unsupported> {
        let mut types = Self::default();
        if let Some(link_type) = capture.link_type() {
            types.layer(link_type);
        }
        types.check()?;
        Ok(types)
    }

    /// The link layer of a packet, if supported.
    pub(super) fn layer(&mut self, link_type: LinkType) -> Option<LinkLayer> {
        let layer = link_type.layer();
        if layer.is_some() {
            self.is_any_supported = true;
        } else if self.unsupported.len() < REMEMBERED && !self.unsupported.contains(&link_type) {
            self.unsupported.push(link_type);
        }
        layer
    }

    /// An unsupported link type that was not reported yet, in a capture with supported ones.
    pub(super) fn take_unsaid(&mut self) -> Option<Unsupported> {
        let link_type = self.unsupported.get(self.said).filter(|_| self.is_any_supported)?;
        self.said += 1;
        Some(Unsupported(*link_type))
    }

    /// # Errors
    /// There were packets, all of unsupported link types.
    pub(super) fn check(&self) -> Result<(), Unsupported> {
        match self.unsupported.first() {
            Some(link_type) if !self.is_any_supported => Err(Unsupported(*link_type)),
            _ => Ok(()),
        }
    }
}

/// An unsupported link type.
#[derive(Debug)]
pub(super) struct Unsupported(LinkType);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(link_type) = *self;
        write!(f, "link type {}", link::name(link_type.into()))
    }
}
