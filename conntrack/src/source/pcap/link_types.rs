//! The link types of a capture file, of which it may have several.

use std::{fmt, io::Read};

use conntrack_common::wire::LinkLayer;

use super::{
    capture::{Capture, LinkType},
    link,
};

/// Which link types there were, as far as packets had them.
#[derive(Default)]
pub(super) struct LinkTypes {
    is_any_readable: bool,
    /// At most [`REMEMBERED`].
    unreadable: Vec<LinkType>,
    /// How many of them were said.
    said: usize,
}

/// A hostile file has 65,536 to choose from.
const REMEMBERED: usize = 8;

impl LinkTypes {
    /// Of a capture from which no packet was read yet.
    ///
    /// # Errors
    /// That it has a single one, and that cannot be read.
    pub(super) fn of<R: Read>(capture: &Capture<R>) -> Result<Self, Unreadable> {
        let mut types = Self::default();
        if let Some(link_type) = capture.link_type() {
            types.layer(link_type);
        }
        types.check()?;
        Ok(types)
    }

    /// What a packet's first byte belongs to, if that can be read.
    pub(super) fn layer(&mut self, link_type: LinkType) -> Option<LinkLayer> {
        let layer = link_type.layer();
        if layer.is_some() {
            self.is_any_readable = true;
        } else if self.unreadable.len() < REMEMBERED && !self.unreadable.contains(&link_type) {
            self.unreadable.push(link_type);
        }
        layer
    }

    /// What is left out, each once, of a capture that is not left out as a whole.
    pub(super) fn take_unsaid(&mut self) -> Option<Unreadable> {
        let link_type = self.unreadable.get(self.said).filter(|_| self.is_any_readable)?;
        self.said += 1;
        Some(Unreadable(*link_type))
    }

    /// # Errors
    /// That there were packets and none could be read.
    pub(super) fn check(&self) -> Result<(), Unreadable> {
        match self.unreadable.first() {
            Some(link_type) if !self.is_any_readable => Err(Unreadable(*link_type)),
            _ => Ok(()),
        }
    }
}

/// A link type that the parser does not know.
#[derive(Debug)]
pub(super) struct Unreadable(LinkType);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(link_type) = *self;
        write!(f, "link type {}", link::name(link_type.into()))
    }
}
