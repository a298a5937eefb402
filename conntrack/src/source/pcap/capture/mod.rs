//! Capture formats: from the bytes of pcap and pcapng files to packets with link type and time. Input is
//! hostile: every length is checked before use, and memory is bounded.
//!
//! No files, threads or flows here.

mod buffer;
mod byte_order;
mod classic;
mod compressed;
mod error;
mod located;
mod pcapng;

use std::{io::Read, time::Duration};

use buffer::Buffer;
use classic::Classic;
pub use compressed::decompressed;
pub use error::{CaptureError, Damage};
pub use located::LinkType;
use located::{Found, Located};
use pcapng::Pcapng;

/// A capture being read.
pub struct Capture<R> {
    buffer: Buffer<R>,
    format: Format,
    /// Time of the last packet with one.
    latest: Option<Duration>,
}

enum Format {
    Classic(Classic),
    Pcapng(Pcapng),
}

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The captured octets.
    pub data: &'a [u8],
    /// Link type of the interface.
    pub link_type: LinkType,
    /// Since 1970; `None` if unknown.
    pub time: Option<Duration>,
}

impl<R: Read> Capture<R> {
    /// Reads the file header. A packet without a time gets that of the packet before it, the first ones get
    /// `file_time`.
    ///
    /// # Errors
    /// Not a capture, or a read error.
    pub fn new(reader: R, file_time: Option<Duration>) -> Result<Self, CaptureError> {
        let mut buffer = Buffer::new(reader);
        let format = if buffer.need(4)?.is_some_and(pcapng::is_pcapng) {
            Format::Pcapng(Pcapng::default())
        } else {
            let header = buffer.need(classic::HEADER)?;
            let header = header.ok_or(CaptureError::Truncated("file header"))?;
            let classic = Classic::new(header)?;
            buffer.take(classic::HEADER);
            Format::Classic(classic)
        };
        Ok(Self { buffer, format, latest: file_time })
    }

    /// The link type of all packets; `None` if they may differ.
    pub fn link_type(&self) -> Option<LinkType> {
        match &self.format {
            Format::Classic(classic) => Some(classic.link_type),
            Format::Pcapng(_) => None,
        }
    }

    /// The next packet; `None` at the end.
    ///
    /// # Errors
    /// Why there is none. Packets before it are valid.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, CaptureError> {
        loop {
            if let Some(located) = self.locate()? {
                return Ok(Some(self.packet(located)));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// The next packet that is completely buffered.
    ///
    /// # Errors
    /// As [`Self::next_packet`].
    pub(super) fn buffered_packet(&mut self) -> Result<Option<Packet<'_>>, CaptureError> {
        Ok(self.locate()?.map(|located| self.packet(located)))
    }

    /// Reads once; `false` at the end.
    ///
    /// # Errors
    /// As [`Self::next_packet`].
    pub(super) fn fill(&mut self) -> Result<bool, CaptureError> {
        if self.buffer.fill()? {
            Ok(true)
        } else if self.buffer.is_at_end() {
            Ok(false)
        } else {
            Err(CaptureError::Truncated("packet"))
        }
    }

    /// Finds the next packet that is completely buffered.
    fn locate(&mut self) -> Result<Option<Located>, CaptureError> {
        loop {
            let found = match &mut self.format {
                Format::Classic(classic) => classic.locate(self.buffer.bytes()),
                Format::Pcapng(pcapng) => pcapng.locate(self.buffer.bytes()),
            };
            match found {
                Ok(Found::Packet(located)) => return Ok(Some(located)),
                Ok(Found::Other(length)) => self.buffer.discard(length),
                Ok(Found::Needs(length)) => {
                    self.buffer.make_room(length);
                    return Ok(None);
                }
                Err(what) => {
                    return Err(CaptureError::Damaged { at: self.buffer.position(), what });
                }
            }
        }
    }

    fn packet(&mut self, located: Located) -> Packet<'_> {
        let Located { data, length, link_type, time } = located;
        self.latest = time.or(self.latest);
        Packet { data: &self.buffer.take(length)[data], link_type, time: self.latest }
    }
}

#[cfg(test)]
mod tests;
