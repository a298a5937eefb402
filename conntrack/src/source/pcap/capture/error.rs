//! Why a capture cannot be read, and where.

use std::io;

/// Why a capture cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// No known magic number.
    #[error("unknown file format: it is neither pcap nor pcapng")]
    UnknownFormat,
    /// The file ends too early.
    #[error("truncated: it ends in the middle of a {0}")]
    Truncated(&'static str),
    /// Invalid content.
    #[error("damaged at octet {at}: {what}")]
    Damaged {
        /// Offset after decompression.
        at: u64,
        /// What is invalid.
        what: Damage,
    },
    /// A read error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What is invalid in a capture.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// Unknown version.
    #[error("version {0} of the format")]
    Version(u16),
    /// Packet too long.
    #[error("a packet of {0} octets")]
    PacketLength(u32),
    /// Block too short, too long, or not a multiple of 4 octets.
    #[error("a block of {0} octets")]
    BlockLength(u32),
    /// Block too short for its fields.
    #[error("a block of type {0} whose fields do not fit into it")]
    Block(u32),
    /// Packet of an undescribed interface.
    #[error("a packet of interface {0}, which was not described")]
    Interface(u32),
    /// Too many interfaces.
    #[error("more than {0} interfaces")]
    Interfaces(usize),
}
