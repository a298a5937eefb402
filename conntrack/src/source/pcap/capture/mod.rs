//! Capture files: pcap and pcapng, from their bytes to packets with link type and time. Any bytes may
//! be one, so lengths are checked before they are believed, and memory is bounded.
//!
//! It knows no files, no threads and no flows.

mod buffer;
mod classic;
mod compressed;
mod pcapng;

use std::{
    io::{self, Read},
    ops::Range,
    time::Duration,
};

use buffer::Buffer;
use classic::Classic;
pub use compressed::decompressed;
use pcapng::Pcapng;

/// Octets that a packet may have; libpcap takes no more either.
const MAX_PACKET: u32 = 262_144;

/// A capture that is being read.
pub struct Capture<R> {
    buffer: Buffer<R>,
    format: Format,
    /// The time of the last packet that had one.
    latest: Option<Duration>,
}

enum Format {
    Classic(Classic),
    Pcapng(Pcapng),
}

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// As much of it as was captured.
    pub data: &'a [u8],
    /// What its first byte belongs to.
    pub link_type: LinkType,
    /// Since 1970; `None` if neither the packet nor the file says.
    pub time: Option<Duration>,
}

/// A number of <https://www.tcpdump.org/linktypes.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkType(pub u16);

/// What is at the buffer's start.
enum Found {
    Packet(Located),
    /// Something that is no packet, of so many octets.
    Other(u32),
    /// So many octets must be there before it can be told.
    Needs(usize),
}

/// Where a packet is in the buffer.
struct Located {
    data: Range<usize>,
    /// Octets up to what comes next.
    length: usize,
    link_type: LinkType,
    /// Since 1970, if the packet says.
    time: Option<Duration>,
}

/// Of the machine that wrote the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ByteOrder {
    #[default]
    Little,
    Big,
}

impl ByteOrder {
    /// The two octets at `at`, which are there.
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let octets = [bytes[at], bytes[at + 1]];
        match self {
            Self::Little => u16::from_le_bytes(octets),
            Self::Big => u16::from_be_bytes(octets),
        }
    }

    /// The four octets at `at`, which are there.
    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let octets = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        match self {
            Self::Little => u32::from_le_bytes(octets),
            Self::Big => u32::from_be_bytes(octets),
        }
    }
}

/// Why a capture cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It begins as no capture does.
    #[error("unknown file format: it is neither pcap nor pcapng")]
    UnknownFormat,
    /// It ends too early.
    #[error("truncated: it ends in the middle of a {0}")]
    Truncated(&'static str),
    /// It contradicts itself.
    #[error("damaged at octet {at}: {what}")]
    Damaged {
        /// Where, after decompression.
        at: u64,
        /// What is wrong there.
        what: Damage,
    },
    /// Its bytes cannot be had.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What is wrong in a capture.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// A version that does not exist, or not yet.
    #[error("version {0} of the format")]
    Version(u16),
    /// A packet is longer than one can be.
    #[error("a packet of {0} octets")]
    PacketLength(u32),
    /// A block is too short or too long, or not a multiple of 4 octets.
    #[error("a block of {0} octets")]
    BlockLength(u32),
    /// A block's fields do not fit into it.
    #[error("a block of type {0} whose fields do not fit into it")]
    Block(u32),
    /// A packet of an interface that was not described.
    #[error("a packet of interface {0}, which was not described")]
    Interface(u32),
    /// More interfaces than are remembered.
    #[error("more than {0} interfaces")]
    Interfaces(usize),
}

impl<R: Read> Capture<R> {
    /// Reads how the capture begins. A packet without a time of its own has that of the packet before
    /// it, and the first ones `file_time`.
    ///
    /// # Errors
    /// That this is no capture.
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

    /// The link type of all packets; `None` if each may have another.
    pub fn link_type(&self) -> Option<LinkType> {
        match &self.format {
            Format::Classic(classic) => Some(classic.link_type),
            Format::Pcapng(_) => None,
        }
    }

    /// The next packet; `None` at the end.
    ///
    /// # Errors
    /// Why there is none. What was read before counts.
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

    /// The next packet, if it is in the buffer with all its octets.
    ///
    /// # Errors
    /// As [`Self::next_packet`].
    pub(super) fn buffered_packet(&mut self) -> Result<Option<Packet<'_>>, CaptureError> {
        Ok(self.locate()?.map(|located| self.packet(located)))
    }

    /// Waits for more octets; whether there are any.
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

    /// Steps over what is no packet.
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
