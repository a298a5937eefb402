//! Why a capture cannot be read, and where.

use std::io;

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
